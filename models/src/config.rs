//! A transformer's `config.json`, checked: which architecture, how large, which activation, which
//! labels.
//!
//! The contents are untrusted: every number has a bound, and what this crate can't compute exactly
//! is refused with a line that names the key. Reading the file is left to the layout; whether the
//! weights agree is checked where the graph is built. Formulas and defaults are those of the Python
//! library `transformers`.

mod keys;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde_json::Value;

use self::keys::Keys;
use crate::{ModelError, Result};

/// The values of `model_type` that are understood.
pub(crate) const MODEL_TYPES: &[&str] =
    &["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "modernbert"];

/// The families of graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    Bert,
    /// RoBERTa, XLM-RoBERTa and CamemBERT: BERT with shifted positions and another head.
    Roberta,
    DistilBert,
    MpNet,
    ModernBert,
}

/// The activation between the two linear layers of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HiddenActivation {
    /// `x·Φ(x)`.
    Gelu,
    /// GELU in its tanh form.
    GeluTanh,
    Relu,
    Silu,
}

impl HiddenActivation {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" => Self::GeluTanh,
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
            Self::Relu => "relu",
            Self::Silu => "silu",
        }
    }
}

/// Which tokens a ModernBERT layer looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sight {
    /// Base of the rotary positions.
    pub(crate) rope_theta: f32,
    /// Keys further away than this are not seen; `None` sees all.
    pub(crate) window: Option<usize>,
}

/// How a classifier turns token vectors into one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassifierPooling {
    Cls,
    Mean,
}

/// What only ModernBERT has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModernBert {
    /// One per layer.
    pub(crate) sights: Vec<Sight>,
    pub(crate) norm_bias: bool,
    pub(crate) attention_bias: bool,
    pub(crate) mlp_bias: bool,
    pub(crate) classifier_bias: bool,
    pub(crate) classifier_activation: HiddenActivation,
    pub(crate) classifier_pooling: ClassifierPooling,
}

/// A checked `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TransformerConfig {
    /// The file, for messages.
    pub(crate) path: PathBuf,
    pub(crate) architecture: Architecture,
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
    /// Rows of the table of segments; 0 is none.
    pub(crate) type_vocabulary: usize,
    /// Names of the labels of a classifier, in order of their ids.
    pub(crate) labels: Vec<String>,
    /// Rows of MPNet's table of relative positions; 0 elsewhere.
    pub(crate) relative_buckets: usize,
    pub(crate) modern: Option<ModernBert>,
}

impl TransformerConfig {
    /// Checks the contents of a `config.json`; `path` is for messages.
    pub(crate) fn parse(value: &Value, path: &Path) -> Result<Self> {
        let keys = Keys { value, path };
        let model_type = keys.text("model_type")?.unwrap_or_default().to_string();
        let architecture = match model_type.as_str() {
            "bert" => Architecture::Bert,
            "roberta" | "xlm-roberta" | "camembert" => Architecture::Roberta,
            "distilbert" => Architecture::DistilBert,
            "mpnet" => Architecture::MpNet,
            "modernbert" => Architecture::ModernBert,
            other => return Err(unknown_type(&keys, other)),
        };
        keys.refuse_what_changes_the_result()?;
        let sizes = Sizes::read(&keys, architecture)?;
        let config = Self {
            path: path.to_path_buf(),
            architecture,
            model_type,
            architectures: keys.texts("architectures")?,
            hidden: sizes.hidden,
            layers: sizes.layers,
            heads: sizes.heads,
            intermediate: sizes.intermediate,
            activation: keys.activation(sizes.activation_key, "gelu")?,
            norm_epsilon: sizes.norm_epsilon,
            vocabulary: keys.count("vocab_size", sizes.vocabulary_default, 1 << 24)?,
            positions: keys.count("max_position_embeddings", sizes.positions_default, 1 << 20)?,
            position_padding: position_padding(&keys, architecture)?,
            type_vocabulary: match architecture {
                Architecture::Bert | Architecture::Roberta => {
                    keys.count("type_vocab_size", 2, 1 << 16)?
                }
                _ => 0,
            },
            labels: labels(&keys)?,
            relative_buckets: match architecture {
                Architecture::MpNet => keys.count("relative_attention_num_buckets", 32, 4096)?,
                _ => 0,
            },
            modern: match architecture {
                Architecture::ModernBert => Some(modern(&keys, sizes.layers)?),
                _ => None,
            },
        };
        config.check(&keys)?;
        Ok(config)
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

    /// Whether the graph has an input `token_type_ids`.
    ///
    /// RoBERTa has a table of segments, but its tokenizers give every token segment 0.
    pub(crate) fn uses_type_ids(&self) -> bool {
        self.architecture == Architecture::Bert && self.type_vocabulary > 1
    }

    /// Width of one attention head.
    pub(crate) fn head_width(&self) -> usize {
        self.hidden / self.heads
    }

    fn check(&self, keys: &Keys<'_>) -> Result<()> {
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(keys.bad(format!(
                "a width of {} can't be split into {} attention heads",
                self.hidden, self.heads
            )));
        }
        if self.modern.is_some() && !self.head_width().is_multiple_of(2) {
            return Err(keys.bad("rotary positions need an even width per attention head".into()));
        }
        if self.positions <= self.position_offset() {
            return Err(keys.bad(format!(
                "max_position_embeddings {} leaves no position after pad_token_id",
                self.positions
            )));
        }
        if self.architecture == Architecture::MpNet && self.relative_buckets < 32 {
            return Err(keys.bad(format!(
                "relative_attention_num_buckets is {}; MPNet needs at least 32",
                self.relative_buckets
            )));
        }
        Ok(())
    }
}

fn unknown_type(keys: &Keys<'_>, found: &str) -> ModelError {
    let what = if found.is_empty() {
        "has no model_type".to_string()
    } else {
        format!("has model_type '{found}', for which no graph can be built")
    };
    keys.bad(format!(
        "{what}; supported: {}; other models need an .onnx file",
        MODEL_TYPES.join(", ")
    ))
}

/// What each family names differently.
struct Sizes {
    hidden: usize,
    layers: usize,
    heads: usize,
    intermediate: usize,
    norm_epsilon: f32,
    activation_key: &'static str,
    vocabulary_default: usize,
    positions_default: usize,
}

impl Sizes {
    fn read(keys: &Keys<'_>, architecture: Architecture) -> Result<Self> {
        let distil = architecture == Architecture::DistilBert;
        let modern = architecture == Architecture::ModernBert;
        let either = |plain, other, default, most| {
            // DistilBERT's own names first; the library takes the usual ones as well.
            if distil && keys.value.get(other).is_some() {
                keys.count(other, default, most)
            } else {
                keys.count(plain, default, most)
            }
        };
        let layers_default = if modern {
            22
        } else if distil {
            6
        } else {
            12
        };
        Ok(Self {
            hidden: either("hidden_size", "dim", 768, 1 << 16)?,
            layers: either("num_hidden_layers", "n_layers", layers_default, 1024)?,
            heads: either("num_attention_heads", "n_heads", 12, 4096)?,
            intermediate: either(
                "intermediate_size",
                "hidden_dim",
                if modern { 1152 } else { 3072 },
                1 << 18,
            )?,
            norm_epsilon: if distil {
                1e-12
            } else if modern {
                keys.positive("norm_eps", 1e-5)?
            } else {
                keys.positive("layer_norm_eps", 1e-12)?
            },
            activation_key: if distil {
                "activation"
            } else if modern {
                "hidden_activation"
            } else {
                "hidden_act"
            },
            vocabulary_default: match keys.text("model_type")?.unwrap_or_default() {
                "mpnet" => 30527,
                "modernbert" => 50368,
                "roberta" => 50265,
                _ => 30522,
            },
            positions_default: if modern { 8192 } else { 512 },
        })
    }
}

/// The id from which RoBERTa and MPNet count positions.
fn position_padding(keys: &Keys<'_>, architecture: Architecture) -> Result<Option<usize>> {
    Ok(match architecture {
        Architecture::Roberta => Some(keys.number("pad_token_id", 1, 1 << 24)?),
        // The library has this id fixed, whatever the configuration says.
        Architecture::MpNet => Some(1),
        _ => None,
    })
}

/// Names of the labels, from `id2label`, else numbered by `num_labels`.
fn labels(keys: &Keys<'_>) -> Result<Vec<String>> {
    let most = 1 << 16;
    let numbered = |count: usize| (0..count).map(|id| format!("LABEL_{id}")).collect();
    let Some(map) = keys.value.get("id2label").and_then(Value::as_object) else {
        return Ok(numbered(keys.count("num_labels", 2, most)?));
    };
    if map.is_empty() || map.len() > most {
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

/// What only ModernBERT has.
fn modern(keys: &Keys<'_>, layers: usize) -> Result<ModernBert> {
    let global = keys.rope_theta("full_attention", "global_rope_theta", 160_000.0)?;
    let local = keys.rope_theta("sliding_attention", "local_rope_theta", 10_000.0)?;
    // The whole window; a token sees half of it on either side.
    let window = keys.number("local_attention", 128, 1 << 24)? / 2;
    if window == 0 {
        return Err(keys.bad("local_attention must be at least 2".into()));
    }
    let kinds = keys.texts("layer_types")?;
    let every = keys.count("global_attn_every_n_layers", 3, 1024)?;
    if !kinds.is_empty() && kinds.len() != layers {
        return Err(
            keys.bad(format!("layer_types has {} entries for {layers} layers", kinds.len()))
        );
    }
    let sights = (0..layers)
        .map(|layer| match kinds.get(layer).map(String::as_str) {
            Some("full_attention") => Ok(Sight { rope_theta: global, window: None }),
            Some("sliding_attention") => Ok(Sight { rope_theta: local, window: Some(window) }),
            Some(other) => Err(keys.bad(format!("layer_types has an unknown kind '{other}'"))),
            None if layer.is_multiple_of(every) => Ok(Sight { rope_theta: global, window: None }),
            None => Ok(Sight { rope_theta: local, window: Some(window) }),
        })
        .collect::<Result<_>>()?;
    Ok(ModernBert {
        sights,
        norm_bias: keys.flag("norm_bias")?,
        attention_bias: keys.flag("attention_bias")?,
        mlp_bias: keys.flag("mlp_bias")?,
        classifier_bias: keys.flag("classifier_bias")?,
        classifier_activation: keys.activation("classifier_activation", "gelu")?,
        classifier_pooling: match keys.text("classifier_pooling")?.unwrap_or("cls") {
            "cls" => ClassifierPooling::Cls,
            "mean" => ClassifierPooling::Mean,
            other => return Err(keys.bad(format!("classifier_pooling '{other}' is not known"))),
        },
    })
}
