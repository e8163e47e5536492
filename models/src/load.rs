//! From a [`ModelSpec`] to a loaded model: find it, read its layout, check everything, open the
//! engine.

use std::path::Path;

use crate::cache::VectorCache;
use crate::engine::Engine;
use crate::hub::Found;
use crate::layout::{Layout, LayoutKind};
use crate::model::{Backend, Loaded};
use crate::pool::{Activation, Head, Step};
use crate::stats::Counters;
use crate::table::TokenTable;
use crate::tokenize::TextTokenizer;
use crate::{Device, ModelError, ModelInfo, ModelKind, ModelSpec, Precision, Result, hub};

/// Changes when the arithmetic changes, so that remembered vectors of an older Sembla are not mixed
/// with newer ones.
const ARITHMETIC: &str = "sembla-arithmetic-1";

/// Loads a model.
pub(crate) fn load(spec: &ModelSpec) -> Result<Loaded> {
    let found = hub::find(&spec.source)?;
    let layout = Layout::read(&found.path)?;
    let is_static = matches!(layout.kind, LayoutKind::Static { .. });
    if is_static {
        check_static_options(spec, &found.name)?;
    }
    let limit = if is_static { None } else { Engine::length_limit(&layout)? };
    let max_length = max_length(spec, &layout, limit, &found.name)?;
    let (path, lowercase) = (&layout.tokenizer, layout.lowercase);
    let tokenizer = TextTokenizer::load(path, &found.name, max_length, !is_static, lowercase)?;
    let parts = if is_static {
        static_parts(&layout, &tokenizer)?
    } else {
        engine_parts(&layout, spec, &tokenizer, &found.name)?
    };
    let head = Head {
        pooling: if parts.pooled { Vec::new() } else { layout.pooling.clone() },
        steps: layout.steps.clone(),
        truncate_dim: spec.truncate_dim.or(layout.truncate_dim),
        normalize: spec.normalize,
    };
    check_head(&head, parts.width, &layout)?;
    let info = describe(&found, &layout, spec, &parts, &head, max_length)?;
    check_truncation(spec, info.dimension, &found.name)?;
    let cache = match &spec.cache {
        Some(folder) if info.dimension > 0 => {
            Some(VectorCache::open(folder, spec.cache_mib, &info.fingerprint)?)
        }
        _ => None,
    };
    let default_activation =
        if info.labels == 1 { Activation::Sigmoid } else { Activation::Identity };
    Ok(Loaded {
        counters: Counters::new(&info.name),
        info,
        tokenizer,
        backend: parts.backend,
        head,
        include_prompt: layout.include_prompt,
        activation: layout.activation.unwrap_or(default_activation),
        cache,
    })
}

/// What users are told of a model.
fn describe(
    found: &Found,
    layout: &Layout,
    spec: &ModelSpec,
    parts: &Parts,
    head: &Head,
    max_length: Option<usize>,
) -> Result<ModelInfo> {
    let kind = match layout.kind {
        LayoutKind::Static { .. } => ModelKind::Static,
        LayoutKind::Encoder => ModelKind::Encoder,
        LayoutKind::CrossEncoder => ModelKind::CrossEncoder,
    };
    let embeds = kind != ModelKind::CrossEncoder;
    Ok(ModelInfo {
        name: found.name.clone(),
        path: found.path.clone(),
        kind,
        architecture: parts.architecture.clone(),
        dimension: if embeds { head.dimension(parts.width) } else { 0 },
        labels: if embeds { 0 } else { parts.labels },
        max_length,
        similarity: layout.similarity,
        precision: parts.precision,
        device: spec.device,
        prompts: layout.prompts.clone().into_iter().collect(),
        default_prompt: layout.default_prompt.clone(),
        fingerprint: fingerprint(layout, spec, parts.precision, max_length)?,
        parameters: parts.parameters,
    })
}

/// What the two kinds of backend tell about themselves.
struct Parts {
    backend: Backend,
    /// Components of a token's vector, or of a text's where the graph pools.
    width: usize,
    /// Whether the graph gives one vector per text.
    pooled: bool,
    labels: usize,
    architecture: String,
    precision: Precision,
    parameters: u64,
}

fn static_parts(layout: &Layout, tokenizer: &TextTokenizer) -> Result<Parts> {
    let table = TokenTable::load(layout, tokenizer)?;
    Ok(Parts {
        width: table.width,
        pooled: true,
        labels: 0,
        architecture: "static".into(),
        precision: table.precision(),
        parameters: table.parameters,
        backend: Backend::Static(table),
    })
}

fn engine_parts(
    layout: &Layout,
    spec: &ModelSpec,
    tokenizer: &TextTokenizer,
    name: &str,
) -> Result<Parts> {
    let engine = Engine::load(layout, spec, tokenizer, name)?;
    let facts = engine.facts().clone();
    Ok(Parts {
        width: facts.width,
        pooled: facts.pooled,
        labels: facts.labels,
        architecture: facts.architecture,
        precision: facts.precision,
        parameters: facts.parameters,
        backend: Backend::Transformer(engine),
    })
}

/// A table of vectors has no precision to choose and no device.
fn check_static_options(spec: &ModelSpec, name: &str) -> Result<()> {
    if let Device::Cuda(_) = spec.device {
        return Err(ModelError::Device {
            device: spec.device.to_string(),
            reason: format!("model '{name}' is static and runs on the cpu"),
        });
    }
    if spec.precision == Some(Precision::F16) {
        return Err(ModelError::BadOption(format!(
            "model '{name}' is static and runs as it is stored; leave precision out"
        )));
    }
    Ok(())
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
            "max_length {wanted} is above the {limit} tokens that model '{name}' can take"
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
            "truncate_dim {wanted} is above the {dimension} components of model '{name}'"
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
