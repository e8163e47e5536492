//! What runs a model: from token ids to numbers.
//!
//! A [`Backend`] is an engine with a model's weights in it. There are two: ONNX Runtime with the
//! graphs that Sembla builds or finds ([`onnx`]), and tables of token vectors, which need no engine
//! ([`table`]). What becomes of the numbers (pooling, activations) is left to the model.

mod onnx;
mod table;

use std::path::Path;

use crate::families::Transformer;
use crate::inputs::{Sequence, TextReader};
use crate::layout::{Layout, LayoutKind};
use crate::weights::Weights;
use crate::{CancelToken, ModelError, ModelSpec, Precision, Result};

use self::onnx::Engine;
pub(crate) use self::onnx::ImageEngine;
pub use self::table::TableParts;
pub(crate) use self::table::TokenTable;

/// An engine with a model's weights in it.
pub(crate) trait Backend: Send + Sync {
    /// What is known of the model that it runs.
    fn facts(&self) -> &Facts;

    /// Runs sequences; `each` turns what comes out for one into `width` values. Results lie in
    /// input order, row after row, and none depends on another.
    ///
    /// A sequence without tokens gives an empty [`Output::Tokens`] or zeros.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`], and the engine's failures.
    fn run(
        &self,
        sequences: &[Sequence],
        width: usize,
        cancel: &CancelToken,
        each: &Each<'_>,
    ) -> Result<Vec<f32>>;

    /// What the operators took since the model was loaded, the longest first; this ends measuring.
    /// There are none where the backend has none, or was not loaded to be profiled.
    ///
    /// # Errors
    /// A profile that can't be read.
    fn operators(&self) -> Result<Vec<OperatorTime>> {
        Ok(Vec::new())
    }
}

/// What all calls of an operator on tensors of some widths took together.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorTime {
    /// Its name; for products of matrices with the widths of what goes in and comes out.
    pub name: String,
    /// How often it ran.
    pub calls: u64,
    /// Seconds.
    pub seconds: f64,
    /// Multiplications and additions; 0 where it is not a product of matrices.
    pub operations: f64,
}

/// What becomes of the output for one sequence. It is called on many threads.
pub(crate) type Each<'a> = dyn Fn(&Sequence, Output<'_>) -> Vec<f32> + Sync + 'a;

/// What comes out for one sequence.
pub(crate) enum Output<'a> {
    /// A vector per token.
    Tokens {
        /// `tokens × width`.
        values: &'a [f32],
        /// Components per token.
        width: usize,
    },
    /// One row for the whole: a vector, or a cross-encoder's logits.
    Whole(&'a [f32]),
}

/// What is known of a loaded model.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Components of an output row.
    pub(crate) width: usize,
    /// Whether a row stands for a text rather than a token.
    pub(crate) pooled: bool,
    /// Whether such a row has the length 1 already, for a model whose first step after pooling is
    /// that.
    pub(crate) normalised: bool,
    /// Logits of a cross-encoder, else 0.
    pub(crate) labels: usize,
    pub(crate) architecture: String,
    pub(crate) precision: Precision,
    pub(crate) parameters: u64,
}

/// Checks what can be checked before the tokenizer is there, and gives the most tokens that the
/// weights allow in a text; `None` where there is no limit, or only running tells.
///
/// # Errors
/// A configuration that can't be built, and options that this kind of model doesn't have.
pub(crate) fn length_limit(layout: &Layout, spec: &ModelSpec, name: &str) -> Result<Option<usize>> {
    match layout.kind {
        LayoutKind::Static { .. } => table::check_options(spec, name).map(|()| None),
        LayoutKind::Encoder | LayoutKind::CrossEncoder => onnx::length_limit(layout),
        LayoutKind::Towers => Ok(None),
    }
}

/// Loads the backend that a directory is for. `profile` is a folder for what it writes of the time
/// that its operators take.
///
/// # Errors
/// Files that don't fit each other, a precision or device that is not available, the engine's
/// refusal.
pub(crate) fn load(
    layout: &Layout,
    spec: &ModelSpec,
    reader: &TextReader,
    name: &str,
    profile: Option<&Path>,
) -> Result<Box<dyn Backend>> {
    Ok(match layout.kind {
        LayoutKind::Static { .. } => Box::new(TokenTable::load(layout, reader)?),
        LayoutKind::Encoder | LayoutKind::CrossEncoder => {
            Box::new(Engine::load(layout, spec, reader, name, profile)?)
        }
        LayoutKind::Towers => return Err(ModelError::Bug("towers are loaded one by one".into())),
    })
}

/// Loads the backend of a text tower. `layout` is for messages.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_text_tower(
    transformer: Transformer,
    weights: &Weights,
    layout: &Layout,
    spec: &ModelSpec,
    reader: &TextReader,
    name: &str,
) -> Result<Box<dyn Backend>> {
    Ok(Box::new(Engine::load_tower(transformer, weights, layout, spec, reader, name)?))
}

/// Loads the backend of a text tower that is an ONNX graph; `rows` is how many tokens it knows.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_text_graph(
    path: &Path,
    rows: usize,
    layout: &Layout,
    spec: &ModelSpec,
    reader: &TextReader,
    name: &str,
) -> Result<Box<dyn Backend>> {
    Ok(Box::new(Engine::load_tower_graph(path, rows, layout, spec, reader, name)?))
}

/// Copies one sequence's result to its place.
fn place(result: &[f32], target: &mut [f32]) -> Result<()> {
    if result.len() != target.len() {
        return Err(ModelError::Bug("a text's result has a wrong width".into()));
    }
    target.copy_from_slice(result);
    Ok(())
}
