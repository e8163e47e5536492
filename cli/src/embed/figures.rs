//! The figures of an embedding run: while it works, and in one line at the end.

use std::path::Path;
use std::time::Instant;

use sembla_models::{CancelToken, Model, ModelStats};
use sembla_sql::Progress;

use crate::progress::{EMBEDDING, Stages, count, rate};

/// The figures of a run.
pub(crate) struct Figures {
    stages: Stages,
    model: Model,
    begun: Instant,
    /// Rows of this process.
    rows: u64,
    /// Rows whose text is NULL.
    nulls: u64,
    /// Rows that earlier starts of the run had finished.
    resumed: u64,
    /// Rows of the inputs.
    total: u64,
}

impl Figures {
    /// Begins with `resumed` of `total` rows done; the model looks at `token`.
    pub(crate) fn new(model: &Model, token: &CancelToken, resumed: u64, total: u64) -> Self {
        let stages = Stages::new(token);
        stages.update(EMBEDDING, resumed, Some(total));
        let (model, begun) = (model.clone(), Instant::now());
        Self { stages, model, begun, rows: 0, nulls: 0, resumed, total }
    }

    /// Counts a batch that is embedded.
    pub(crate) fn add(&mut self, rows: usize, nulls: usize) {
        self.rows += rows as u64;
        self.nulls += nulls as u64;
        self.stages.update(EMBEDDING, self.resumed + self.rows, Some(self.total));
    }

    /// The line at the end of a run that reached it.
    pub(crate) fn summary(&self, output: &Path) -> String {
        let seconds = self.seconds();
        let stats = self.model.stats();
        let info = self.model.info();
        let mut line = format!("{} rows", count(self.rows + self.resumed));
        if self.resumed > 0 {
            line += &format!(" ({} of them from before)", count(self.resumed));
        }
        if self.nulls > 0 {
            line += &format!(", {} NULL", count(self.nulls));
        }
        line += &format!(
            " to {} with {} ({}, {} components); {} in {seconds:.1} s: {} rows/s, {} tokens/s",
            output.display(),
            info.name,
            info.precision,
            info.dimension,
            figures(&stats),
            rate(self.rows, seconds),
            rate(stats.tokens, seconds)
        );
        line
    }

    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

/// The counts of a model in words.
fn figures(stats: &ModelStats) -> String {
    format!(
        "{} texts, {} tokens, {} truncated, {} cache hits",
        count(stats.texts),
        count(stats.tokens),
        count(stats.truncated),
        count(stats.cache_hits)
    )
}
