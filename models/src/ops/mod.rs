//! Sembla's own operators inside ONNX Runtime: attention without padding, and linear layers in 8
//! bits.
//!
//! They are why a vector doesn't depend on its neighbours in a batch: each row is computed by
//! itself, in one order of additions, on every machine. What runs where is decided once, by the
//! processor's features; all paths give the same bits. Building the graph that names these
//! operators is left to the graph builder.
//!
//! What was tried on a core of Zen 4 with batches of 256 tokens of MiniLM, and did not pay:
//! - *Quantising the middle of a feed-forward block inside its first layer:* 0 to 2 % of the block.
//!   What is not written to memory is computed in smaller pieces, which costs as much.
//! - *Other batches:* 96 to 384 tokens take as long a token as 256, or up to 8 % longer.
//! - *Tokenising behind inference:* tokenising is 0.1 % of the time.
//! - *Two registers of GELU at a time:* 15 % of GELU and 1 % of its layer with AVX2, nothing with
//!   AVX-512, where its multiplications are the bound.
//! - *Bias and activation in the f32 product:* the pass that it would save is 3 % of the time, and
//!   the product, which ONNX Runtime runs at its peak, would have to be one of ours.

mod attention;
mod embedding;
mod linear;
mod pointwise;

use std::sync::Arc;

use ort::operator::OperatorDomain;
use sembla_processor::bench::Kernel;
use sembla_processor::{Level, level, math};

use crate::Result;
use crate::onnx::DOMAIN;
pub(crate) use embedding::QuantisedTable;
pub(crate) use linear::{PackedLinear, block_of, quantise_rows};

/// All kernels, for benchmarks.
pub(crate) fn kernels(level: Level) -> Vec<Kernel> {
    let mut kernels = linear::kernels(level);
    kernels.extend(attention::kernels(level));
    kernels.extend(pointwise::kernels(level));
    kernels
}

/// Made-up values in -1..1, for benchmarks.
fn made_up(count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The 8-bit weights of a graph, shared by all its sessions.
#[derive(Default)]
pub(crate) struct Shared {
    /// What `QLinear` nodes point to with their attribute `index`.
    pub(crate) linears: Vec<PackedLinear>,
    /// What `QEmbedding` nodes point to.
    pub(crate) embeddings: Vec<QuantisedTable>,
}

/// The operators over some weights, ready to be given to a session.
pub(crate) fn domain(shared: &Arc<Shared>, model: &str) -> Result<OperatorDomain> {
    let build = || -> ort::Result<OperatorDomain> {
        OperatorDomain::new(DOMAIN)?
            .add(attention::AttentionOperator)?
            .add(pointwise::ActivationOperator)?
            .add(pointwise::AddNormOperator)?
            .add(linear::LinearOperator(Arc::clone(shared)))?
            .add(embedding::EmbeddingOperator(Arc::clone(shared)))
    };
    build().map_err(|error| crate::ModelError::Inference {
        model: model.into(),
        message: crate::error::one_line(&error.to_string()),
    })
}

/// What a layer's sums go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    None,
    Gelu,
    GeluTanh,
    QuickGelu,
    Relu,
    Silu,
}

impl Function {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "gelu" => Self::Gelu,
            "gelu_tanh" => Self::GeluTanh,
            "quick_gelu" => Self::QuickGelu,
            "relu" => Self::Relu,
            "silu" => Self::Silu,
            _ => return None,
        })
    }

    /// Changes values in place; compiled into whatever instruction level calls it.
    #[inline(always)]
    fn apply(self, values: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Gelu => values.iter_mut().for_each(|value| *value = math::gelu(*value)),
            Self::GeluTanh => values.iter_mut().for_each(|value| *value = math::gelu_tanh(*value)),
            Self::QuickGelu => {
                values.iter_mut().for_each(|value| *value = math::quick_gelu(*value));
            }
            Self::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
            Self::Silu => values.iter_mut().for_each(|value| *value = math::silu(*value)),
        }
    }
}

/// The error of an operator whose input is not what the graph builder promises.
fn bad_input(what: &str) -> ort::Error {
    ort::Error::new(format!("Sembla operator: {what}"))
}
