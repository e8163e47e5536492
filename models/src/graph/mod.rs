//! The pieces that ONNX graphs of transformers are made of.
//!
//! One builder, three forms. The padded form uses only standard operators (operator set 17): it is
//! exported, and is the oracle in tests. The packed form lays the tokens of all texts one after
//! another, without padding, and leaves attention (and, quantised, the linear layers and the word
//! table) to Sembla's own operators: it runs on a processor. The fused form is made of ONNX
//! Runtime's own operators, in 32 or 16 bits: it runs on a GPU. How an architecture puts the pieces
//! together is left to `families`; nothing here runs a graph.

mod activation;
mod attention;
mod builder;
pub(crate) mod encoder;
mod fused;

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

/// How the tokens of a batch are laid out, and which operators run them.
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
    /// All inputs of 32-bit whole numbers. `input_ids` and `position_ids` (and `token_type_ids`
    /// where used) of shape `[1, tokens]` or `[texts, longest]`, with the inputs of the layout and
    /// those of pooling. Outputs of 32-bit floats: `[tokens or texts·longest, hidden]`, `[texts,
    /// modes·hidden]` or `[texts, labels]`.
    Fused(Fused),
}

/// A fused graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fused {
    pub(crate) layout: Layout,
    /// Whether weights and activations have 16 bits.
    pub(crate) half: bool,
    /// What becomes of the token vectors of [`Task::Embed`].
    pub(crate) pooling: GraphPooling,
    /// Whether pooled vectors are divided by their length.
    pub(crate) normalise: bool,
}

/// How the texts of a fused graph lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One after another. `cumulative_sequence_length` `[texts + 1]`: the start of each, and the
    /// end of the last. `token_offset` `[texts, longest]`: where tokens would lie if texts were
    /// padded, then where padding would.
    Packed,
    /// Padded to the longest. `attention_mask` `[texts, longest]`: 1 for a token, 0 for padding.
    Padded,
}

/// What a fused graph makes of token vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GraphPooling {
    /// They are its output.
    None,
    /// The row of each text that the input `picked` `[texts]` names.
    Picked,
    /// Sums with the weights `pool_weights` `[texts, modes, longest]`. In the packed layout
    /// `token_rows` `[texts, longest]` says which row each place of a text is, and any of a place
    /// that the text does not have.
    Weighted {
        /// Sums per text, one after another in its vector.
        modes: usize,
    },
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
