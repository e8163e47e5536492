//! The architectures that graphs are built for: one file each, and one list.
//!
//! A family says which values of `model_type` are its own, how it reads a `config.json`, and how
//! its graph is put together from the pieces of `graph`. To add one, write its file beside these
//! and put it on [`FAMILIES`]; those that take images have a list of their own in [`towers`].
//! Nothing here runs a graph or reads a file.

mod bert;
mod clip;
mod dinov2;
mod distilbert;
mod modernbert;
mod mpnet;
mod roberta;
mod siglip;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod towers;

use std::fmt::Debug;
use std::path::Path;

use serde_json::Value;

use crate::anatomy::Anatomy;
use crate::config::{Keys, TransformerConfig};
use crate::graph::{Builder, BuiltGraph, Form, Task};
use crate::weights::Weights;
use crate::{ModelError, Result};

/// Every family, in the order in which messages name them, one a line.
#[rustfmt::skip]
static FAMILIES: &[&Family] = &[
    &bert::FAMILY,
    &roberta::FAMILY,
    &distilbert::FAMILY,
    &mpnet::FAMILY,
    &modernbert::FAMILY,
];

/// A family of architectures.
struct Family {
    /// The values of `model_type` that are its own.
    model_types: &'static [&'static str],
    /// Checks a `config.json` whose `model_type` is one of those.
    read: fn(&Keys<'_>) -> Result<Transformer>,
}

/// How a transformer is put together. What only one family has in its `config.json` is in the type
/// that implements this.
pub(crate) trait Architecture: Debug + Send + Sync {
    /// Writes the nodes from the inputs to the vectors of all tokens, and gives the name of those.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] when a tensor is missing or has another type or shape than the
    /// configuration asks for.
    fn body(&self, b: &mut Builder<'_>) -> Result<String>;

    /// Writes the nodes from the vectors of all tokens, `x`, to the scores of each text, or to the
    /// vector of each image.
    ///
    /// # Errors
    /// As [`Architecture::body`].
    fn head(&self, b: &mut Builder<'_>, x: &str) -> Result<String>;

    /// Whether the operators of the fused form can compute it.
    fn fuses(&self) -> bool {
        false
    }

    /// Which tensor is what, for training; `None` where the architecture can't be trained.
    ///
    /// # Errors
    /// As [`Architecture::body`].
    fn anatomy(&self, _: &TransformerConfig, _: &Weights) -> Result<Option<Anatomy>> {
        Ok(None)
    }
}

/// A transformer whose configuration is understood.
#[derive(Debug)]
pub(crate) struct Transformer {
    /// What all families have.
    pub(crate) config: TransformerConfig,
    architecture: Box<dyn Architecture>,
}

impl Transformer {
    /// A transformer of that configuration and that architecture.
    fn new(config: TransformerConfig, architecture: impl Architecture + 'static) -> Self {
        Self { config, architecture: Box::new(architecture) }
    }

    /// Checks the contents of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] when no family knows its `model_type`, or a key has a value
    /// that no graph can be built for.
    pub(crate) fn parse(value: &Value, path: &Path) -> Result<Self> {
        let keys = Keys { value, path };
        let model_type = keys.text("model_type")?.unwrap_or_default();
        let family = FAMILIES.iter().find(|family| family.model_types.contains(&model_type));
        let family = family.ok_or_else(|| unknown_type(&keys, model_type))?;
        (family.read)(&keys)
    }

    /// Builds the graph. Weights that are stored in 8 bits become floats unless `quantised`.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] when a tensor is missing or has another type or shape than the
    /// configuration asks for, and [`ModelError::Unsupported`] when the graph would be larger than
    /// 2 GiB.
    pub(crate) fn build(
        &self,
        weights: &Weights,
        task: Task,
        form: Form,
        quantised: bool,
    ) -> Result<BuiltGraph> {
        let mut builder = Builder::new(&self.config, weights, form, quantised, false)?;
        let output = self.assemble(&mut builder, task)?;
        builder.finish(&output, task)
    }

    /// Whether it has a fused graph.
    pub(crate) fn fuses(&self) -> bool {
        self.architecture.fuses()
    }

    /// Which tensor is what, for training.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] where the architecture can't be trained, and a model without its
    /// table of words.
    pub(crate) fn anatomy(&self, weights: &Weights) -> Result<Anatomy> {
        self.architecture.anatomy(&self.config, weights)?.ok_or_else(|| {
            ModelError::Unsupported(format!(
                "models of type {} can be run but not trained; trainable are bert, roberta, xlm-roberta, distilbert, mpnet and static models",
                self.config.model_type
            ))
        })
    }

    /// The names of the tensors that a quantised graph takes in 8 bits.
    ///
    /// # Errors
    /// The errors of [`Transformer::build`]. No weights are read.
    pub(crate) fn quantisable(&self, weights: &Weights) -> Result<Vec<String>> {
        let mut builder = Builder::new(&self.config, weights, Form::Packed, true, true)?;
        let reads_images = self.config.patch_width.is_some();
        self.assemble(&mut builder, if reads_images { Task::Pool } else { Task::Embed })?;
        Ok(builder.into_quantisable())
    }

    /// Writes all nodes and gives the name of the output.
    fn assemble(&self, b: &mut Builder<'_>, task: Task) -> Result<String> {
        let x = self.architecture.body(b)?;
        match task {
            Task::Embed => Ok(x),
            Task::Pool | Task::Classify => self.architecture.head(b, &x),
        }
    }
}

fn unknown_type(keys: &Keys<'_>, found: &str) -> ModelError {
    let what = if found.is_empty() {
        "has no model_type".to_string()
    } else {
        format!("has model_type '{found}', for which no graph can be built")
    };
    let texts = FAMILIES.iter().flat_map(|family| family.model_types).copied();
    let known: Vec<&str> = texts.chain(towers::model_types()).collect();
    keys.bad(format!("{what}; supported: {}; other models need an .onnx file", known.join(", ")))
}
