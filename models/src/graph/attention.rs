//! Self-attention from queries, keys and values that lie side by side: one node of Sembla's own in
//! the packed form, standard operators in the padded one. The fused form has its own.

use super::builder::{Builder, Part};
use super::{Form, fused};
use crate::onnx::DOMAIN;
use crate::onnx::writer::{float, int, ints};
use crate::{ModelError, Result};

/// What is added to the score of a key that isn't seen. Not infinite, so that a row of padding
/// stays finite, and small enough for 16-bit floats.
const UNSEEN: f32 = -65504.0;

/// What an attention layer does beyond the plain product.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttentionKind {
    /// Base of rotary positions.
    pub(crate) rope_theta: Option<f32>,
    /// Keys further away than this are not seen.
    pub(crate) window: Option<usize>,
    /// Whether keys after the query are not seen.
    pub(crate) causal: bool,
    /// A constant `[heads, 2·positions - 1]`: what is added to the score of the key at distance `d`
    /// from its query, at column `positions - 1 + d`.
    pub(crate) bias: Option<String>,
}

/// The attention of `x` (`[…, hidden]`) with what makes queries, keys and values: `[…, hidden]`.
pub(crate) fn self_attention(
    b: &mut Builder<'_>,
    x: &str,
    parts: &[Part<'_>; 3],
    kind: &AttentionKind,
) -> Result<String> {
    if let Form::Fused(form) = b.form {
        return fused::attention(b, form.layout, x, parts, kind);
    }
    let qkv = b.linear(x, parts, b.config.hidden, true, None)?;
    attention(b, &qkv, kind)
}

/// The attention of `qkv` (`[…, 3·hidden]`): `[…, hidden]`.
pub(crate) fn attention(b: &mut Builder<'_>, qkv: &str, kind: &AttentionKind) -> Result<String> {
    let scale = 1.0 / (b.config.head_width() as f32).sqrt();
    match b.form {
        Form::Packed => {
            let attributes = vec![
                int("heads", b.config.heads as i64),
                float("scale", scale),
                float("rope_theta", kind.rope_theta.unwrap_or(0.0)),
                int("window", kind.window.unwrap_or(0) as i64),
                int("causal", i64::from(kind.causal)),
            ];
            let mut inputs = vec![qkv, "offsets"];
            inputs.extend(kind.bias.as_deref());
            Ok(b.op_of((DOMAIN, "Attention"), &inputs, attributes))
        }
        Form::Padded => padded(b, qkv, kind, scale),
        Form::Fused(_) => Err(ModelError::Bug("a fused graph takes queries and keys apart".into())),
    }
}

fn padded(b: &mut Builder<'_>, qkv: &str, kind: &AttentionKind, scale: f32) -> Result<String> {
    let [query, key, value] = b.split(qkv, b.config.hidden)?;
    let mut query = heads_first(b, &query)?;
    let mut key = heads_first(b, &key)?;
    let value = heads_first(b, &value)?;
    if let Some(theta) = kind.rope_theta {
        query = rotate(b, &query, theta)?;
        key = rotate(b, &key, theta)?;
    }
    let key = b.op("Transpose", &[&key], vec![ints("perm", &[0, 1, 3, 2])]);
    let scores = b.op("MatMul", &[&query, &key], Vec::new());
    let scale = b.float(scale)?;
    let mut scores = b.op("Mul", &[&scores, &scale], Vec::new());
    if let Some(table) = &kind.bias {
        let bias = relative_bias(b, table)?;
        scores = b.op("Add", &[&scores, &bias], Vec::new());
    }
    let mask = mask(b, kind)?;
    let scores = b.op("Add", &[&scores, &mask], Vec::new());
    let shares = b.op("Softmax", &[&scores], vec![int("axis", -1)]);
    let mixed = b.op("MatMul", &[&shares, &value], Vec::new());
    let mixed = b.op("Transpose", &[&mixed], vec![ints("perm", &[0, 2, 1, 3])]);
    let flat = b.ints(&[0, 0, b.config.hidden as i64])?;
    Ok(b.op("Reshape", &[&mixed, &flat], Vec::new()))
}

/// `[batch, tokens, hidden]` to `[batch, heads, tokens, width]`.
fn heads_first(b: &mut Builder<'_>, x: &str) -> Result<String> {
    let shape = b.ints(&[0, 0, b.config.heads as i64, b.config.head_width() as i64])?;
    let x = b.op("Reshape", &[x, &shape], Vec::new());
    Ok(b.op("Transpose", &[&x], vec![ints("perm", &[0, 2, 1, 3])]))
}

/// Number of tokens in the longest text, a scalar.
fn length(b: &mut Builder<'_>) -> Result<String> {
    b.shared("length", |b| {
        let places = match b.form {
            Form::Fused(form) => fused::places_input(form.layout),
            Form::Padded | Form::Packed => "input_ids",
        };
        let shape = b.op("Shape", &[places], Vec::new());
        let one = b.int(1)?;
        Ok(b.op("Gather", &[&shape, &one], Vec::new()))
    })
}

/// `0, 1, …, tokens - 1`.
pub(super) fn places(b: &mut Builder<'_>) -> Result<String> {
    b.shared("places", |b| {
        let (zero, one, length) = (b.int(0)?, b.int(1)?, length(b)?);
        Ok(b.op("Range", &[&zero, &length, &one], Vec::new()))
    })
}

/// How far each key (column) is after each query (row), `[tokens, tokens]`.
fn distances(b: &mut Builder<'_>) -> Result<String> {
    b.shared("distances", |b| {
        let places = places(b)?;
        let (first, second) = (b.ints(&[0])?, b.ints(&[1])?);
        let keys = b.op("Unsqueeze", &[&places, &first], Vec::new());
        let queries = b.op("Unsqueeze", &[&places, &second], Vec::new());
        Ok(b.op("Sub", &[&keys, &queries], Vec::new()))
    })
}

/// What is added to the scores so that padding, keys outside the window, and later ones where those
/// don't count, are not seen.
fn mask(b: &mut Builder<'_>, kind: &AttentionKind) -> Result<String> {
    b.shared(&format!("mask {:?} {}", kind.window, kind.causal), |b| {
        let zero = b.int(0)?;
        let seen = b.op("Greater", &["attention_mask", &zero], Vec::new());
        let axes = b.ints(&[1, 2])?;
        let mut seen = b.op("Unsqueeze", &[&seen, &axes], Vec::new());
        if let Some(window) = kind.window {
            let distances = distances(b)?;
            let distances = b.op("Abs", &[&distances], Vec::new());
            let window = b.int(window as i64)?;
            let near = b.op("LessOrEqual", &[&distances, &window], Vec::new());
            seen = b.op("And", &[&seen, &near], Vec::new());
        }
        if kind.causal {
            let (distances, here) = (distances(b)?, b.int(0)?);
            let before = b.op("LessOrEqual", &[&distances, &here], Vec::new());
            seen = b.op("And", &[&seen, &before], Vec::new());
        }
        let (nothing, unseen) = (b.float(0.0)?, b.float(UNSEEN)?);
        Ok(b.op("Where", &[&seen, &nothing, &unseen], Vec::new()))
    })
}

/// The bias of every query and key, `[heads, tokens, tokens]`.
fn relative_bias(b: &mut Builder<'_>, table: &str) -> Result<String> {
    b.shared(&format!("bias {table}"), |b| {
        let distances = distances(b)?;
        let middle = b.int(b.config.max_tokens() as i64 - 1)?;
        let columns = b.op("Add", &[&distances, &middle], Vec::new());
        Ok(b.op("Gather", &[table, &columns], vec![int("axis", 1)]))
    })
}

/// The same as attention operators of ONNX Runtime take it, `[1, heads, tokens, tokens]`.
pub(super) fn distances_bias(b: &mut Builder<'_>, table: &str) -> Result<String> {
    b.shared(&format!("bias of all texts {table}"), |b| {
        let bias = relative_bias(b, table)?;
        let axis = b.ints(&[0])?;
        Ok(b.op("Unsqueeze", &[&bias, &axis], Vec::new()))
    })
}

/// Rotary positions: the two halves of each head's vector are the two coordinates that are turned.
fn rotate(b: &mut Builder<'_>, x: &str, theta: f32) -> Result<String> {
    let (cosines, sines) = (turn(b, "Cos", theta)?, turn(b, "Sin", theta)?);
    let [left, right] = b.split(x, b.config.head_width() / 2)?;
    let minus = b.op("Neg", &[&right], Vec::new());
    let turned = b.op("Concat", &[&minus, &left], vec![int("axis", -1)]);
    let kept = b.op("Mul", &[x, &cosines], Vec::new());
    let turned = b.op("Mul", &[&turned, &sines], Vec::new());
    Ok(b.op("Add", &[&kept, &turned], Vec::new()))
}

/// Cosines or sines of the angle of every position and coordinate, `[tokens, width]`.
fn turn(b: &mut Builder<'_>, function: &str, theta: f32) -> Result<String> {
    b.shared(&format!("{function} {}", theta.to_bits()), |b| {
        let angles = angles(b, theta)?;
        Ok(b.op(function, &[&angles], Vec::new()))
    })
}

fn angles(b: &mut Builder<'_>, theta: f32) -> Result<String> {
    b.shared(&format!("angles {}", theta.to_bits()), |b| {
        let width = b.config.head_width();
        let speeds = (0..width).map(|place| {
            let exponent = (2 * (place % (width / 2))) as f32 / width as f32;
            1.0 / theta.powf(exponent)
        });
        let name = format!("rope_{theta}");
        let speeds = b.constant(&name, &[1, width], speeds)?;
        let places = places(b)?;
        let places = b.op("Cast", &[&places], vec![int("to", 1)]);
        let axis = b.ints(&[1])?;
        let places = b.op("Unsqueeze", &[&places, &axis], Vec::new());
        Ok(b.op("Mul", &[&places, &speeds], Vec::new()))
    })
}
