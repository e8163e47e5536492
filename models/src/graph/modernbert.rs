//! ModernBERT: layers that normalise before each of their halves, rotary positions, windows, gated
//! feed-forward blocks.

use super::Form;
use super::attention::{Attention, attention};
use super::builder::Builder;
use super::encoder;
use crate::config::{ClassifierPooling, ModernBert, Sight};
use crate::onnx::writer::int;
use crate::{ModelError, Result};

const ANCHOR: &str = "embeddings.tok_embeddings.weight";

/// The vectors of all tokens.
pub(super) fn body(b: &mut Builder<'_>) -> Result<String> {
    let prefix = encoder::prefix(b, ANCHOR)?;
    let modern = modern(b)?;
    let words = b.words(&format!("{prefix}{ANCHOR}"))?;
    let mut x = b.norm(&words, &format!("{prefix}embeddings.norm"), modern.norm_bias)?;
    for (index, sight) in modern.sights.iter().enumerate() {
        x = layer(b, &x, &format!("{prefix}layers.{index}."), index == 0, modern, *sight)?;
    }
    b.norm(&x, &format!("{prefix}final_norm"), modern.norm_bias)
}

fn layer(
    b: &mut Builder<'_>,
    x: &str,
    name: &str,
    first: bool,
    modern: &ModernBert,
    sight: Sight,
) -> Result<String> {
    let (hidden, intermediate) = (b.config.hidden, b.config.intermediate);
    // The embeddings are normalised already.
    let input = if first {
        x.to_string()
    } else {
        b.norm(x, &format!("{name}attn_norm"), modern.norm_bias)?
    };
    let wqkv = format!("{name}attn.Wqkv");
    let qkv = b.linear(&input, &[(&wqkv, 3 * hidden)], hidden, modern.attention_bias, None)?;
    let kind = Attention { rope_theta: Some(sight.rope_theta), window: sight.window, bias: None };
    let mixed = attention(b, &qkv, &kind)?;
    let wo = format!("{name}attn.Wo");
    let mixed = b.linear(&mixed, &[(&wo, hidden)], hidden, modern.attention_bias, None)?;
    let x = b.op("Add", &[x, &mixed], Vec::new());

    let input = b.norm(&x, &format!("{name}mlp_norm"), modern.norm_bias)?;
    let wi = format!("{name}mlp.Wi");
    let both = b.linear(&input, &[(&wi, 2 * intermediate)], hidden, modern.mlp_bias, None)?;
    let [signal, gate] = b.split(&both, intermediate)?;
    let signal = b.activation(&signal, b.config.activation)?;
    let gated = b.op("Mul", &[&signal, &gate], Vec::new());
    let wo = format!("{name}mlp.Wo");
    let narrow = b.linear(&gated, &[(&wo, hidden)], intermediate, modern.mlp_bias, None)?;
    Ok(b.op("Add", &[&x, &narrow], Vec::new()))
}

/// The scores of each text.
pub(super) fn head(b: &mut Builder<'_>, x: &str) -> Result<String> {
    let outer = encoder::head_prefix(b, ANCHOR, "model.")?;
    let modern = modern(b)?;
    let (hidden, labels) = (b.config.hidden, b.config.labels.len());
    let pooled = match modern.classifier_pooling {
        ClassifierPooling::Cls => b.first_tokens(x)?,
        ClassifierPooling::Mean => mean(b, x)?,
    };
    let dense = format!("{outer}head.dense");
    let activation = Some(modern.classifier_activation);
    let wide =
        b.float_linear(&pooled, &[(&dense, hidden)], hidden, modern.classifier_bias, activation)?;
    let wide = b.norm(&wide, &format!("{outer}head.norm"), modern.norm_bias)?;
    let scores = format!("{outer}classifier");
    b.float_linear(&wide, &[(&scores, labels)], hidden, true, None)
}

/// The mean of each text's token vectors, `[batch, hidden]`.
fn mean(b: &mut Builder<'_>, x: &str) -> Result<String> {
    let last = b.ints(&[-1])?;
    let (sum, count) = match b.form {
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

fn modern<'a>(b: &Builder<'a>) -> Result<&'a ModernBert> {
    let config = b.config;
    config.modern.as_ref().ok_or_else(|| ModelError::Bug("no settings of ModernBERT".into()))
}
