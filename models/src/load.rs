//! From a [`ModelSpec`] to the parts of a model: finds it, reads its layout, checks everything,
//! loads the backend. What is done with the parts is the model's.

use std::path::Path;

use crate::backends::{self, Backend, Facts, Output};
use crate::cache::VectorCache;
use crate::hub::Located;
use crate::info::{InputKind, ModelInfo, ModelKind};
use crate::inputs::{Reading, Sequence, TextReader};
use crate::layout::{Layout, LayoutKind};
use crate::pool::{Head, Step, TorchActivation};
use crate::stats::Counters;
use crate::{ModelError, ModelSpec, Precision, Result, hub};

/// Changes when the arithmetic changes, so that remembered vectors of an older Sembla are not mixed
/// with newer ones.
const ARITHMETIC: &str = "sembla-arithmetic-1";

/// The parts of a loaded model.
pub(crate) struct Loaded {
    pub(crate) info: ModelInfo,
    pub(crate) reader: TextReader,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) finish: Finish,
    pub(crate) cache: Option<VectorCache>,
    pub(crate) counters: Counters,
}

/// What becomes of a backend's output.
pub(crate) enum Finish {
    /// A vector, by pooling and what follows it.
    Vector(Head),
    /// Scores: the logits through an activation.
    Scores(TorchActivation),
}

impl Finish {
    /// The row of one sequence.
    pub(crate) fn row(&self, sequence: &Sequence, output: Output<'_>) -> Vec<f32> {
        match (self, output) {
            (Self::Vector(head), Output::Tokens { values, width }) => {
                head.apply(values, width, sequence.skip)
            }
            (Self::Vector(head), Output::Whole(values)) => head.finish(values.to_vec()),
            (Self::Scores(activation), Output::Tokens { values, .. } | Output::Whole(values)) => {
                values.iter().map(|logit| activation.apply(*logit)).collect()
            }
        }
    }
}

/// Loads a model. `profile` is the folder where its backend writes how long its operators take.
///
/// # Errors
/// Any [`ModelError`] that concerns files, options, the device, the hub or ONNX Runtime.
pub(crate) fn load(spec: &ModelSpec, profile: Option<&Path>) -> Result<Loaded> {
    let Prepared { found, layout, reader, max_length } = prepare(spec)?;
    let backend = backends::load(&layout, spec, &reader, &found.name, profile)?;
    let facts = backend.facts();
    let head = Head {
        pooling: if facts.pooled { Vec::new() } else { layout.pooling.clone() },
        steps: layout.steps.clone(),
        truncate_dim: spec.truncate_dim.or(layout.truncate_dim),
        normalize: spec.normalize,
    };
    check_head(&head, facts.width, &layout)?;
    let info = describe(&found, &layout, spec, facts, &head, max_length)?;
    check_truncation(spec, info.dimension, &found.name)?;
    let cache = match &spec.cache {
        Some(folder) if info.dimension > 0 => {
            Some(VectorCache::open(folder, spec.cache_mib, &info.fingerprint)?)
        }
        _ => None,
    };
    let finish = match info.kind {
        ModelKind::CrossEncoder => {
            let one = info.labels == 1;
            let usual = if one { TorchActivation::Sigmoid } else { TorchActivation::Identity };
            Finish::Scores(layout.activation.unwrap_or(usual))
        }
        ModelKind::Encoder | ModelKind::Static => Finish::Vector(head),
    };
    Ok(Loaded { counters: Counters::new(&info.name), info, reader, backend, finish, cache })
}

/// A model that is found and understood; its weights are not read yet.
pub(crate) struct Prepared {
    pub(crate) found: Located,
    pub(crate) layout: Layout,
    pub(crate) reader: TextReader,
    /// The longest input in tokens.
    pub(crate) max_length: Option<usize>,
}

/// Finds a model and reads everything but its weights.
///
/// # Errors
/// As [`load`].
pub(crate) fn prepare(spec: &ModelSpec) -> Result<Prepared> {
    let found = hub::find(&spec.source)?;
    let layout = Layout::read(&found.path)?;
    let limit = backends::length_limit(&layout, spec, &found.name)?;
    let max_length = max_length(spec, &layout, limit, &found.name)?;
    let reading = Reading {
        max_length,
        add_special_tokens: !matches!(layout.kind, LayoutKind::Static { .. }),
        lowercase: layout.lowercase,
        pools_prompt: layout.include_prompt,
        reads_beginning: layout.kind == LayoutKind::Static { model2vec: true },
    };
    let reader = TextReader::load(&layout.tokenizer, &found.name, reading)?;
    Ok(Prepared { found, layout, reader, max_length })
}

/// What users see of a model.
fn describe(
    found: &Located,
    layout: &Layout,
    spec: &ModelSpec,
    facts: &Facts,
    head: &Head,
    max_length: Option<usize>,
) -> Result<ModelInfo> {
    let (kind, takes) = match layout.kind {
        LayoutKind::Static { .. } => (ModelKind::Static, InputKind::Text),
        LayoutKind::Encoder => (ModelKind::Encoder, InputKind::Text),
        LayoutKind::CrossEncoder => (ModelKind::CrossEncoder, InputKind::Pair),
    };
    let embeds = kind != ModelKind::CrossEncoder;
    Ok(ModelInfo {
        name: found.name.clone(),
        path: found.path.clone(),
        kind,
        takes,
        architecture: facts.architecture.clone(),
        dimension: if embeds { head.dimension(facts.width) } else { 0 },
        labels: if embeds { 0 } else { facts.labels },
        max_length,
        similarity: layout.similarity,
        precision: facts.precision,
        device: spec.device,
        prompts: layout.prompts.clone().into_iter().collect(),
        default_prompt: layout.default_prompt.clone(),
        fingerprint: fingerprint(layout, spec, facts.precision, max_length)?,
        parameters: facts.parameters,
    })
}

/// The longest input: the user's, else the model's own, never above what the weights allow.
fn max_length(
    spec: &ModelSpec,
    layout: &Layout,
    limit: Option<usize>,
    name: &str,
) -> Result<Option<usize>> {
    match (spec.max_length, limit) {
        (Some(wanted), Some(limit)) if wanted > limit => Err(ModelError::BadOption(format!(
            "max_length must be at most {limit} for model '{name}', got {wanted}"
        ))),
        (Some(wanted), _) => Ok(Some(wanted)),
        (None, limit) => Ok(match (layout.max_length, limit) {
            (Some(own), Some(limit)) => Some(own.min(limit)),
            (own, limit) => own.or(limit),
        }),
    }
}

/// The steps after the transformer must fit its width.
fn check_head(head: &Head, width: usize, layout: &Layout) -> Result<()> {
    let mut current = width * head.pooling.len().max(1);
    for step in &head.steps {
        if let Step::Dense(dense) = step {
            if dense.inputs != current {
                return Err(ModelError::file(
                    &layout.root,
                    format!("has a Dense layer for {} components after {current}", dense.inputs),
                ));
            }
            current = dense.outputs;
        }
    }
    Ok(())
}

fn check_truncation(spec: &ModelSpec, dimension: usize, name: &str) -> Result<()> {
    match spec.truncate_dim {
        Some(wanted) if dimension > 0 && wanted > dimension => Err(ModelError::BadOption(format!(
            "truncate_dim must be at most {dimension}, the components of model '{name}', got {wanted}"
        ))),
        _ => Ok(()),
    }
}

/// The hash of everything that decides a vector.
fn fingerprint(
    layout: &Layout,
    spec: &ModelSpec,
    precision: Precision,
    max_length: Option<usize>,
) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(ARITHMETIC.as_bytes());
    let mut files = layout.files();
    files.sort();
    for path in files {
        hash_file(&mut hasher, &path)?;
    }
    let settings = format!(
        "{precision} {:?} {max_length:?} {:?} {}",
        spec.device, spec.truncate_dim, spec.normalize
    );
    hasher.update(settings.as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

fn hash_file(hasher: &mut blake3::Hasher, path: &Path) -> Result<()> {
    let fail = |error| ModelError::io(path, error);
    let file = std::fs::File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    hasher.update(&length.to_le_bytes());
    hasher.update_reader(file).map_err(fail)?;
    Ok(())
}
