//! `sembla models …`: what models there are, what is in one, and new forms of one.

use std::io::Write;

use sembla_jobs::architecture;
use sembla_jobs::distil::{Kept, KeptTokens, Pruned, pca, prune};
use sembla_jobs::numbers::count;
use sembla_models::{
    CancelToken, Classifier, InputKind, Model, ModelInfo, ModelKind, builtin, quantize,
};
use sembla_sql::Progress;

use crate::args::{
    ExportArgs, InspectArgs, ModelsCommand, NewArgs, PcaArgs, PruneArgs, QuantizeArgs,
};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::notice;
use crate::progress::{EMBEDDING, Stages};
use crate::statements::open;
use crate::train::rows;

/// Runs the command.
///
/// # Errors
/// When a model can't be loaded or written.
pub(crate) async fn run(command: &ModelsCommand, interrupt: &Interrupt) -> Result<()> {
    match command {
        ModelsCommand::List => print(&list()),
        ModelsCommand::Inspect(args) => inspect(args),
        ModelsCommand::Export(args) => export(args),
        ModelsCommand::Quantize(args) => quantize_model(args),
        ModelsCommand::New(args) => new_model(args),
        ModelsCommand::Prune(args) => prune_model(args, interrupt).await,
        ModelsCommand::Pca(args) => shorten_model(args, interrupt).await,
    }
}

/// Pairs of a name and a value.
type Lines = Vec<(String, String)>;

/// The built-in models.
fn list() -> Lines {
    let mut lines = Lines::new();
    for (number, model) in builtin::BUILTINS.iter().enumerate() {
        let default = if number == 0 { " (default)" } else { "" };
        lines.push((model.name.to_string(), format!("{}{default}", model.about)));
        lines.push((
            String::new(),
            match model.path() {
                Some(path) => path.display().to_string(),
                None => "not found; set SEMBLA_MODELS to its folder".to_string(),
            },
        ));
    }
    lines
}

fn inspect(args: &InspectArgs) -> Result<()> {
    let begun = std::time::Instant::now();
    let model = Model::load(&args.model.clone().named(&args.name).spec()?)?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut lines = describe(model.info());
    if let Some(classifier) = model.classifier() {
        lines.push(("classifier".into(), labels(classifier)));
    }
    lines.push(("loaded in".into(), format!("{seconds:.2} s")));
    print(&lines)
}

/// Most labels that are shown.
const LABELS_SHOWN: usize = 10;

/// What a classifier tells apart.
fn labels(classifier: &Classifier) -> String {
    let all = classifier.labels();
    let shown = all[..all.len().min(LABELS_SHOWN)].join(", ");
    let more = if all.len() > LABELS_SHOWN { ", …" } else { "" };
    format!("{} labels of {}: {shown}{more}", count(all.len() as u64), classifier.takes())
}

/// What is known of a model.
fn describe(info: &ModelInfo) -> Lines {
    let mut lines = Lines::new();
    let mut line = |name: &str, value: String| lines.push((name.to_string(), value));
    line("name", info.name.clone());
    line("path", info.path.display().to_string());
    let kind = match info.kind {
        ModelKind::Encoder => match info.takes {
            InputKind::TextOrImage => "encoder: a text or an image becomes a vector, in one space",
            InputKind::Image => "encoder: an image becomes a vector",
            _ => "encoder: a text becomes a vector",
        },
        ModelKind::Static => "static: the mean of token vectors",
        ModelKind::CrossEncoder => "cross-encoder: a pair of texts gets a score",
    };
    line("kind", kind.to_string());
    line("architecture", info.architecture.clone());
    line("parameters", count(info.parameters));
    if info.kind == ModelKind::CrossEncoder {
        line("scores per pair", info.labels.to_string());
    } else {
        line("components", info.dimension.to_string());
        line("similarity", format!("{:?}", info.similarity).to_lowercase());
    }
    let limit = info.max_length.map_or("no limit".to_string(), |tokens| format!("{tokens} tokens"));
    line("max length", limit);
    line("precision", info.precision.to_string());
    line("device", info.device.to_string());
    for (name, text) in &info.prompts {
        let default = if info.default_prompt.as_ref() == Some(name) { " (default)" } else { "" };
        line("prompt", format!("{name} = {text:?}{default}"));
    }
    line("fingerprint", info.fingerprint.clone());
    lines
}

fn export(args: &ExportArgs) -> Result<()> {
    let spec = args.model.clone().named(&args.name).spec()?;
    sembla_models::export(&spec, &args.output)?;
    let bytes = std::fs::metadata(&args.output).map_or(0, |metadata| metadata.len());
    eprintln!("{}: {} bytes", args.output.display(), count(bytes));
    Ok(())
}

fn quantize_model(args: &QuantizeArgs) -> Result<()> {
    let report = quantize(&args.input, &args.output)?;
    eprintln!(
        "{}: {} tensors in 8 bits, {} bytes before, {} after",
        report.path.display(),
        report.tensors,
        count(report.bytes_before),
        count(report.bytes_after)
    );
    Ok(())
}

fn new_model(args: &NewArgs) -> Result<()> {
    let made = architecture::new_model(&args.description, &args.output)?;
    eprintln!(
        "{}: {} layers, {} components, {} parameters",
        args.output.display(),
        made.layers,
        made.dimension,
        count(made.parameters as u64)
    );
    Ok(())
}

async fn prune_model(args: &PruneArgs, interrupt: &Interrupt) -> Result<()> {
    let layers = match args.layers {
        Some(layers) => Some(Kept::Count(layers)),
        None => (!args.keep.is_empty()).then(|| Kept::Layers(args.keep.clone())),
    };
    let data = match &args.data {
        Some(query) => rows(&open(&args.session)?, "--data", query, interrupt).await?,
        None => Vec::new(),
    };
    let tokens = args.vocabulary.map(|most| KeptTokens { most, data: &data });
    let cancel = CancelToken::new();
    let guard = interrupt.guard(cancel.clone());
    let told = |words: &str| notice(words);
    let pruned = prune(&args.input, &args.output, layers.as_ref(), tokens, &cancel, &told);
    drop(guard);
    let Pruned { layers, tokens } = pruned?;
    let parts = [("layers", layers), ("tokens", tokens)].into_iter();
    let fewer = parts.filter(|(_, (before, after))| before != after);
    let words: Vec<String> = fewer
        .map(|(what, (before, after))| {
            format!("{} of {} {what}", count(after as u64), count(before as u64))
        })
        .collect();
    let words = if words.is_empty() { "nothing went".into() } else { words.join(", ") };
    eprintln!("{}: {words}", args.output.display());
    Ok(())
}

async fn shorten_model(args: &PcaArgs, interrupt: &Interrupt) -> Result<()> {
    let session = open(&args.session)?;
    let data = rows(&session, "--data", &args.data, interrupt).await?;
    drop(session);
    let cancel = CancelToken::new();
    let guard = interrupt.guard(cancel.clone());
    let stages = Stages::new(&cancel);
    let told = |words: &str| {
        stages.clear();
        notice(words);
    };
    let mut observe =
        |done: usize, all: usize| stages.update(EMBEDDING, done as u64, Some(all as u64));
    let outcome =
        pca(&args.input, &args.output, args.dimensions, &data, &cancel, &told, &mut observe);
    stages.clear();
    drop((guard, stages));
    eprintln!(
        "{}: {} components, which keep {:.1} % of the variance",
        args.output.display(),
        args.dimensions,
        100.0 * outcome?
    );
    Ok(())
}

/// Prints names and values in two columns on standard output.
fn print(lines: &Lines) -> Result<()> {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut out = std::io::stdout().lock();
    for (name, value) in lines {
        writeln!(out, "{name:width$}  {value}").map_err(|error| Failure::output(&error))?;
    }
    Ok(())
}
