//! Where the parts of a transformer are: which tensor is what, and the sizes and constants that
//! running it needs.
//!
//! A graph is one reading of it; training is another, and both get the names from the family. What
//! is done with the parts is left to them.

pub use crate::config::HiddenActivation;
use crate::config::TransformerConfig;
pub use crate::graph::encoder::{HeadActivation, LayerNames};

/// The parts of an encoder whose layers normalise after each of their halves, as BERT's do.
///
/// Names of linear layers and norms come without `.weight` and `.bias`; names of tables are whole.
#[derive(Clone, Debug)]
pub struct Anatomy {
    /// Width of a token's vector.
    pub hidden: usize,
    /// Attention heads of each layer.
    pub heads: usize,
    /// Width inside the feed-forward block.
    pub intermediate: usize,
    /// What lies between the two linear layers of that block.
    pub activation: HiddenActivation,
    /// What is added to a variance before its root is taken.
    pub epsilon: f32,
    /// Rows of the table of words.
    pub vocabulary: usize,
    /// The table of words.
    pub words: String,
    /// Rows of the table of positions.
    pub positions_rows: usize,
    /// The table of positions.
    pub positions: String,
    /// The table of segments, where the model has one.
    pub segments: Option<SegmentTable>,
    /// The norm of the sum of those.
    pub embedding_norm: String,
    /// The layers, first to last.
    pub layers: Vec<LayerNames>,
    /// What the names of each layer's tensors begin with.
    pub layer_prefixes: Vec<String>,
    /// What is added to the scores of attention by distance, where the model has that.
    pub relative: Option<RelativePositions>,
    /// The head of a classifier.
    pub head: HeadNames,
    /// Scores of a classifier.
    pub labels: usize,
    /// The id of padding, where tokens are numbered after it as RoBERTa does.
    pub position_padding: Option<usize>,
}

/// A table of segments.
#[derive(Clone, Debug)]
pub struct SegmentTable {
    /// The table.
    pub name: String,
    /// Its rows.
    pub rows: usize,
    /// Whether each token has its own segment; else all have the first.
    pub given: bool,
}

/// A table of what is added to the scores of attention.
#[derive(Clone, Debug)]
pub struct RelativePositions {
    /// The table, with a column per head.
    pub table: String,
    /// Its rows.
    pub rows: usize,
    /// The row for a key that comes so many tokens after its query.
    pub row: fn(i64) -> usize,
}

/// The head of a classifier: a dense layer on the first token, an activation, and the scores.
#[derive(Clone, Debug)]
pub struct HeadNames {
    /// The dense layer.
    pub dense: String,
    /// What it goes through.
    pub activation: HeadActivation,
    /// The layer that gives the scores.
    pub scores: String,
}

impl Anatomy {
    /// What all families have, with BERT's names for what comes before the layers. `prefix` ends
    /// before `embeddings`.
    pub(crate) fn new(
        config: &TransformerConfig,
        prefix: &str,
        layers: impl Fn(&str) -> LayerNames,
        stack: &str,
        head: HeadNames,
    ) -> Self {
        let layer_prefixes: Vec<String> =
            (0..config.layers).map(|layer| format!("{prefix}{stack}.{layer}.")).collect();
        Self {
            hidden: config.hidden,
            heads: config.heads,
            intermediate: config.intermediate,
            activation: config.activation,
            epsilon: config.norm_epsilon,
            vocabulary: config.vocabulary,
            words: format!("{prefix}embeddings.word_embeddings.weight"),
            positions_rows: config.positions,
            positions: format!("{prefix}embeddings.position_embeddings.weight"),
            segments: None,
            embedding_norm: format!("{prefix}embeddings.LayerNorm"),
            layers: layer_prefixes.iter().map(|prefix| layers(prefix)).collect(),
            layer_prefixes,
            relative: None,
            head,
            labels: config.labels.len(),
            position_padding: config.position_padding,
        }
    }

    /// The same with a table of segments of `rows` rows.
    pub(crate) fn with_segments(mut self, prefix: &str, rows: usize, given: bool) -> Self {
        let name = format!("{prefix}embeddings.token_type_embeddings.weight");
        self.segments = Some(SegmentTable { name, rows, given });
        self
    }
}
