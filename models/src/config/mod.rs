//! What every transformer's `config.json` says: sizes, activation, labels, how positions are
//! numbered.
//!
//! The contents are untrusted: every number has a bound, and what this crate can't compute exactly
//! is rejected with a line that names the key. Families differ in how they spell this and in what
//! they have besides; both are theirs to say (see `families`). Reading the file is left to the
//! layout; whether the weights agree is checked where the graph is built. Formulas and defaults are
//! those of the Python library `transformers`.

mod keys;

use std::path::PathBuf;

use serde_json::Value;

pub(crate) use self::keys::Keys;
use crate::{ModelError, Result};

/// Labels that a classifier may have.
const LABELS_MAX: usize = 1 << 16;

/// The activation between the two linear layers of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenActivation {
    /// `x·Φ(x)`.
    Gelu,
    /// GELU in its tanh form.
    GeluTanh,
    /// `x·σ(1.702·x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + e^-x)`.
    Silu,
}

impl HiddenActivation {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" => Self::GeluTanh,
            "quick_gelu" => Self::QuickGelu,
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            _ => return None,
        })
    }

    /// The spelling that Sembla's own operators take.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::QuickGelu => "quick_gelu",
            Self::Relu => "relu",
            Self::Silu => "silu",
        }
    }
}

/// A size: the keys that may hold it, the first that is there wins, and the default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) keys: &'static [&'static str],
    pub(crate) default: usize,
}

/// How a family spells what all have, and what holds where a key is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelling {
    pub(crate) hidden: Size,
    pub(crate) layers: Size,
    pub(crate) heads: Size,
    pub(crate) intermediate: Size,
    /// Default of `vocab_size`.
    pub(crate) vocabulary: usize,
    /// Default of `max_position_embeddings`.
    pub(crate) positions: usize,
    /// Key of the activation between the two linear layers of a block.
    pub(crate) activation: &'static str,
    /// That activation where the key is missing.
    pub(crate) activation_default: &'static str,
    /// Key of what is added to a variance, where there is one.
    pub(crate) norm_epsilon: Option<&'static str>,
    /// What is added to a variance where no key says so.
    pub(crate) norm_epsilon_default: f32,
}

impl Spelling {
    /// BERT's, which most families share.
    pub(crate) const BERT: Self = Self {
        hidden: Size { keys: &["hidden_size"], default: 768 },
        layers: Size { keys: &["num_hidden_layers"], default: 12 },
        heads: Size { keys: &["num_attention_heads"], default: 12 },
        intermediate: Size { keys: &["intermediate_size"], default: 3072 },
        vocabulary: 30522,
        positions: 512,
        activation: "hidden_act",
        activation_default: "gelu",
        norm_epsilon: Some("layer_norm_eps"),
        norm_epsilon_default: 1e-12,
    };
}

/// The checked part of a `config.json` that all families have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TransformerConfig {
    /// The file, for messages.
    pub(crate) path: PathBuf,
    /// `model_type` as it is written.
    pub(crate) model_type: String,
    /// `architectures` as written, such as `BertForSequenceClassification`.
    pub(crate) architectures: Vec<String>,
    /// Width of a token's vector.
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Width inside the feed-forward block.
    pub(crate) intermediate: usize,
    pub(crate) activation: HiddenActivation,
    pub(crate) norm_epsilon: f32,
    /// Rows of the word table.
    pub(crate) vocabulary: usize,
    /// Rows of the position table (`max_position_embeddings`).
    pub(crate) positions: usize,
    /// The id whose tokens don't count as positions; `None` counts every token from 0.
    pub(crate) position_padding: Option<usize>,
    /// Names of the labels of a classifier, in order of their ids.
    pub(crate) labels: Vec<String>,
    /// Components of a patch, for a transformer that reads images; `None` reads token ids.
    pub(crate) patch_width: Option<usize>,
}

impl TransformerConfig {
    /// Checks what all families have.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] that names the key.
    pub(crate) fn read(keys: &Keys<'_>, spelling: &Spelling) -> Result<Self> {
        keys.refuse_what_changes_the_result()?;
        let config = Self {
            path: keys.path.to_path_buf(),
            model_type: keys.text("model_type")?.unwrap_or_default().to_string(),
            architectures: keys.texts("architectures")?,
            hidden: keys.size(spelling.hidden, 1 << 16)?,
            layers: keys.size(spelling.layers, 1024)?,
            heads: keys.size(spelling.heads, 4096)?,
            intermediate: keys.size(spelling.intermediate, 1 << 18)?,
            activation: keys.activation(spelling.activation, spelling.activation_default)?,
            norm_epsilon: match spelling.norm_epsilon {
                Some(key) => keys.positive(key, spelling.norm_epsilon_default)?,
                None => spelling.norm_epsilon_default,
            },
            vocabulary: keys.count("vocab_size", spelling.vocabulary, 1 << 24)?,
            positions: keys.count("max_position_embeddings", spelling.positions, 1 << 20)?,
            position_padding: None,
            labels: labels(keys)?,
            patch_width: None,
        };
        if !config.hidden.is_multiple_of(config.heads) {
            return Err(keys.bad(format!(
                "a width of {} can't be split into {} attention heads",
                config.hidden, config.heads
            )));
        }
        Ok(config)
    }

    /// The same, with positions that are numbered after the padding id, as RoBERTa does.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] when that leaves no position.
    pub(crate) fn with_positions_after(mut self, padding: usize) -> Result<Self> {
        self.position_padding = Some(padding);
        if self.positions > self.position_offset() {
            return Ok(self);
        }
        let problem = format!(
            "max_position_embeddings {} leaves no position after pad_token_id",
            self.positions
        );
        Err(ModelError::file(self.path, problem))
    }

    /// The longest input in tokens, special tokens included.
    pub(crate) fn max_tokens(&self) -> usize {
        self.positions - self.position_offset()
    }

    /// The position of the first token.
    pub(crate) fn position_offset(&self) -> usize {
        self.position_padding.map_or(0, |padding| padding + 1)
    }

    /// Appends the position of each token of one text, as the packed graph takes them.
    ///
    /// RoBERTa and MPNet number only tokens that are not padding; a text can hold the padding
    /// token's own spelling.
    pub(crate) fn push_positions(&self, ids: &[u32], positions: &mut Vec<i64>) {
        let Some(padding) = self.position_padding else {
            positions.extend(0..ids.len() as i64);
            return;
        };
        let mut seen = 0;
        positions.extend(ids.iter().map(|id| {
            let counts = i64::from(*id as usize != padding);
            seen += counts;
            seen * counts + padding as i64
        }));
    }

    /// Width of one attention head.
    pub(crate) fn head_width(&self) -> usize {
        self.hidden / self.heads
    }
}

/// Names of the labels, from `id2label`, else numbered by `num_labels`.
fn labels(keys: &Keys<'_>) -> Result<Vec<String>> {
    let numbered = |count: usize| (0..count).map(|id| format!("LABEL_{id}")).collect();
    let Some(map) = keys.value.get("id2label").and_then(Value::as_object) else {
        return Ok(numbered(keys.count("num_labels", 2, LABELS_MAX)?));
    };
    if map.is_empty() || map.len() > LABELS_MAX {
        return Err(keys.bad(format!("id2label has {} labels", map.len())));
    }
    (0..map.len())
        .map(|id| {
            map.get(&id.to_string()).and_then(Value::as_str).map(str::to_string).ok_or_else(|| {
                keys.bad(format!("id2label has {} labels, but none with the id {id}", map.len()))
            })
        })
        .collect()
}
