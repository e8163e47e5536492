//! Makes an 8-bit model directory from a 32-bit one, and writes a model's graph as ONNX. Running it
//! is the engine's job.
//!
//! The big matrices become I8 with one F32 scale per row and block (`NAME.scales`); everything else
//! is copied. The directory keeps its layout, so it loads like any other.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::Dtype;

use crate::directory::{Tensor, copy_classifier, floats, sibling, write};
use crate::families::Transformer;
use crate::families::towers::Towers;
use crate::graph::{Form, Task};
use crate::layout::{Layout, LayoutKind, WeightFile};
use crate::ops::{block_of, quantise_rows};
use crate::weights::{SCALES_SUFFIX, Weights};
use crate::{ModelError, ModelSpec, Result, hub};

/// What [`quantize`] did.
#[derive(Clone, Debug)]
pub struct QuantizeReport {
    /// Where the new directory is.
    pub path: PathBuf,
    /// Bytes of the weights before.
    pub bytes_before: u64,
    /// Bytes of the weights after.
    pub bytes_after: u64,
    /// Tensors that are 8-bit now.
    pub tensors: usize,
}

/// Writes an 8-bit copy of the model at `source` (anything that [`ModelSpec`] takes) into the new
/// folder `target`.
///
/// Takes seconds and the memory of the 8-bit weights. An interrupted run leaves no folder `target`.
///
/// # Examples
/// ```
/// # let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/bert");
/// # let folder = std::env::temp_dir().join(format!("sembla-doc-{}", std::process::id()));
/// # let target = folder.join("bert-q8");
/// # std::fs::create_dir_all(&folder).expect("a folder");
/// let report = sembla_models::quantize(source, &target)?;
/// assert!(report.bytes_after < report.bytes_before);
/// # std::fs::remove_dir_all(&folder).expect("a folder");
/// # Ok::<(), sembla_models::ModelError>(())
/// ```
///
/// # Errors
/// When the source has no `model.safetensors`, is quantised already, or `target` exists.
pub fn quantize(source: &str, target: &Path) -> Result<QuantizeReport> {
    if target.exists() {
        return Err(ModelError::BadOption(format!(
            "{} already exists; name a new folder",
            target.display()
        )));
    }
    let layout = Layout::read(&hub::find(source)?.path)?;
    let weights = safetensors(&layout, "quantised")?;
    let names = match layout.kind {
        LayoutKind::Towers => {
            Towers::parse(&layout.config, &layout.config_path)?.quantisable(&weights)?
        }
        _ => Transformer::parse(&layout.config, &layout.config_path)?.quantisable(&weights)?,
    };
    if let Some(name) = names.iter().find(|name| weights.is_quantised(name)) {
        return Err(ModelError::file(
            weights.path(),
            format!("is already quantised ('{name}' is in 8 bits)"),
        ));
    }
    let mut tensors = Vec::new();
    for name in weights.names() {
        let is_big = names.iter().any(|big| big == name);
        match weights.shape(name).map(<[usize]>::to_vec) {
            // The kernels of a convolution over patches are a matrix too.
            Some(shape) if is_big && matches!(shape.len(), 2 | 4) => {
                let shape = [shape[0], shape[1..].iter().product()];
                let (values, scales) = to_eight_bits(&weights, name, &shape)?;
                tensors.push((name.to_string(), values));
                tensors.push((format!("{name}{SCALES_SUFFIX}"), scales));
            }
            // Tables of positions that PyTorch saved along are whole numbers, and no model needs
            // them.
            _ if name.ends_with("position_ids") => {}
            Some(shape) => {
                let data = weights.floats(name, &shape)?;
                tensors.push((name.to_string(), floats(&data, shape)));
            }
            None => {}
        }
    }
    let work = sibling(target);
    let outcome = write(&layout, &work, &tensors)
        .and_then(|()| copy_classifier(&layout.root, &work))
        .and_then(|()| fs::rename(&work, target).map_err(|error| ModelError::io(target, error)));
    if outcome.is_err() {
        let _ = fs::remove_dir_all(&work);
    }
    outcome?;
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    Ok(QuantizeReport {
        path: target.to_path_buf(),
        bytes_before: size(weights.path()),
        bytes_after: size(&target.join("model.safetensors")),
        tensors: names.len(),
    })
}

/// Writes the model's graph at f32 as a plain ONNX file: `input_ids`, `attention_mask` (and
/// `token_type_ids`) in, `last_hidden_state` or `logits` out. Pooling and normalisation stay
/// outside, as Sentence-Transformers has it. Takes seconds; the file has four bytes a parameter.
///
/// # Examples
/// ```
/// # let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/bert");
/// # let graph = std::env::temp_dir().join(format!("sembla-doc-{}.onnx", std::process::id()));
/// sembla_models::export(&sembla_models::ModelSpec::new(source), &graph)?;
/// assert!(std::fs::metadata(&graph).expect("a graph").len() > 0);
/// # std::fs::remove_file(&graph).expect("a graph");
/// # Ok::<(), sembla_models::ModelError>(())
/// ```
///
/// # Errors
/// When the model has no `model.safetensors`, or `target` exists.
pub fn export(spec: &ModelSpec, target: &Path) -> Result<()> {
    if target.exists() {
        return Err(ModelError::BadOption(format!("{} already exists", target.display())));
    }
    let layout = Layout::read(&hub::find(&spec.source)?.path)?;
    let weights = safetensors(&layout, "exported")?;
    if layout.kind == LayoutKind::Towers {
        return Err(ModelError::Unsupported(format!(
            "{} is a model of texts and images; only text models can be exported",
            layout.root.display()
        )));
    }
    let transformer = Transformer::parse(&layout.config, &layout.config_path)?;
    let task = match layout.kind {
        LayoutKind::CrossEncoder => Task::Classify,
        _ => Task::Embed,
    };
    let graph = transformer.build(&weights, task, Form::Padded, false)?;
    let work = sibling(target);
    fs::write(&work, &graph.bytes)
        .and_then(|()| fs::rename(&work, target))
        .map_err(|error| ModelError::io(target, error))
}

/// The weights of a transformer that Sembla can build.
fn safetensors(layout: &Layout, done: &str) -> Result<Weights> {
    if matches!(layout.kind, LayoutKind::Static { .. }) {
        return Err(ModelError::Unsupported(format!(
            "{} is a static model; only transformers can be {done}",
            layout.root.display()
        )));
    }
    let WeightFile::Safetensors(folder) = &layout.weights else {
        return Err(ModelError::file(
            &layout.root,
            format!("has no model.safetensors, from which a model is {done}"),
        ));
    };
    Weights::open(folder)
}

fn to_eight_bits(weights: &Weights, name: &str, shape: &[usize; 2]) -> Result<(Tensor, Tensor)> {
    let [rows, width] = *shape;
    let data = weights.matrix(name, rows, width)?.into_f32();
    let block = block_of(width);
    let (values, scales) = quantise_rows(&data, block);
    let values = Tensor {
        dtype: Dtype::I8,
        shape: shape.to_vec(),
        data: values.into_iter().map(|value| value as u8).collect(),
    };
    Ok((values, floats(&scales, vec![rows, width / block])))
}
