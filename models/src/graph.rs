//! ONNX graphs of transformers, built from a checked configuration and the weights.
//!
//! One builder, two forms. The padded form uses only standard operators (operator set 17): it is
//! exported, runs on a GPU and is the oracle in tests. The packed form lays the tokens of all texts
//! one after another, without padding, and leaves attention (and, quantised, the linear layers and
//! the word table) to Sembla's own operators of the domain [`DOMAIN`]. Each architecture has its
//! file. Nothing here runs a graph.

mod attention;
mod bert;
mod builder;
mod distilbert;
mod encoder;
mod modernbert;
mod mpnet;
mod roberta;
#[cfg(test)]
mod tests;

use self::builder::Builder;
use crate::Result;
use crate::config::{Architecture, TransformerConfig};
use crate::weights::{Embedding, Linear, Weights};

/// The domain of Sembla's own operators.
pub(crate) const DOMAIN: &str = "ai.sembla";

/// What the graph gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// `last_hidden_state`: a vector per token.
    Embed,
    /// `logits`: a score per label and text.
    Classify,
}

/// How the tokens of a batch are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `input_ids` and `attention_mask` (and `token_type_ids` where used) of shape `[batch,
    /// tokens]`; outputs `[batch, tokens, hidden]` or `[batch, labels]`.
    Padded,
    /// `input_ids` and `position_ids` (and `token_type_ids` where used) of shape `[tokens]`, and
    /// `offsets` `[batch + 1]`: the start of each text, and the end of the last. Outputs `[tokens,
    /// hidden]` or `[batch, labels]`.
    Packed,
}

/// A graph, and the weights that its operators hold outside of it.
#[derive(Debug)]
pub(crate) struct BuiltGraph {
    /// The ONNX model, complete in itself.
    pub(crate) bytes: Vec<u8>,
    /// The layers that `QLinear` nodes name by their `index`; empty unless quantised.
    pub(crate) linears: Vec<Linear>,
    /// The tables that `QEmbedding` nodes name by their `index`; empty unless quantised.
    pub(crate) embeddings: Vec<Embedding>,
    /// Width of a token's vector.
    pub(crate) hidden: usize,
    /// Labels of a classifier; 0 for [`Task::Embed`].
    pub(crate) labels: usize,
}

/// Builds a graph. Weights that are stored in 8 bits become floats unless `quantised`.
///
/// # Errors
/// [`ModelError::BadModelFile`](crate::ModelError::BadModelFile) when a tensor is missing or has
/// another type or shape than the configuration asks for, and
/// [`ModelError::Unsupported`](crate::ModelError::Unsupported) when the graph would be larger than
/// 2 GiB.
pub(crate) fn build(
    config: &TransformerConfig,
    weights: &Weights,
    task: Task,
    form: Form,
    quantised: bool,
) -> Result<BuiltGraph> {
    let mut builder = Builder::new(config, weights, form, quantised, false)?;
    let output = assemble(&mut builder, task)?;
    builder.finish(&output, task)
}

/// The names of the tensors that a quantised graph takes in 8 bits.
///
/// # Errors
/// The errors of [`build`]. No weights are read.
pub(crate) fn quantisable(config: &TransformerConfig, weights: &Weights) -> Result<Vec<String>> {
    let mut builder = Builder::new(config, weights, Form::Packed, true, true)?;
    assemble(&mut builder, Task::Embed)?;
    Ok(builder.into_quantisable())
}

/// Writes all nodes and gives the name of the output.
fn assemble(b: &mut Builder<'_>, task: Task) -> Result<String> {
    let architecture = b.config.architecture;
    let x = match architecture {
        Architecture::Bert => bert::body(b),
        Architecture::Roberta => roberta::body(b),
        Architecture::DistilBert => distilbert::body(b),
        Architecture::MpNet => mpnet::body(b),
        Architecture::ModernBert => modernbert::body(b),
    }?;
    match (task, architecture) {
        (Task::Embed, _) => Ok(x),
        (Task::Classify, Architecture::Bert) => bert::head(b, &x),
        (Task::Classify, Architecture::Roberta) => roberta::head(b, &x),
        (Task::Classify, Architecture::DistilBert) => distilbert::head(b, &x),
        (Task::Classify, Architecture::MpNet) => mpnet::head(b, &x),
        (Task::Classify, Architecture::ModernBert) => modernbert::head(b, &x),
    }
}
