//! Measures how fast a model embeds files of texts, and how near its vectors are to those of the
//! processor in 32 bits. `benches/gpu.sh` runs it.
//!
//! ```text
//! cargo run --release -p sembla-models --example throughput -- MODEL [KEY=VALUE]… FILE…
//! ```
//!
//! A file has one text per line. `KEY=VALUE` is an option of a model, such as `device=cuda:0`, or
//! one of `runs=N` (how often a file is measured, the median counts) and `parity=N` (texts of each
//! file that are compared, none by default). Prints a line of JSON for each file.

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use std::time::Instant;

use sembla_models::{CancelToken, Model, ModelError, ModelSpec, Precision, Prompt, Result};

/// What the command line asks for.
struct Asked {
    spec: ModelSpec,
    runs: usize,
    parity: usize,
    files: Vec<String>,
}

fn main() -> Result<()> {
    let asked = read(std::env::args().skip(1))?;
    let model = Model::load(&asked.spec)?;
    let reference = match asked.parity {
        0 => None,
        _ => {
            let mut spec = ModelSpec::new(asked.spec.source.clone());
            spec.precision = Some(Precision::F32);
            Some(Model::load(&spec)?)
        }
    };
    for file in &asked.files {
        let text = std::fs::read_to_string(file).map_err(|error| ModelError::io(file, error))?;
        let texts: Vec<&str> = text.lines().collect();
        println!("{}", measure(&asked, &model, reference.as_ref(), file, &texts)?);
    }
    Ok(())
}

fn read(mut words: impl Iterator<Item = String>) -> Result<Asked> {
    let usage = || {
        let usage = "usage: throughput MODEL [KEY=VALUE]… FILE…";
        ModelError::BadOption(usage.into())
    };
    let spec = ModelSpec::new(words.next().ok_or_else(usage)?);
    let mut asked = Asked { spec, runs: 1, parity: 0, files: Vec::new() };
    for word in words {
        let count = |value: &str| value.parse().map_err(|_| usage());
        match word.split_once('=') {
            Some(("runs", value)) => asked.runs = count(value)?,
            Some(("parity", value)) => asked.parity = count(value)?,
            Some((key, value)) => asked.spec.set(key, value)?,
            None => asked.files.push(word),
        }
    }
    if asked.files.is_empty() || asked.runs == 0 {
        return Err(usage());
    }
    Ok(asked)
}

fn measure(
    asked: &Asked,
    model: &Model,
    reference: Option<&Model>,
    file: &str,
    texts: &[&str],
) -> Result<serde_json::Value> {
    let embed =
        |model: &Model, texts: &[&str]| model.embed(texts, Prompt::Default, &CancelToken::new());
    // The first batch of a kind finds kernels and memory.
    let warm = &texts[..texts.len().div_ceil(8)];
    embed(model, warm)?;
    let (mut seconds, mut tokens) = (Vec::new(), 0);
    for _ in 0..asked.runs {
        let (before, begun) = (model.stats().tokens, Instant::now());
        embed(model, texts)?;
        seconds.push(begun.elapsed().as_secs_f64());
        tokens = model.stats().tokens - before;
    }
    seconds.sort_by(f64::total_cmp);
    let seconds = seconds[seconds.len() / 2];
    let info = model.info();
    let mut line = serde_json::json!({
        "model": info.name, "architecture": info.architecture, "device": info.device.to_string(),
        "precision": info.precision.to_string(), "file": file, "texts": texts.len(),
        "tokens": tokens, "seconds": seconds, "texts_per_second": texts.len() as f64 / seconds,
        "tokens_per_second": tokens as f64 / seconds,
    });
    if let Some(reference) = reference {
        let some = &texts[..asked.parity.min(texts.len())];
        let (got, want) = (embed(model, some)?, embed(reference, some)?);
        let rows = got.values.chunks(got.dimension).zip(want.values.chunks(want.dimension));
        let nearest = rows.map(|(a, b)| cosine(a, b)).fold(f64::INFINITY, f64::min);
        line["parity_texts"] = some.len().into();
        line["cosine_min"] = nearest.into();
    }
    Ok(line)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
