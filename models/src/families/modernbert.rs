//! ModernBERT: layers that normalise before each of their halves, rotary positions, windows, gated
//! feed-forward blocks.

use super::{Architecture, Family, Transformer};
use crate::config::{HiddenActivation, Keys, Size, Spelling, TransformerConfig};
use crate::graph::encoder;
use crate::graph::{AttentionKind, Builder, Form, Norm, attention};
use crate::onnx::writer::int;
use crate::{ModelError, Result};

pub(super) static FAMILY: Family = Family { model_types: &["modernbert"], read };

/// The name in the weights that everything else is found by.
const ANCHOR: &str = "embeddings.tok_embeddings.weight";

const SPELLING: Spelling = Spelling {
    layers: Size { keys: &["num_hidden_layers"], default: 22 },
    intermediate: Size { keys: &["intermediate_size"], default: 1152 },
    vocabulary: 50368,
    positions: 8192,
    activation: "hidden_activation",
    norm_epsilon: Some("norm_eps"),
    norm_epsilon_default: 1e-5,
    ..Spelling::BERT
};

/// Which tokens a layer looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sight {
    /// Base of the rotary positions.
    rope_theta: f32,
    /// Keys further away than this are not seen; `None` sees all.
    window: Option<usize>,
}

/// How a classifier turns token vectors into one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClassifierPooling {
    Cls,
    Mean,
}

#[derive(Debug)]
struct ModernBert {
    /// One per layer.
    sights: Vec<Sight>,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    classifier_bias: bool,
    classifier_activation: HiddenActivation,
    classifier_pooling: ClassifierPooling,
}

fn read(keys: &Keys<'_>) -> Result<Transformer> {
    let config = TransformerConfig::read(keys, &SPELLING)?;
    let modern = ModernBert::read(keys, config.layers)?;
    if !config.head_width().is_multiple_of(2) {
        return Err(keys.bad("rotary positions need an even width per attention head".into()));
    }
    Ok(Transformer::new(config, modern))
}

impl ModernBert {
    fn read(keys: &Keys<'_>, layers: usize) -> Result<Self> {
        Ok(Self {
            sights: sights(keys, layers)?,
            norm_bias: keys.flag("norm_bias")?,
            attention_bias: keys.flag("attention_bias")?,
            mlp_bias: keys.flag("mlp_bias")?,
            classifier_bias: keys.flag("classifier_bias")?,
            classifier_activation: keys.activation("classifier_activation", "gelu")?,
            classifier_pooling: match keys.text("classifier_pooling")?.unwrap_or("cls") {
                "cls" => ClassifierPooling::Cls,
                "mean" => ClassifierPooling::Mean,
                other => return Err(keys.bad(format!("unknown classifier_pooling '{other}'"))),
            },
        })
    }

    /// A norm of the model's width.
    fn norm(&self, b: &mut Builder<'_>, x: &str, name: &str) -> Result<String> {
        let width = b.config.hidden;
        b.norm(x, &Norm { name, width, shift: self.norm_bias })
    }

    fn layer(&self, b: &mut Builder<'_>, x: &str, name: &str, index: usize) -> Result<String> {
        let (hidden, intermediate) = (b.config.hidden, b.config.intermediate);
        let sight = self.sights[index];
        // The embeddings are normalised already.
        let input = match index {
            0 => x.to_string(),
            _ => self.norm(b, x, &format!("{name}attn_norm"))?,
        };
        let wqkv = format!("{name}attn.Wqkv");
        let qkv = b.linear(&input, &[(&wqkv, 3 * hidden)], hidden, self.attention_bias, None)?;
        let kind = AttentionKind {
            rope_theta: Some(sight.rope_theta),
            window: sight.window,
            ..AttentionKind::default()
        };
        let mixed = attention(b, &qkv, &kind)?;
        let wo = format!("{name}attn.Wo");
        let mixed = b.linear(&mixed, &[(&wo, hidden)], hidden, self.attention_bias, None)?;
        let x = b.op("Add", &[x, &mixed], Vec::new());

        let input = self.norm(b, &x, &format!("{name}mlp_norm"))?;
        let wi = format!("{name}mlp.Wi");
        let both = b.linear(&input, &[(&wi, 2 * intermediate)], hidden, self.mlp_bias, None)?;
        let [signal, gate] = b.split(&both, intermediate)?;
        let signal = b.activation(&signal, b.config.activation)?;
        let gated = b.op("Mul", &[&signal, &gate], Vec::new());
        let wo = format!("{name}mlp.Wo");
        let narrow = b.linear(&gated, &[(&wo, hidden)], intermediate, self.mlp_bias, None)?;
        Ok(b.op("Add", &[&x, &narrow], Vec::new()))
    }
}

/// What each layer sees, in the spelling with a list of layers or in that with a period.
fn sights(keys: &Keys<'_>, layers: usize) -> Result<Vec<Sight>> {
    let global = keys.rope_theta("full_attention", "global_rope_theta", 160_000.0)?;
    let local = keys.rope_theta("sliding_attention", "local_rope_theta", 10_000.0)?;
    // The whole window; a token sees half of it on either side.
    let window = keys.number("local_attention", 128, 1 << 24)? / 2;
    if window == 0 {
        return Err(keys.bad("local_attention must be >= 2".into()));
    }
    let kinds = keys.texts("layer_types")?;
    let every = keys.count("global_attn_every_n_layers", 3, 1024)?;
    if !kinds.is_empty() && kinds.len() != layers {
        return Err(
            keys.bad(format!("layer_types has {} entries for {layers} layers", kinds.len()))
        );
    }
    let global = Sight { rope_theta: global, window: None };
    let local = Sight { rope_theta: local, window: Some(window) };
    (0..layers)
        .map(|layer| match kinds.get(layer).map(String::as_str) {
            Some("full_attention") => Ok(global),
            Some("sliding_attention") => Ok(local),
            Some(other) => Err(keys.bad(format!("layer_types has an unknown kind '{other}'"))),
            None if layer.is_multiple_of(every) => Ok(global),
            None => Ok(local),
        })
        .collect()
}

impl Architecture for ModernBert {
    fn body(&self, b: &mut Builder<'_>) -> Result<String> {
        let prefix = encoder::prefix(b.weights, ANCHOR)?;
        let words = b.words(&format!("{prefix}{ANCHOR}"), b.config.hidden)?;
        let mut x = self.norm(b, &words, &format!("{prefix}embeddings.norm"))?;
        for layer in 0..self.sights.len() {
            x = self.layer(b, &x, &format!("{prefix}layers.{layer}."), layer)?;
        }
        self.norm(b, &x, &format!("{prefix}final_norm"))
    }

    fn head(&self, b: &mut Builder<'_>, x: &str) -> Result<String> {
        let outer = encoder::head_prefix(b.weights, ANCHOR, "model.")?;
        let (hidden, labels) = (b.config.hidden, b.config.labels.len());
        let pooled = match self.classifier_pooling {
            ClassifierPooling::Cls => b.first_tokens(x)?,
            ClassifierPooling::Mean => mean(b, x)?,
        };
        let dense = format!("{outer}head.dense");
        let activation = Some(self.classifier_activation);
        let has_bias = self.classifier_bias;
        let wide = b.float_linear(&pooled, &[(&dense, hidden)], hidden, has_bias, activation)?;
        let wide = self.norm(b, &wide, &format!("{outer}head.norm"))?;
        let scores = format!("{outer}classifier");
        b.float_linear(&wide, &[(&scores, labels)], hidden, true, None)
    }
}

/// The mean of each text's token vectors, `[batch, hidden]`.
fn mean(b: &mut Builder<'_>, x: &str) -> Result<String> {
    let last = b.ints(&[-1])?;
    let (sum, count) = match b.form {
        Form::Fused(_) => return Err(ModelError::Bug("ModernBERT has no fused graph".into())),
        Form::Padded => {
            let mask = b.op("Cast", &["attention_mask"], vec![int("to", 1)]);
            let column = b.op("Unsqueeze", &[&mask, &last], Vec::new());
            let counted = b.op("Mul", &[x, &column], Vec::new());
            let axis = b.ints(&[1])?;
            let sum = b.op("ReduceSum", &[&counted, &axis], vec![int("keepdims", 0)]);
            (sum, b.op("ReduceSum", &[&mask, &axis], vec![int("keepdims", 1)]))
        }
        Form::Packed => {
            let members = membership(b)?;
            let sum = b.op("MatMul", &[&members, x], Vec::new());
            (sum, b.op("ReduceSum", &[&members, &last], vec![int("keepdims", 1)]))
        }
    };
    Ok(b.op("Div", &[&sum, &count], Vec::new()))
}

/// 1 where a token belongs to a text, else 0: `[batch, tokens]`.
fn membership(b: &mut Builder<'_>) -> Result<String> {
    let shape = b.op("Shape", &["input_ids"], Vec::new());
    let (zero, one) = (b.int(0)?, b.int(1)?);
    let flat = b.ints(&[])?;
    let count = b.op("Reshape", &[&shape, &flat], Vec::new());
    let places = b.op("Range", &[&zero, &count, &one], Vec::new());
    let (from, to) = (b.ints(&[1])?, b.ints(&[i64::MAX])?);
    let starts = b.starts()?;
    let ends = b.op("Slice", &["offsets", &from, &to], Vec::new());
    let axis = b.ints(&[1])?;
    let starts = b.op("Unsqueeze", &[&starts, &axis], Vec::new());
    let ends = b.op("Unsqueeze", &[&ends, &axis], Vec::new());
    let after = b.op("GreaterOrEqual", &[&places, &starts], Vec::new());
    let before = b.op("Less", &[&places, &ends], Vec::new());
    let inside = b.op("And", &[&after, &before], Vec::new());
    Ok(b.op("Cast", &[&inside], vec![int("to", 1)]))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    /// `base` with some keys replaced.
    fn with(mut base: Value, more: Value) -> Value {
        let (Some(keys), Value::Object(more)) = (base.as_object_mut(), more) else {
            panic!("two objects")
        };
        keys.extend(more);
        base
    }

    fn base() -> Value {
        json!({"model_type": "modernbert", "num_hidden_layers": 4, "local_attention": 128})
    }

    fn sights_of(value: &Value) -> Vec<Sight> {
        let keys = Keys { value, path: Path::new("model/config.json") };
        ModernBert::read(&keys, 4).expect("sound").sights
    }

    #[test]
    fn layers_see_all_or_their_window_in_both_spellings() {
        let old = json!({
            "global_attn_every_n_layers": 2, "global_rope_theta": 80000.0, "local_rope_theta": 500.0,
        });
        let new = json!({
            "layer_types":
                ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_theta": 80000.0, "rope_type": "default"},
                "sliding_attention": {"rope_theta": 500.0, "rope_type": "default"},
            },
        });
        let global = Sight { rope_theta: 80000.0, window: None };
        let local = Sight { rope_theta: 500.0, window: Some(64) };
        for spelling in [old, new] {
            assert_eq!(sights_of(&with(base(), spelling)), [global, local, global, local]);
        }
        let sights = sights_of(&base());
        assert_eq!(sights[3], Sight { rope_theta: 160_000.0, window: None });
        assert_eq!(sights[2], Sight { rope_theta: 10_000.0, window: Some(64) });
    }

    #[test]
    fn what_cannot_be_computed_is_named() {
        for (more, why) in [
            (json!({"layer_types": ["full_attention"]}), "1 entries for 4 layers"),
            (json!({"layer_types": ["full_attention", "x", "x", "x"]}), "unknown kind 'x'"),
            (json!({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}), "'yarn'"),
            (json!({"rope_scaling": {"type": "linear"}}), "rope_scaling"),
            (json!({"local_attention": 1}), "local_attention"),
            (json!({"classifier_pooling": "max"}), "'max'"),
            (json!({"hidden_size": 36, "num_attention_heads": 12}), "even"),
        ] {
            let value = with(base(), more);
            let parsed = Transformer::parse(&value, Path::new("model/config.json"));
            let message = parsed.expect_err(why).to_string();
            assert!(message.contains(why), "{message}");
        }
    }
}
