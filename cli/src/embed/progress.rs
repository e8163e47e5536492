//! What a person sees while an embedding run works: a bar on standard error if that is a terminal,
//! and one line of figures at the end.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sembla_models::{Model, ModelStats};

/// The figures of a run.
pub(crate) struct Progress {
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

impl Progress {
    /// Begins with `resumed` of `total` rows done.
    pub(crate) fn new(model: &Model, resumed: u64, total: u64) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(4)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = "{bar:30} {human_pos}/{human_len} rows  {msg}  ETA {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(resumed);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(500));
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

/// Events per second with at most three digits that matter.
pub(crate) fn rate(events: u64, seconds: f64) -> String {
    let rate = events as f64 / seconds.max(1e-9);
    if rate < 10.0 { format!("{rate:.1}") } else { count(rate.round() as u64) }
}

/// A number with commas between its thousands.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }
}
