//! The figures of an embedding run: while it works, and at its end.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sembla_models::{Model, ModelInfo, ModelStats};
use sembla_sql::Progress;

use super::incremental::Changes;
use crate::numbers::{count, rate};

/// The name of the stage of progress in which each row is embedded once.
pub const STAGE: &str = "embedding";

/// The figures of a run.
pub(super) struct Figures<'a> {
    progress: &'a dyn Progress,
    model: Model,
    begun: Instant,
    /// Rows of this process.
    rows: u64,
    /// Rows whose text is NULL.
    nulls: u64,
    /// Rows that earlier starts of the run had finished.
    resumed: u64,
    /// Rows that will be written, where that is known.
    total: Option<u64>,
    of_images: bool,
    /// The first images that can't be used, and why.
    unusable: Vec<(String, String)>,
}

/// Images that can't be used and are named one by one.
const NAMED_MAX: usize = 10;

impl<'a> Figures<'a> {
    /// Begins with `resumed` of `total` rows done; `None` where that is not known.
    pub(super) fn new(
        model: &Model,
        progress: &'a dyn Progress,
        resumed: u64,
        total: Option<u64>,
    ) -> Self {
        progress.update(STAGE, resumed, total);
        let (model, begun) = (model.clone(), Instant::now());
        let (rows, nulls, of_images, unusable) = (0, 0, false, Vec::new());
        Self { progress, model, begun, rows, nulls, resumed, total, of_images, unusable }
    }

    /// The same of images, if it is one of them.
    pub(super) fn of_images(self, of_images: bool) -> Self {
        Self { of_images, ..self }
    }

    /// Remembers an image that can't be used, as long as there are few.
    pub(super) fn unusable(&mut self, path: &str, problem: &str) {
        if self.unusable.len() < NAMED_MAX {
            self.unusable.push((path.to_string(), problem.to_string()));
        }
    }

    /// Counts a batch that is embedded.
    pub(super) fn add(&mut self, rows: usize, nulls: usize) {
        self.rows += rows as u64;
        self.nulls += nulls as u64;
        self.progress.update(STAGE, self.resumed + self.rows, self.total);
    }

    /// The figures of a run that reached its end.
    pub(super) fn summary(&self, output: &Path) -> Summary {
        Summary {
            output: output.to_path_buf(),
            ids: None,
            rows: self.rows,
            resumed: self.resumed,
            nulls: self.nulls,
            time: self.begun.elapsed(),
            of_images: self.of_images,
            unusable: self.unusable.clone(),
            changes: None,
            stats: self.model.stats(),
            model: self.model.info().clone(),
        }
    }
}

/// What a run did. Its text is one line for people.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The file or folder that was written, or the address that it was uploaded to.
    pub output: PathBuf,
    /// The file of the other columns, beside a bare array of vectors.
    pub ids: Option<PathBuf>,
    /// Rows of this run.
    pub rows: u64,
    /// Rows that earlier starts of the run had finished.
    pub resumed: u64,
    /// Rows of this run whose text is NULL, or whose image can't be used.
    pub nulls: u64,
    /// Whether the rows are images.
    pub of_images: bool,
    /// The first images that can't be used, with what is wrong with each.
    pub unusable: Vec<(String, String)>,
    /// How long it took, without loading the model.
    pub time: Duration,
    /// What was found changed, in a run that embeds only that.
    pub changes: Option<Changes>,
    /// What the model did.
    pub stats: ModelStats,
    /// The model.
    pub model: ModelInfo,
}

impl Summary {
    /// The summary as a JSON object in one line, for a scheduler.
    pub fn json(&self) -> String {
        let changes = self.changes;
        serde_json::json!({
            "output": self.output.display().to_string(),
            "rows": self.rows + self.resumed,
            "resumed": self.resumed,
            "null": self.nulls,
            "new": changes.map(|changes| changes.new),
            "changed": changes.map(|changes| changes.changed),
            "unchanged": changes.map(|changes| changes.unchanged),
            "gone": changes.map(|changes| changes.gone),
            "embedded": self.stats.texts,
            "from_cache": self.stats.cache_hits,
            "truncated": self.stats.truncated,
            "tokens": self.stats.tokens,
            "seconds": self.time.as_secs_f64(),
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
        })
        .to_string()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        let rows = if self.of_images { "images" } else { "rows" };
        write!(f, "{} {rows}", count(self.rows + self.resumed))?;
        if self.resumed > 0 {
            write!(f, " ({} of them from before)", count(self.resumed))?;
        }
        if self.nulls > 0 {
            let what = if self.of_images { "without a vector" } else { "NULL" };
            write!(f, ", {} {what}", count(self.nulls))?;
        }
        if let Some(changes) = &self.changes {
            let Changes { new, changed, unchanged, gone } = *changes;
            let [new, changed, unchanged, gone] = [new, changed, unchanged, gone].map(count);
            write!(f, ", {new} new, {changed} changed, {unchanged} unchanged, {gone} gone")?;
        }
        write!(
            f,
            " to {} with {} ({}, {} components); {} in {seconds:.1} s: {} {rows}/s, {} tokens/s",
            self.output.display(),
            self.model.name,
            self.model.precision,
            self.model.dimension,
            figures(&self.stats, self.of_images),
            rate(self.rows, seconds),
            rate(self.stats.tokens, seconds)
        )
    }
}

/// The counts of a model in words.
fn figures(stats: &ModelStats, of_images: bool) -> String {
    if of_images {
        return format!("{} cache hits", count(stats.cache_hits));
    }
    format!(
        "{} texts, {} tokens, {} truncated, {} cache hits",
        count(stats.texts),
        count(stats.tokens),
        count(stats.truncated),
        count(stats.cache_hits)
    )
}
