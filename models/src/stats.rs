//! Counts what a model does, for `ModelStats` and for `metrics`. Who shows the figures is left to
//! others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::info::ModelStats;

/// Counters of one loaded model.
pub(crate) struct Counters {
    texts: Counter,
    tokens: Counter,
    truncated: Counter,
    cache_hits: Counter,
    /// Kept in microseconds.
    busy: AtomicU64,
    seconds: metrics::Histogram,
}

/// A counter that can be read back and that `metrics` sees as well.
struct Counter {
    value: AtomicU64,
    metric: metrics::Counter,
}

impl Counter {
    fn new(name: &'static str, model: &str) -> Self {
        let metric = metrics::counter!(name, "model" => model.to_string());
        Self { value: AtomicU64::new(0), metric }
    }

    fn add(&self, count: u64) {
        self.value.fetch_add(count, Ordering::Relaxed);
        self.metric.increment(count);
    }

    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// What one call did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) texts: u64,
    pub(crate) tokens: u64,
    pub(crate) truncated: u64,
    pub(crate) cache_hits: u64,
}

impl Counters {
    pub(crate) fn new(model: &str) -> Self {
        Self {
            texts: Counter::new("sembla_model_texts_total", model),
            tokens: Counter::new("sembla_model_tokens_total", model),
            truncated: Counter::new("sembla_model_truncated_texts_total", model),
            cache_hits: Counter::new("sembla_model_cache_hits_total", model),
            busy: AtomicU64::new(0),
            seconds: metrics::histogram!("sembla_model_call_seconds", "model" => model.to_string()),
        }
    }

    pub(crate) fn add(&self, work: Work, took: Duration) {
        self.texts.add(work.texts);
        self.tokens.add(work.tokens);
        self.truncated.add(work.truncated);
        self.cache_hits.add(work.cache_hits);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy.fetch_add(micros, Ordering::Relaxed);
        self.seconds.record(took.as_secs_f64());
    }

    pub(crate) fn read(&self) -> ModelStats {
        ModelStats {
            texts: self.texts.get(),
            tokens: self.tokens.get(),
            truncated: self.truncated.get(),
            cache_hits: self.cache_hits.get(),
            seconds: self.busy.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}
