//! `sembla bench embed`: how many texts and tokens a second a model embeds on this machine, per
//! precision.
//!
//! It measures the model alone: no files, no cache. `make bench` compares whole runs with other
//! programs.

pub(crate) mod kernels;
mod profile;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sembla_models::{CancelToken, Model, ModelKind, Prompt};

use crate::args::BenchArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::notice;
use sembla_jobs::embed::texts_of;
use sembla_jobs::numbers::{count, rate};

/// One line of the table.
struct Measured {
    precision: String,
    load_seconds: f64,
    seconds: f64,
    tokens: u64,
}

/// Runs the command.
///
/// # Errors
/// When the texts or a model can't be loaded, or on Ctrl-C.
pub(crate) fn run(args: &BenchArgs, interrupt: &Interrupt) -> Result<()> {
    let texts = texts(args)?;
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let mut flags = args.model.clone();
    let precisions = flags.take("precision");
    let precisions: Vec<_> = match &precisions {
        Some(list) => list.split(',').map(|precision| Some(precision.trim())).collect(),
        None => vec![None],
    };
    let guard = interrupt.guard(CancelToken::new());
    let mut measured = Vec::new();
    let mut name = String::new();
    for precision in precisions {
        let mut spec = flags.spec()?;
        spec.cache = None;
        if let Some(precision) = precision {
            spec.set("precision", precision)?;
        }
        if args.profile {
            profile::run(&spec, &texts, guard.token())?;
            continue;
        }
        let begun = Instant::now();
        let model = Model::load(&spec)?;
        if model.info().kind == ModelKind::CrossEncoder {
            let message =
                format!("model '{}' is a cross-encoder, which makes no vectors", spec.source);
            return Err(Failure::user(message));
        }
        name.clone_from(&model.info().name);
        let load_seconds = begun.elapsed().as_secs_f64();
        measured.push(measure(&model, &texts, args.runs, load_seconds, guard.token())?);
    }
    if args.profile { Ok(()) } else { print(&name, texts.len(), args.runs, &measured) }
}

/// Warms up, then measures.
fn measure(
    model: &Model,
    texts: &[&str],
    runs: usize,
    load_seconds: f64,
    cancel: &CancelToken,
) -> Result<Measured> {
    let warm_up = texts.get(..texts.len().div_ceil(10)).unwrap_or(texts);
    model.embed(warm_up, Prompt::Default, cancel)?;
    let mut seconds = Vec::with_capacity(runs);
    let before = model.stats().tokens;
    for _ in 0..runs {
        let begun = Instant::now();
        model.embed(texts, Prompt::Default, cancel)?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Measured {
        precision: model.info().precision.to_string(),
        load_seconds,
        seconds: seconds.get(runs / 2).copied().unwrap_or_default(),
        tokens: (model.stats().tokens - before) / runs.max(1) as u64,
    })
}

/// Prints the table.
fn print(name: &str, texts: usize, runs: usize, measured: &[Measured]) -> Result<()> {
    let mut lines = vec![format!(
        "{name}: {} texts, median of {runs} runs, {} cores",
        count(texts as u64),
        std::thread::available_parallelism().map_or(1, usize::from)
    )];
    lines.push(format!(
        "{:<10} {:>10} {:>12} {:>12} {:>8}",
        "precision", "texts/s", "tokens/s", "tokens/text", "load s"
    ));
    for row in measured {
        lines.push(format!(
            "{:<10} {:>10} {:>12} {:>12.1} {:>8.2}",
            row.precision,
            rate(texts as u64, row.seconds),
            rate(row.tokens, row.seconds),
            row.tokens as f64 / texts.max(1) as f64,
            row.load_seconds
        ));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", lines.join("\n")).map_err(|error| Failure::output(&error))
}

/// The texts to embed.
fn texts(args: &BenchArgs) -> Result<Vec<String>> {
    let (texts, mix) = match &args.input {
        Some(input) => (texts_of(input, &args.column, args.rows, &notice)?, false),
        None => {
            let file = example_data().ok_or_else(|| {
                Failure::user(format!(
                    "{EXAMPLE_DATA} does not exist; name a file of texts with --input"
                ))
            })?;
            (texts_of(&file.to_string_lossy(), "text", usize::MAX, &notice)?, true)
        }
    };
    if texts.is_empty() {
        return Err(Failure::user("there are no texts to embed"));
    }
    if mix { Ok(mixed(&texts, args.rows)) } else { Ok(texts) }
}

/// The data of the repository's examples.
const EXAMPLE_DATA: &str = "examples/data/banking77.parquet";

/// Where the example data is: below the working directory or above the executable.
fn example_data() -> Option<PathBuf> {
    let executable = std::env::current_exe().and_then(std::fs::canonicalize).ok();
    let above = executable.iter().flat_map(|path| path.ancestors().skip(1).take(4));
    std::iter::once(Path::new("."))
        .chain(above)
        .map(|folder| folder.join(EXAMPLE_DATA))
        .find(|path| path.is_file())
}

/// Texts of mixed length, always the same: most are one short text, some are several joined, a few
/// are very long.
fn mixed(texts: &[String], rows: usize) -> Vec<String> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: usize| {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % bound.max(1) as u64).unwrap_or_default()
    };
    let mut pick = || {
        let parts = match next(20) {
            0 => 8 + next(12),
            1..=3 => 4 + next(4),
            4..=8 => 2 + next(2),
            _ => 1,
        };
        let from = next(texts.len());
        let parts = texts.iter().cycle().skip(from).take(parts).map(String::as_str);
        parts.collect::<Vec<_>>().join(" ")
    };
    (0..rows).map(|_| pick()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_texts_are_always_the_same_and_of_many_lengths() {
        let texts: Vec<_> = (0..50).map(|n| format!("text number {n}")).collect();
        let mixed_texts = mixed(&texts, 400);
        assert_eq!(mixed_texts, mixed(&texts, 400));
        let words = |text: &String| text.split(' ').count();
        assert_eq!(mixed_texts.iter().map(words).min(), Some(3));
        assert!(mixed_texts.iter().map(words).max() >= Some(45));
    }
}
