//! A model directory taken apart for training, and a new directory made of what came of it.
//!
//! [`Trainable::open`] reads what running a model reads (see `load`), but gives the tensors by name
//! instead of handing them to an engine; [`Trainable::save`] writes a directory that loads again,
//! here and in Sentence-Transformers. `shape` makes a model with fewer layers of it, or one with
//! another dense module; `tokens` one that knows fewer words; `vocabulary` a static model of its
//! tokens; `assemble` a model of new modules. What is done with the tensors is left to the caller.

mod assemble;
mod shape;
mod tokenizer;
mod tokens;
mod vocabulary;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::anatomy::Anatomy;
pub use crate::backends::TableParts;
use crate::backends::TokenTable;
use crate::directory::{self, floats, replace, sibling};
use crate::families::Transformer;
use crate::info::Similarity;
pub use crate::inputs::Sequence;
use crate::inputs::{Input, TextReader};
use crate::layout::{Layout, LayoutKind, WeightFile};
use crate::load::{Prepared, prepare};
pub use assemble::{Modules, NewTransformer};
pub use vocabulary::{StaticFacts, Vocabulary};

pub use crate::pool::{Dense, PoolingMode, Step, TorchActivation};
use crate::weights::{SCALES_SUFFIX, Weights};
use crate::{CancelToken, ModelError, ModelKind, ModelSpec, Result};

/// What `config.json` calls the number of layers; the first is the usual name.
const LAYER_COUNTS: [&str; 2] = ["num_hidden_layers", "n_layers"];

/// A tensor of 32-bit floats.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatTensor {
    /// Its size along each axis.
    pub shape: Vec<usize>,
    /// Its values, the last axis innermost.
    pub values: Vec<f32>,
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, FloatTensor>;

/// What stands before pooling.
#[derive(Clone, Debug)]
pub enum Body {
    /// A transformer; [`Trainable::tensors`] has its weights.
    Transformer(Box<Anatomy>),
    /// A table of token vectors.
    Table {
        /// The table and what goes with it.
        parts: TableParts,
        /// The name of its tensor.
        name: String,
    },
}

/// A model directory, taken apart.
pub struct Trainable {
    name: String,
    kind: ModelKind,
    layout: Layout,
    reader: TextReader,
    max_length: Option<usize>,
    body: Body,
    changes: shape::Changes,
}

impl std::fmt::Debug for Trainable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Trainable {
    /// Finds a model and reads everything but the tensors of a transformer. Of the options of
    /// `spec` only the source and `max_length` count.
    ///
    /// # Errors
    /// Those of loading a model, and [`ModelError::Unsupported`] for one that can't be trained: a
    /// bare ONNX file, or an architecture that is only run.
    pub fn open(spec: &ModelSpec) -> Result<Self> {
        let Prepared { found, layout, reader, max_length } = prepare(spec)?;
        let WeightFile::Safetensors(folder) = &layout.weights else {
            return Err(ModelError::Unsupported(format!(
                "model '{}' has an ONNX file alone and can't be trained; training needs model.safetensors",
                found.name
            )));
        };
        let (kind, body) = match layout.kind {
            LayoutKind::Static { .. } => {
                let has_embeddings = Weights::open(folder)?.contains("embeddings");
                let name = if has_embeddings { "embeddings" } else { "embedding.weight" };
                let parts = TokenTable::load(&layout, &reader)?.into_parts();
                (ModelKind::Static, Body::Table { parts, name: name.into() })
            }
            LayoutKind::Encoder | LayoutKind::CrossEncoder | LayoutKind::Towers => {
                let transformer = Transformer::parse(&layout.config, &layout.config_path)?;
                let anatomy = transformer.anatomy(&Weights::open(folder)?)?;
                let kind = match layout.kind {
                    LayoutKind::CrossEncoder => ModelKind::CrossEncoder,
                    _ => ModelKind::Encoder,
                };
                (kind, Body::Transformer(Box::new(anatomy)))
            }
        };
        let changes = shape::Changes::default();
        Ok(Self { name: found.name, kind, layout, reader, max_length, body, changes })
    }

    /// A short name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind of model it is.
    pub fn kind(&self) -> ModelKind {
        self.kind
    }

    /// What stands before pooling.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Pooling modes, concatenated in this order.
    pub fn pooling(&self) -> &[PoolingMode] {
        &self.layout.pooling
    }

    /// Steps after pooling.
    pub fn steps(&self) -> &[Step] {
        &self.layout.steps
    }

    /// How vectors are compared.
    pub fn similarity(&self) -> Similarity {
        self.layout.similarity
    }

    /// The longest input in tokens.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// A number of the transformer's `config.json`, such as the probability of a dropout.
    pub fn setting(&self, key: &str) -> Option<f64> {
        self.layout.config.get(key).and_then(serde_json::Value::as_f64)
    }

    /// The folder of the model.
    pub fn root(&self) -> &Path {
        &self.layout.root
    }

    /// Every tensor of a transformer in 32-bit floats; 8-bit ones are multiplied by their scales. A
    /// table of positions that PyTorch saved along, which are whole numbers, is left out. A static
    /// model has none but its table, which is in its body.
    ///
    /// # Errors
    /// Files that can't be read, and tensors of other types.
    pub fn tensors(&self) -> Result<Tensors> {
        let WeightFile::Safetensors(folder) = &self.layout.weights else {
            return Ok(Tensors::new());
        };
        if matches!(self.body, Body::Table { .. }) {
            return Ok(Tensors::new());
        }
        let weights = Weights::open(folder)?;
        let mut tensors = Tensors::new();
        for name in weights.names() {
            let Some(shape) = weights.shape(name).map(<[usize]>::to_vec) else { continue };
            let Some(new_name) = self.changes.name_of(name) else { continue };
            let is_scale =
                name.strip_suffix(SCALES_SUFFIX).is_some_and(|of| weights.is_quantised(of));
            if is_scale || name.ends_with("position_ids") {
                continue;
            }
            let values = match shape[..] {
                [rows, columns] if weights.is_quantised(name) => {
                    weights.matrix(name, rows, columns)?.into_f32()
                }
                _ => weights.floats(name, &shape)?,
            };
            let tensor = FloatTensor { shape, values };
            tensors.insert(new_name, self.with_kept_tokens(name, tensor));
        }
        Ok(tensors)
    }

    /// Texts as token ids, in their order, with `prompt` before each.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`], and failures of the tokenizer.
    pub fn texts(
        &self,
        texts: &[&str],
        prompt: &str,
        cancel: &CancelToken,
    ) -> Result<Vec<Sequence>> {
        let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
        self.reader.read(&inputs, prompt, cancel)
    }

    /// Pairs as token ids, in their order.
    ///
    /// # Errors
    /// As [`Trainable::texts`].
    pub fn pairs(&self, pairs: &[(&str, &str)], cancel: &CancelToken) -> Result<Vec<Sequence>> {
        let inputs: Vec<Input<'_>> =
            pairs.iter().map(|(first, second)| Input::Pair(first, second)).collect();
        self.reader.read(&inputs, "", cancel)
    }

    /// Writes the directory `target` with these tensors in the first module, and these dense layers
    /// in theirs; what else the directory had comes along. A directory that is there already is
    /// replaced at the end, when the new one is whole.
    ///
    /// # Errors
    /// Those of the disk; then `target` is as it was.
    pub fn save(&self, target: &Path, tensors: &Tensors, dense: &[Dense]) -> Result<()> {
        let work = sibling(target);
        let outcome = self.write(&work, tensors, dense).and_then(|()| replace(&work, target));
        if outcome.is_err() {
            let _ = fs::remove_dir_all(&work);
        }
        outcome
    }

    fn write(&self, work: &Path, tensors: &Tensors, dense: &[Dense]) -> Result<()> {
        let to_write = |(name, tensor): (&String, &FloatTensor)| {
            (name.clone(), floats(&tensor.values, tensor.shape.clone()))
        };
        let tensors: Vec<_> = tensors.iter().map(to_write).collect();
        directory::write(&self.layout, work, &tensors)?;
        self.write_modules(work)?;
        for dense in dense {
            write_dense(work, dense)?;
        }
        self.write_config(work)
    }

    /// The weights are 32-bit floats now, whatever `config.json` said, and there may be fewer
    /// layers, or tokens.
    fn write_config(&self, work: &Path) -> Result<()> {
        let Ok(place) = self.layout.config_path.strip_prefix(&self.layout.root) else {
            return Ok(());
        };
        let mut config = self.config();
        if let (Some(tokens), Some(keys)) = (&self.changes.tokens, config.as_object_mut()) {
            tokens.write(work, keys)?;
        }
        match config == self.layout.config {
            true => Ok(()),
            false => shape::write_json(&work.join(place), &config),
        }
    }

    /// `config.json` for weights in 32-bit floats, and for the layers that are kept.
    fn config(&self) -> serde_json::Value {
        let mut config = self.layout.config.clone();
        let Some(keys) = config.as_object_mut() else { return config };
        for key in ["dtype", "torch_dtype"] {
            if let Some(value) = keys.get_mut(key) {
                *value = "float32".into();
            }
        }
        if self.changes.drops_layers() {
            let key = LAYER_COUNTS.into_iter().find(|key| keys.contains_key(*key));
            keys.insert(key.unwrap_or(LAYER_COUNTS[0]).into(), self.layers().into());
        }
        config
    }
}

/// Writes the weights of a dense module into its folder.
fn write_dense(work: &Path, dense: &Dense) -> Result<()> {
    let weight = floats(&dense.weight, vec![dense.outputs, dense.inputs]);
    let mut tensors = vec![("linear.weight".to_string(), weight)];
    if !dense.bias.is_empty() {
        tensors.push(("linear.bias".into(), floats(&dense.bias, vec![dense.outputs])));
    }
    directory::write_tensors(&work.join(&dense.folder).join("model.safetensors"), &tensors)
}
