//! The pieces of the fused form: operators of ONNX Runtime's own domain, in which a layer is seven
//! nodes, for CUDA.
//!
//! Between the embeddings and the output all values are matrices, a row per token, whether texts
//! lie one after another or are padded. Only attention differs: it is `PackedMultiHeadAttention`,
//! which exists for CUDA alone, or `MultiHeadAttention`, which runs on a processor too. So the
//! padded layout, in 32 bits, tests everything else. Shapes are those of ONNX Runtime's
//! `ContribOperators.md`. Queries, keys and values stay apart and have their bias before attention:
//! then its kernels take them as they lie.
//!
//! Pooling is done in 32 bits, whatever the layers have. Texts without tokens are left to the
//! caller: each text here has at least one.

use half::f16;

use super::attention::{AttentionKind, distances_bias};
use super::builder::{Builder, Norm, Part};
use super::encoder::{Segments, position_table};
use super::{Fused, GraphPooling, Layout, Task};
use crate::config::HiddenActivation;
use crate::onnx::proto::data_type;
use crate::onnx::writer::{Dim, ModelWriter, float, int, ints};
use crate::{ModelError, Result};

/// The domain of ONNX Runtime's own operators.
pub(super) const DOMAIN: &str = "com.microsoft";

/// What a vector's length is at least taken to be, as in `pool`.
const LENGTH_MIN: f32 = 1e-12;

/// The dimensions of an input of one number for each token.
pub(super) fn token_dims(layout: Layout) -> &'static [Dim<'static>] {
    match layout {
        Layout::Packed => &[Dim::Known(1), Dim::Named("tokens")],
        Layout::Padded => &[Dim::Named("texts"), Dim::Named("longest")],
    }
}

/// The input whose second dimension is the length of the longest text.
pub(super) fn places_input(layout: Layout) -> &'static str {
    match layout {
        Layout::Packed => "token_offset",
        Layout::Padded => "attention_mask",
    }
}

/// Declares the inputs that say which tokens belong together.
pub(super) fn inputs(b: &mut Builder<'_>, layout: Layout) {
    let places = [Dim::Named("texts"), Dim::Named("longest")];
    b.input(places_input(layout), data_type::INT32, &places);
    if layout == Layout::Packed {
        let dims = [Dim::Named("texts_and_one")];
        b.input("cumulative_sequence_length", data_type::INT32, &dims);
    }
}

/// A constant of 16-bit floats.
///
/// # Errors
/// A value that is larger than those can be.
pub(super) fn halves(
    writer: &mut ModelWriter,
    name: &str,
    dims: &[usize],
    values: impl Iterator<Item = f32>,
) -> Result<()> {
    let mut overflows = false;
    let values = values.map(|value| {
        let half = f16::from_f32(value);
        overflows |= half.is_infinite();
        half.to_bits()
    });
    writer.halves(name, dims, values)?;
    if overflows {
        return Err(ModelError::BadOption(format!(
            "precision f16 can't hold the weight '{name}', which has values beyond 65504; use f32"
        )));
    }
    Ok(())
}

/// Word, position and segment vectors, added and normalised: `[rows, width]`.
pub(super) fn embeddings(
    b: &mut Builder<'_>,
    prefix: &str,
    width: usize,
    segments: Segments,
) -> Result<String> {
    let words = format!("{prefix}word_embeddings.weight");
    let rows = b.config.vocabulary;
    let table = b.matrix(&words, rows, width)?.into_f32();
    let words = b.constant(&words, &[rows, width], table.into_iter())?;
    let (positions, every_token) = position_table(b, prefix, width, segments)?;
    let name = format!("{prefix}LayerNorm");
    let norm = b.norm_parameters(&Norm { name: &name, width, shift: true })?;
    let (mut ids, mut table) = (String::new(), String::new());
    if let Segments::Given { rows } = every_token {
        ids = b.segments()?;
        table = b.tensor(&format!("{prefix}token_type_embeddings.weight"), &[rows, width])?;
    }
    let mut inputs = vec!["input_ids", &ids, &words, &positions, &table];
    inputs.extend(norm.iter().map(String::as_str));
    inputs.extend(["", "position_ids"]);
    let epsilon = float("epsilon", b.config.norm_epsilon);
    // The second output is nothing's input, but CUDA's kernel writes it in any case.
    let [x, _] = b.node((DOMAIN, "EmbedLayerNormalization"), &inputs, vec![epsilon]);
    let flat = b.ints(&[-1, width as i64])?;
    Ok(b.op("Reshape", &[&x, &flat], Vec::new()))
}

/// The attention of `x` (`[rows, hidden]`) with what makes queries, keys and values: `[rows,
/// hidden]`.
pub(super) fn attention(
    b: &mut Builder<'_>,
    layout: Layout,
    x: &str,
    parts: &[Part<'_>; 3],
    kind: &AttentionKind,
) -> Result<String> {
    if kind.causal || kind.window.is_some() || kind.rope_theta.is_some() {
        return Err(ModelError::Bug("a fused graph has plain attention only".into()));
    }
    let hidden = b.config.hidden;
    let mut inputs = Vec::new();
    for part in parts {
        let rows = b.linear(x, &[*part], hidden, true, None)?;
        inputs.push(match layout {
            Layout::Packed => rows,
            Layout::Padded => {
                let texts = text_shape(b)?;
                b.op("Reshape", &[&rows, &texts], Vec::new())
            }
        });
    }
    inputs.push(String::new());
    inputs.push(places_input(layout).to_string());
    let operator = match layout {
        Layout::Packed => {
            inputs.push("cumulative_sequence_length".to_string());
            "PackedMultiHeadAttention"
        }
        Layout::Padded => "MultiHeadAttention",
    };
    if let Some(table) = &kind.bias {
        inputs.push(distances_bias(b, table)?);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let scale = 1.0 / (b.config.head_width() as f32).sqrt();
    let attributes = vec![int("num_heads", b.config.heads as i64), float("scale", scale)];
    let mixed = b.op_of((DOMAIN, operator), &inputs, attributes);
    if layout == Layout::Packed {
        return Ok(mixed);
    }
    let flat = b.ints(&[-1, hidden as i64])?;
    Ok(b.op("Reshape", &[&mixed, &flat], Vec::new()))
}

/// The shape of padded texts, `[texts, longest, hidden]`.
fn text_shape(b: &mut Builder<'_>) -> Result<String> {
    b.shared("text shape", |b| {
        let places = b.op("Shape", &[places_input(Layout::Padded)], Vec::new());
        let hidden = b.ints(&[b.config.hidden as i64])?;
        Ok(b.op("Concat", &[&places, &hidden], vec![int("axis", 0)]))
    })
}

/// The normalised sum of two values, and of a linear layer's bias where there is one.
pub(super) fn add_norm(
    b: &mut Builder<'_>,
    (x, y): (&str, &str),
    norm: &Norm<'_>,
    bias: Option<&str>,
) -> Result<String> {
    let parameters = b.norm_parameters(norm)?;
    let mut inputs = vec![x, y];
    inputs.extend(parameters.iter().map(String::as_str));
    if let Some(bias) = bias {
        inputs.resize(4, "");
        inputs.push(bias);
    }
    let epsilon = float("epsilon", b.config.norm_epsilon);
    Ok(b.op_of((DOMAIN, "SkipLayerNormalization"), &inputs, vec![epsilon]))
}

/// A linear layer with its bias, and an activation.
pub(super) fn activated(
    b: &mut Builder<'_>,
    x: &str,
    (matrix, bias): (&str, &str),
    activation: HiddenActivation,
) -> Result<String> {
    let operator = match activation {
        HiddenActivation::Gelu => "BiasGelu",
        HiddenActivation::GeluTanh => "FastGelu",
        HiddenActivation::QuickGelu | HiddenActivation::Relu | HiddenActivation::Silu => {
            let y = b.op("Gemm", &[x, matrix, bias], Vec::new());
            return b.activation(&y, activation);
        }
    };
    let product = b.op("MatMul", &[x, matrix], Vec::new());
    Ok(b.op_of((DOMAIN, operator), &[&product, bias], Vec::new()))
}

/// An activation by itself.
pub(super) fn activation(b: &mut Builder<'_>, x: &str, activation: HiddenActivation) -> String {
    match activation {
        HiddenActivation::Relu => b.op("Relu", &[x], Vec::new()),
        HiddenActivation::Gelu => b.op_of((DOMAIN, "Gelu"), &[x], Vec::new()),
        HiddenActivation::GeluTanh => b.op_of((DOMAIN, "FastGelu"), &[x], Vec::new()),
        HiddenActivation::QuickGelu => {
            b.op_of((DOMAIN, "QuickGelu"), &[x], vec![float("alpha", 1.702)])
        }
        HiddenActivation::Silu => b.op_of((DOMAIN, "QuickGelu"), &[x], vec![float("alpha", 1.0)]),
    }
}

/// One row of each text, which the input `picked` names: `[texts, hidden]`.
pub(super) fn picked(b: &mut Builder<'_>, x: &str) -> Result<String> {
    let rows = b.shared("picked", |b| {
        b.input("picked", data_type::INT32, &[Dim::Named("texts")]);
        Ok("picked".to_string())
    })?;
    Ok(b.op("Gather", &[x, &rows], vec![int("axis", 0)]))
}

/// What a graph gives, in 32 bits: `x`, or what its pooling makes of the token vectors `x`.
pub(super) fn output(b: &mut Builder<'_>, form: Fused, task: Task, x: &str) -> Result<String> {
    let pooling = if task == Task::Embed { form.pooling } else { GraphPooling::None };
    let x = match pooling {
        GraphPooling::Picked => picked(b, x)?,
        GraphPooling::None | GraphPooling::Weighted { .. } => x.to_string(),
    };
    let x = match form.half {
        true => b.op("Cast", &[&x], vec![int("to", i64::from(data_type::FLOAT))]),
        false => x,
    };
    let pooled = match pooling {
        GraphPooling::None => return Ok(x),
        GraphPooling::Picked => x,
        GraphPooling::Weighted { modes } => weighted(b, form.layout, &x, modes)?,
    };
    if !form.normalise {
        return Ok(pooled);
    }
    let lengths = b.op("ReduceL2", &[&pooled], vec![ints("axes", &[-1])]);
    let floor = b.float(LENGTH_MIN)?;
    let lengths = b.op("Max", &[&lengths, &floor], Vec::new());
    Ok(b.op("Div", &[&pooled, &lengths], Vec::new()))
}

/// Sums of each text's token vectors with the weights of the input `pool_weights` (`[texts, modes,
/// longest]`), one after another: `[texts, modes·hidden]`.
fn weighted(b: &mut Builder<'_>, layout: Layout, x: &str, modes: usize) -> Result<String> {
    let dims = [Dim::Named("texts"), Dim::Known(modes), Dim::Named("longest")];
    b.input("pool_weights", data_type::FLOAT, &dims);
    let texts = match layout {
        Layout::Padded => {
            let shape = text_shape(b)?;
            b.op("Reshape", &[x, &shape], Vec::new())
        }
        Layout::Packed => {
            let places = [Dim::Named("texts"), Dim::Named("longest")];
            b.input("token_rows", data_type::INT32, &places);
            b.op("Gather", &[x, "token_rows"], vec![int("axis", 0)])
        }
    };
    let sums = b.op("MatMul", &["pool_weights", &texts], Vec::new());
    let flat = b.ints(&[-1, (modes * b.config.hidden) as i64])?;
    Ok(b.op("Reshape", &[&sums, &flat], Vec::new()))
}
