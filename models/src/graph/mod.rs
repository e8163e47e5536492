//! The pieces that ONNX graphs of transformers are made of.
//!
//! One builder, two forms. The padded form uses only standard operators (operator set 17): it is
//! exported, runs on a GPU and is the oracle in tests. The packed form lays the tokens of all texts
//! one after another, without padding, and leaves attention (and, quantised, the linear layers and
//! the word table) to Sembla's own operators. How an architecture puts the pieces together is left
//! to `families`; nothing here runs a graph.

mod attention;
mod builder;
pub(crate) mod encoder;

pub(crate) use self::attention::{AttentionKind, attention};
pub(crate) use self::builder::{Builder, Norm};
use crate::weights::{Embedding, Linear};

/// What the graph gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// `last_hidden_state`: a vector per token.
    Embed,
    /// `pooler_output`: a vector per image.
    Pool,
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
    /// hidden]` or `[batch, labels]`. Of images, `patches` of shape `[tokens, width]` come instead
    /// of ids and positions.
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
