//! `sembla bench embed --profile`: which share of the time each operator of a model takes.
//!
//! One session on one core, so that shares are those of the work and not of who waited for whom.
//! Measuring is the model's work; this is the table.

use std::io::Write;

use sembla_models::bench::{OperatorTime, Profile, profile};
use sembla_models::{CancelToken, ModelSpec};
use sembla_processor::Level;

use crate::failure::{Failure, Result};
use sembla_jobs::numbers::count;

/// Texts of a run: what ONNX Runtime writes of more would fill disks.
const TEXTS_MAX: usize = 2000;

/// Columns of the first column of the table.
const NAME_WIDTH: usize = 28;

/// A line of the table.
struct Row {
    name: String,
    /// How often it ran; 0 where that says nothing.
    calls: u64,
    seconds: f64,
    /// Multiplications and additions; 0 where they are not counted.
    operations: f64,
}

/// Profiles a model and prints the table.
///
/// # Errors
/// When the model can't be loaded or makes no vectors, on Ctrl-C, or when standard output is
/// closed.
pub(super) fn run(spec: &ModelSpec, texts: &[&str], cancel: &CancelToken) -> Result<()> {
    let texts = texts.get(..TEXTS_MAX).unwrap_or(texts);
    let profile = profile(spec, texts, cancel)?;
    let heading = format!(
        "{} ({}, {}): {} texts, {} tokens, one core",
        profile.info.name,
        profile.info.precision,
        Level::active(),
        count(texts.len() as u64),
        count(profile.tokens)
    );
    let mut out = std::io::stdout().lock();
    let text = format!("{heading}\n{}\n", table(&rows(&profile), profile.tokens));
    writeln!(out, "{text}").map_err(|error| Failure::output(&error))
}

/// The parts of a profile, the longest first. Together they are the whole time.
fn rows(profile: &Profile) -> Vec<Row> {
    let part = |name: &str, seconds: f64| Row {
        name: name.into(),
        calls: 0,
        seconds: seconds.max(0.0),
        operations: 0.0,
    };
    let operator = |time: &OperatorTime| Row {
        name: time.name.clone(),
        calls: time.calls,
        seconds: time.seconds,
        operations: time.operations,
    };
    let mut rows: Vec<Row> = profile.operators.iter().map(operator).collect();
    let known: f64 = rows.iter().map(|row| row.seconds).sum();
    let rest = if rows.is_empty() { "lookup and mean" } else { "between the operators" };
    rows.push(part("tokenisation", profile.tokenising));
    rows.push(part("pooling, normalisation", profile.pooling));
    rows.push(part(rest, profile.running - profile.pooling - known));
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    rows
}

/// The rows with their shares, and their sum.
fn table(rows: &[Row], tokens: u64) -> String {
    let total: f64 = rows.iter().map(|row| row.seconds).sum();
    let per_token = |seconds: f64| 1e6 * seconds / tokens.max(1) as f64;
    let mut lines = vec![format!(
        "{:<NAME_WIDTH$}{:>8}{:>10}{:>8}{:>10}{:>9}",
        "operator", "calls", "seconds", "share", "µs/token", "Gop/s"
    )];
    for row in rows {
        let calls = if row.calls > 0 { row.calls.to_string() } else { String::new() };
        let rate = if row.operations > 0.0 && row.seconds > 0.0 {
            format!("{:.1}", row.operations / row.seconds / 1e9)
        } else {
            String::new()
        };
        lines.push(format!(
            "{:<NAME_WIDTH$}{calls:>8}{:>10.3}{:>7.1}%{:>10.2}{rate:>9}",
            row.name,
            row.seconds,
            100.0 * row.seconds / total.max(f64::MIN_POSITIVE),
            per_token(row.seconds),
        ));
    }
    lines.push(format!(
        "{:<NAME_WIDTH$}{:>8}{total:>10.3}{:>8}{:>10.2}",
        "together",
        "",
        "",
        per_token(total)
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_whole_and_products_have_a_rate() {
        let row = |name: &str, calls, seconds, operations| Row {
            name: name.into(),
            calls,
            seconds,
            operations,
        };
        let rows = [row("QLinear 384 x 384", 6, 3.0, 6e9), row("tokenisation", 0, 1.0, 0.0)];
        let text = table(&rows, 2_000_000);
        let words: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let product = ["QLinear", "384", "x", "384", "6", "3.000", "75.0%", "1.50", "2.0"];
        assert_eq!(words[1], product, "{text}");
        assert_eq!(words[2], ["tokenisation", "1.000", "25.0%", "0.50"], "{text}");
        assert_eq!(words[3], ["together", "4.000", "2.00"], "{text}");
    }
}
