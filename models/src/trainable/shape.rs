//! A model with another shape than its directory has: fewer layers, or one more dense module after
//! all others. What fewer tokens mean is left to `tokens`.
//!
//! [`Trainable`] then gives and writes the tensors of the new shape alone. How the rest of the
//! directory is written is left to it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::tokens::KeptTokens;
use super::{Body, Trainable};
use crate::pool::{Dense, PoolingMode, Step, TorchActivation};
use crate::{ModelError, ModelKind, Result};

/// The module types of Sentence-Transformers, as every version since 2 reads them.
const MODULES: &str = "sentence_transformers.models";

/// What is different from the directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Of each layer of the directory: what its tensors' names begin with, and what they begin with
    /// in the new model; `None` for a layer that goes. Empty where all stay.
    layers: Vec<(String, Option<String>)>,
    /// Dense modules after all others, and whether each is followed by a normalisation.
    added: Vec<(Dense, bool)>,
    /// The tokens, where some go.
    pub(super) tokens: Option<KeptTokens>,
}

impl Changes {
    /// Whether there are fewer layers.
    pub(super) fn drops_layers(&self) -> bool {
        !self.layers.is_empty()
    }

    /// The name of a tensor in the new model; `None` where it belongs to a layer that goes.
    pub(super) fn name_of(&self, name: &str) -> Option<String> {
        let layer = self.layers.iter().find(|(old, _)| name.starts_with(old.as_str()));
        match layer {
            Some((old, new)) => new.as_ref().map(|new| format!("{new}{}", &name[old.len()..])),
            None => Some(name.to_string()),
        }
    }
}

impl Trainable {
    /// The number of a transformer's layers; 0 for a static model.
    pub fn layers(&self) -> usize {
        match &self.body {
            Body::Transformer(anatomy) => anatomy.layers.len(),
            Body::Table { .. } => 0,
        }
    }

    /// Keeps these layers of a transformer alone, numbered from 0 and ascending.
    ///
    /// # Errors
    /// [`ModelError::BadOption`] for none, for a layer that the model doesn't have and for another
    /// order, and [`ModelError::Unsupported`] for a static model.
    pub fn keep_layers(&mut self, kept: &[usize]) -> Result<()> {
        let Body::Transformer(anatomy) = &mut self.body else {
            return Err(ModelError::Unsupported(format!(
                "model '{}' is static and has no layers to choose from",
                self.name
            )));
        };
        let count = anatomy.layers.len();
        let ascends = kept.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascends || kept.last().is_none_or(|last| *last >= count) {
            return Err(ModelError::BadOption(format!(
                "layers to keep of model '{}' must be numbers from 0 to {}, ascending, got {kept:?}",
                self.name,
                count.saturating_sub(1)
            )));
        }
        if kept.len() == count {
            return Ok(());
        }
        let prefixes = &anatomy.layer_prefixes;
        let new_name = |old: usize| {
            let place = kept.iter().position(|layer| *layer == old)?;
            Some(prefixes[place].clone())
        };
        let of = |(old, prefix): (usize, &String)| (prefix.clone(), new_name(old));
        self.changes.layers = prefixes.iter().enumerate().map(of).collect();
        anatomy.layers.truncate(kept.len());
        anatomy.layer_prefixes.truncate(kept.len());
        Ok(())
    }

    /// Whether vectors have length 1.
    pub fn normalizes(&self) -> bool {
        matches!(self.layout.steps.last(), Some(Step::Normalize))
    }

    /// Adds a dense module without bias and activation after all others; `weight` has `outputs`
    /// rows of `inputs` numbers. Vectors that had length 1 have it again after it.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a model that is no encoder, and [`ModelError::BadOption`]
    /// for a weight that doesn't fit.
    pub fn add_dense(&mut self, weight: Vec<f32>, inputs: usize) -> Result<()> {
        if self.kind != ModelKind::Encoder {
            return Err(ModelError::Unsupported(format!(
                "model '{}' is no transformer that gives vectors, so a dense module can't be added to it",
                self.name
            )));
        }
        let outputs = weight.len().checked_div(inputs).unwrap_or(0);
        if outputs == 0 || outputs * inputs != weight.len() || inputs != self.width() {
            return Err(ModelError::BadOption(format!(
                "a dense module after model '{}' must take its {} components, got {inputs}",
                self.name,
                self.width()
            )));
        }
        let unit = self.normalizes();
        let folder = PathBuf::from(format!("{}_Dense", self.modules()?.len()));
        let activation = TorchActivation::Identity;
        let dense = Dense { folder, weight, bias: Vec::new(), inputs, outputs, activation };
        self.layout.steps.push(Step::Dense(dense.clone()));
        if unit {
            self.layout.steps.push(Step::Normalize);
        }
        self.changes.added.push((dense, unit));
        Ok(())
    }

    /// Components of a vector.
    pub fn width(&self) -> usize {
        let pooled = match &self.body {
            Body::Transformer(anatomy) => anatomy.hidden * self.layout.pooling.len().max(1),
            Body::Table { parts, .. } => parts.width,
        };
        self.layout.steps.iter().fold(pooled, |width, step| match step {
            Step::Dense(dense) => dense.outputs,
            Step::Normalize => width,
        })
    }

    /// The list of modules with those that were added.
    fn modules(&self) -> Result<Vec<Value>> {
        let path = self.layout.root.join("modules.json");
        let bad = |error: serde_json::Error| ModelError::file(&path, error.to_string());
        let mut modules: Vec<Value> = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(bad)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")]
            }
            Err(error) => return Err(ModelError::io(path, error)),
        };
        for (dense, unit) in &self.changes.added {
            modules.push(module(modules.len(), &dense.folder.to_string_lossy(), "Dense"));
            if *unit {
                let folder = format!("{}_Normalize", modules.len());
                modules.push(module(modules.len(), &folder, "Normalize"));
            }
        }
        Ok(modules)
    }

    /// Writes the list of modules and the configurations of those that were added; nothing where
    /// there are none.
    pub(super) fn write_modules(&self, work: &Path) -> Result<()> {
        if self.changes.added.is_empty() {
            return Ok(());
        }
        let write = |place: &Path, value: &Value| write_json(&work.join(place), value);
        let list = Path::new("modules.json");
        if !self.layout.root.join(list).is_file() {
            // Without a list of modules, a transformer's vector is the mean of its tokens'.
            let Body::Transformer(anatomy) = &self.body else { return Ok(()) };
            let pooling = pooling_config(anatomy.hidden, &[PoolingMode::Mean]);
            write(Path::new("1_Pooling/config.json"), &pooling)?;
        }
        write(list, &Value::Array(self.modules()?))?;
        for (dense, _) in &self.changes.added {
            write(&dense.folder.join("config.json"), &dense_config(dense))?;
        }
        Ok(())
    }
}

/// Writes a file of JSON, and its folder.
pub(super) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, format!("{value:#}\n")))
        .map_err(|error| ModelError::io(path, error))
}

/// The configuration of a dense module.
pub(super) fn dense_config(dense: &Dense) -> Value {
    json!({
        "in_features": dense.inputs,
        "out_features": dense.outputs,
        "bias": !dense.bias.is_empty(),
        "activation_function": dense.activation.torch_class(),
    })
}

/// The configuration of a pooling module over token vectors of width `hidden`.
pub(super) fn pooling_config(hidden: usize, modes: &[PoolingMode]) -> Value {
    let mut config = json!({"word_embedding_dimension": hidden});
    for (_, key, mode) in PoolingMode::ALL {
        config[key] = json!(modes.contains(&mode));
    }
    config
}

/// An entry of the list of modules.
pub(super) fn module(number: usize, folder: &str, class: &str) -> Value {
    json!({
        "idx": number,
        "name": number.to_string(),
        "path": folder,
        "type": format!("{MODULES}.{class}"),
    })
}
