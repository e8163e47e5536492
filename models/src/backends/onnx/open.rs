//! Gets a model's graph: built from its weights, or read from its ONNX file, and checked against
//! its tokenizer.

use std::path::Path;
use std::sync::Arc;

use super::Feed;
use super::sessions::GraphSource;
use crate::backends::Facts;
use crate::families::Transformer;
use crate::graph::{Form, Task};
use crate::inputs::TextReader;
use crate::layout::{Layout, LayoutKind, WeightFile};
use crate::onnx::check;
use crate::ops::{PackedLinear, QuantisedTable, Shared};
use crate::weights::Weights;
use crate::{Device, ModelError, ModelSpec, Precision, Result};

/// A graph with what is known of it before it runs.
pub(super) struct LoadedGraph {
    pub(super) source: GraphSource,
    pub(super) feed: Feed,
    /// `width` is 0 where only running tells.
    pub(super) facts: Facts,
}

/// Gets the graph of a layout.
pub(super) fn load(layout: &Layout, spec: &ModelSpec, reader: &TextReader) -> Result<LoadedGraph> {
    match &layout.weights {
        WeightFile::Safetensors(folder) => from_weights(layout, folder, spec, reader),
        WeightFile::Onnx(path) => from_onnx(layout, path, spec, reader),
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
    built(transformer, &Weights::open(folder)?, task, spec)
}

/// Builds the graph of a transformer in the precision and form that it will run in.
///
/// # Errors
/// Weights that don't fit the configuration, and a precision or device that can't be had.
pub(super) fn built(
    transformer: Transformer,
    weights: &Weights,
    task: Task,
    spec: &ModelSpec,
) -> Result<LoadedGraph> {
    check_precision(spec)?;
    let stored = if is_quantised(weights) { Precision::Q8 } else { Precision::F32 };
    let precision = spec.precision.unwrap_or(stored);
    let on_cpu = spec.device == Device::Cpu;
    if precision == Precision::Q8 && !on_cpu {
        return Err(ModelError::BadOption(format!(
            "precision q8 runs on the cpu only; use f32 on {}",
            spec.device
        )));
    }
    if transformer.config.patch_width.is_some() && !on_cpu {
        return Err(ModelError::BadOption(format!(
            "images run on the cpu only, not on {}",
            spec.device
        )));
    }
    let form = if on_cpu { Form::Packed } else { Form::Padded };
    let built = transformer.build(weights, task, form, precision == Precision::Q8)?;
    let shared = on_cpu.then(|| {
        Arc::new(Shared {
            linears: built.linears.into_iter().map(PackedLinear::new).collect(),
            embeddings: built.embeddings.into_iter().map(QuantisedTable::new).collect(),
        })
    });
    let config = transformer.config;
    let classifies = task == Task::Classify;
    let facts = Facts {
        width: if classifies { built.labels } else { built.hidden },
        pooled: task != Task::Embed,
        labels: built.labels,
        architecture: config.model_type.clone(),
        precision,
        parameters: weights.parameters(),
    };
    let feed = if on_cpu { Feed::Packed(Box::new(config)) } else { Feed::Padded };
    Ok(LoadedGraph { source: GraphSource { bytes: built.bytes, shared }, feed, facts })
}

fn from_onnx(
    layout: &Layout,
    path: &Path,
    spec: &ModelSpec,
    reader: &TextReader,
) -> Result<LoadedGraph> {
    check_precision(spec)?;
    if spec.precision == Some(Precision::Q8) {
        return Err(ModelError::BadOption(format!(
            "precision q8 needs model.safetensors, which {} does not have; leave precision out to run its ONNX graph",
            layout.root.display()
        )));
    }
    if let Some(rows) = layout.config.get("vocab_size").and_then(serde_json::Value::as_u64) {
        check_vocabulary(usize::try_from(rows).unwrap_or(usize::MAX), reader, layout)?;
    }
    let checked = check::check(path)?;
    let architecture = layout.config.get("model_type").and_then(serde_json::Value::as_str);
    let facts = Facts {
        width: 0,
        pooled: false,
        labels: usize::from(layout.kind == LayoutKind::CrossEncoder),
        architecture: architecture.unwrap_or("onnx").to_string(),
        precision: Precision::F32,
        parameters: 0,
    };
    let source = GraphSource { bytes: checked.bytes, shared: None };
    Ok(LoadedGraph { source, feed: Feed::Padded, facts })
}

fn check_precision(spec: &ModelSpec) -> Result<()> {
    match spec.precision {
        Some(Precision::F16) => Err(ModelError::BadOption(
            "precision f16 is not available in this version; use f32 or q8".into(),
        )),
        _ => Ok(()),
    }
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
