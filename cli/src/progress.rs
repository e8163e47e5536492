//! What a person sees while long work goes on: a bar on standard error, if that is a terminal.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A bar that is drawn on a terminal and nowhere else. Its template can use indicatif's keys, and
/// `{rate}`.
pub(crate) fn bar(total: Option<u64>, template: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(4)
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(total, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A bar that can't be drawn is no reason to stop.
            let _ = write!(out, "{}/s", count(state.per_sec().round() as u64));
        }));
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// The stage in which each row is embedded once.
pub(crate) const EMBEDDING: &str = "embedding";

/// The bars of work in stages: each stage has a bar of its own, which goes when the next begins.
pub(crate) struct Stages {
    /// Whether anybody can see a bar.
    is_shown: bool,
    current: Mutex<Option<Stage>>,
    /// Rows of all inputs.
    rows: AtomicU64,
}

struct Stage {
    name: String,
    total: Option<u64>,
    bar: ProgressBar,
}

impl Stages {
    /// Bars on standard error, if that is a terminal.
    pub(crate) fn new() -> Self {
        let is_shown = std::io::stderr().is_terminal();
        Self { is_shown, current: Mutex::default(), rows: AtomicU64::new(0) }
    }

    /// Tells that so many more rows will be read.
    pub(crate) fn expect_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(stage) = self.lock().take() {
            stage.bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stage>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl sembla_sql::Progress for Stages {
    fn update(&self, stage: &str, done: u64, total: Option<u64>) {
        if !self.is_shown {
            return;
        }
        // A query does not know how many rows its inputs have.
        let rows = || Some(self.rows.load(Ordering::Relaxed));
        let total = total.or_else(|| if stage == EMBEDDING { rows() } else { None });
        let mut current = self.lock();
        let shown = current.take().filter(|shown| shown.name == stage && shown.total == total);
        let shown = shown.unwrap_or_else(|| Stage::begin(stage, total));
        shown.bar.set_position(done);
        *current = Some(shown);
    }
}

impl Stage {
    fn begin(name: &str, total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => "{msg}  {bar:30} {human_pos}/{human_len}  {rate}  ETA {eta}",
            None => "{msg}  {human_pos}  {rate}",
        };
        let bar = bar(total, template);
        bar.set_message(name.to_string());
        Self { name: name.to_string(), total, bar }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
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
