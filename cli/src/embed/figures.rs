//! The figures of an embedding run: on a bar while it works, and in one line at the end.

use std::path::Path;
use std::time::Instant;

use indicatif::ProgressBar;
use sembla_models::{Model, ModelStats};

use crate::progress::{bar, count, rate};

/// The figures of a run.
pub(crate) struct Figures {
    bar: ProgressBar,
    model: Model,
    begun: Instant,
    /// Rows of this process.
    rows: u64,
    /// Rows whose text is NULL.
    nulls: u64,
    /// Rows that earlier starts of the run had finished.
    resumed: u64,
}

impl Figures {
    /// Begins with `resumed` of `total` rows done.
    pub(crate) fn new(model: &Model, resumed: u64, total: u64) -> Self {
        let template = "{bar:30} {human_pos}/{human_len} rows  {msg}  ETA {eta}";
        let bar = bar(Some(total), template);
        bar.set_position(resumed);
        bar.reset_eta();
        Self { bar, model: model.clone(), begun: Instant::now(), rows: 0, nulls: 0, resumed }
    }

    /// Counts a batch that is embedded.
    pub(crate) fn add(&mut self, rows: usize, nulls: usize) {
        self.rows += rows as u64;
        self.nulls += nulls as u64;
        let seconds = self.seconds();
        let tokens = self.model.stats().tokens;
        self.bar.set_message(format!(
            "{} rows/s  {} tokens/s",
            rate(self.rows, seconds),
            rate(tokens, seconds)
        ));
        self.bar.inc(rows as u64);
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
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
