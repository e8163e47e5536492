//! Gets a model's graph: built from its weights, or read from its ONNX file, and checked against
//! its tokenizer.

use std::path::Path;
use std::sync::Arc;

use super::batch::OF_TEXTS;
use super::plan::{self, Feed, FusedFeed, Wanted};
use super::sessions::GraphSource;
use crate::backends::Facts;
use crate::families::Transformer;
use crate::graph::{Form, Fused, GraphPooling, Task};
use crate::inputs::TextReader;
use crate::layout::{Layout, LayoutKind, WeightFile};
use crate::onnx::check::{self, Given};
use crate::ops::{PackedLinear, QuantisedTable, Shared};
use crate::pool::{PoolingMode, Step};
use crate::weights::Weights;
use crate::{ModelError, ModelSpec, Precision, Result};

/// A graph with what is known of it before it runs.
pub(super) struct LoadedGraph {
    pub(super) source: GraphSource,
    pub(super) feed: Feed,
    /// `width` is 0 where only running tells.
    pub(super) facts: Facts,
    /// The outputs that may hold what is wanted; the first that is there counts.
    pub(super) outputs: &'static [&'static str],
}

/// Gets the graph of a layout.
pub(super) fn load(layout: &Layout, spec: &ModelSpec, reader: &TextReader) -> Result<LoadedGraph> {
    match &layout.weights {
        WeightFile::Safetensors(folder) => from_weights(layout, folder, spec, reader),
        WeightFile::Onnx(path) => from_onnx(layout, path, spec, reader),
        WeightFile::Towers { .. } => Err(ModelError::Bug("towers are loaded one by one".into())),
    }
}

fn from_weights(
    layout: &Layout,
    folder: &Path,
    spec: &ModelSpec,
    reader: &TextReader,
) -> Result<LoadedGraph> {
    let transformer = Transformer::parse(&layout.config, &layout.config_path)?;
    check_vocabulary(transformer.config.vocabulary, reader, layout)?;
    let task = match layout.kind {
        LayoutKind::CrossEncoder => Task::Classify,
        _ => Task::Embed,
    };
    let after = After { pooling: &layout.pooling, steps: &layout.steps };
    built(transformer, &Weights::open(folder)?, task, after, spec)
}

/// What becomes of the token vectors of a text; a graph may do it.
#[derive(Clone, Copy, Default)]
pub(super) struct After<'a> {
    pub(super) pooling: &'a [PoolingMode],
    pub(super) steps: &'a [Step],
}

/// Builds the graph of a transformer in the precision and form that it will run in.
///
/// # Errors
/// Weights that don't fit the configuration, and a precision or device that can't be had.
pub(super) fn built(
    transformer: Transformer,
    weights: &Weights,
    task: Task,
    after: After<'_>,
    spec: &ModelSpec,
) -> Result<LoadedGraph> {
    let precision = plan::precision(spec, is_quantised(weights));
    let config = &transformer.config;
    let form = plan::form(&Wanted {
        spec,
        precision,
        task,
        model_type: &config.model_type,
        fuses: transformer.fuses(),
        of_images: config.patch_width.is_some(),
        pooling: after.pooling,
        steps: after.steps,
    })?;
    let built = transformer.build(weights, task, form, precision == Precision::Q8)?;
    let shared = (form == Form::Packed).then(|| {
        Arc::new(Shared {
            linears: built.linears.into_iter().map(PackedLinear::new).collect(),
            embeddings: built.embeddings.into_iter().map(QuantisedTable::new).collect(),
        })
    });
    let config = transformer.config;
    let (vectors, normalised) = match form {
        Form::Fused(Fused { pooling: GraphPooling::Picked, normalise, .. }) => (1, normalise),
        Form::Fused(Fused { pooling: GraphPooling::Weighted { modes }, normalise, .. }) => {
            (modes, normalise)
        }
        _ => (0, false),
    };
    let facts = Facts {
        width: if task == Task::Classify { built.labels } else { built.hidden * vectors.max(1) },
        pooled: task != Task::Embed || vectors > 0,
        normalised,
        labels: built.labels,
        architecture: config.model_type.clone(),
        precision,
        parameters: weights.parameters(),
    };
    let feed = match form {
        Form::Packed => Feed::Packed(Box::new(config)),
        Form::Padded => Feed::Padded,
        Form::Fused(form) => {
            let modes = if vectors > 0 { after.pooling.to_vec() } else { Vec::new() };
            Feed::Fused(Box::new(FusedFeed { form, config, modes }))
        }
    };
    let source = GraphSource { bytes: built.bytes, shared };
    Ok(LoadedGraph { source, feed, facts, outputs: OF_TEXTS })
}

fn from_onnx(
    layout: &Layout,
    path: &Path,
    spec: &ModelSpec,
    reader: &TextReader,
) -> Result<LoadedGraph> {
    if let Some(rows) = layout.config.get("vocab_size").and_then(serde_json::Value::as_u64) {
        check_vocabulary(usize::try_from(rows).unwrap_or(usize::MAX), reader, layout)?;
    }
    graph(layout, path, spec, Given::Texts, OF_TEXTS)
}

/// Reads an ONNX file that is given texts or images.
///
/// # Errors
/// A file that is no such graph, and a precision that it does not have.
pub(super) fn graph(
    layout: &Layout,
    path: &Path,
    spec: &ModelSpec,
    given: Given,
    outputs: &'static [&'static str],
) -> Result<LoadedGraph> {
    if let Some(precision @ (Precision::Q8 | Precision::F16)) = spec.precision {
        return Err(ModelError::BadOption(format!(
            "precision {precision} needs model.safetensors, which {} does not have; leave precision out to run its ONNX graph",
            layout.root.display()
        )));
    }
    let checked = check::check(path, given)?;
    let architecture = layout.config.get("model_type").and_then(serde_json::Value::as_str);
    let facts = Facts {
        width: 0,
        pooled: false,
        normalised: false,
        labels: usize::from(layout.kind == LayoutKind::CrossEncoder),
        architecture: architecture.unwrap_or("onnx").to_string(),
        precision: Precision::F32,
        parameters: 0,
    };
    let source = GraphSource { bytes: checked.bytes, shared: None };
    Ok(LoadedGraph { source, feed: Feed::Padded, facts, outputs })
}

/// Whether any weight is stored in 8 bits.
fn is_quantised(weights: &Weights) -> bool {
    weights.names().iter().any(|name| weights.is_quantised(name))
}

/// Every id that the tokenizer can give must have a row.
pub(super) fn check_vocabulary(rows: usize, reader: &TextReader, layout: &Layout) -> Result<()> {
    let ids = reader.vocabulary_size();
    if ids > rows {
        return Err(ModelError::file(
            &layout.tokenizer,
            format!(
                "has {ids} tokens, but the model knows {rows}; they belong to different models"
            ),
        ));
    }
    Ok(())
}
