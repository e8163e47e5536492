//! `Attention`: multi-head self-attention over texts that lie one after another, without padding.
//!
//! Inputs: `qkv` `[tokens, 3·hidden]`, `offsets` `[texts + 1]`, and optionally the bias of relative
//! positions `[heads, 2·P - 1]`. Attributes: `heads`, `scale`, `rope_theta` (0: none), `window` (0:
//! all), `causal` (1: a token sees none after itself). Each text is computed by itself, so its
//! result is the same in any batch. Time grows with the square of a text's tokens, memory linearly.

mod kernel;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;

use sembla_processor::{Level, bench};

use self::kernel::{Scratch, Shape};
use super::bad_input;

pub(super) struct AttentionOperator;

pub(super) struct AttentionKernel {
    heads: usize,
    scale: f32,
    rope_theta: f32,
    window: usize,
    causal: bool,
    level: Level,
    scratch: Scratch,
}

impl Operator for AttentionOperator {
    type Kernel<'attr> = AttentionKernel;

    fn name(&self) -> &str {
        "Attention"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            OperatorInput::required(TensorElementType::Float32),
            OperatorInput::required(TensorElementType::Int64),
            OperatorInput::optional(TensorElementType::Float32),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<AttentionKernel> {
        let whole = |name: &str| {
            node.get::<i64>(name).and_then(|value| usize::try_from(value).ok()).unwrap_or(0)
        };
        let heads = whole("heads");
        if heads == 0 {
            return Err(bad_input("Attention has no heads"));
        }
        Ok(AttentionKernel {
            heads,
            scale: node.get::<f32>("scale").unwrap_or(1.0),
            rope_theta: node.get::<f32>("rope_theta").unwrap_or(0.0),
            window: whole("window"),
            causal: whole("causal") == 1,
            level: Level::active(),
            scratch: Scratch::default(),
        })
    }
}

impl Kernel for AttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let qkv = context.input(0)?.ok_or_else(|| bad_input("Attention has no qkv"))?;
        let (qkv_shape, qkv) = qkv.try_extract_tensor::<f32>()?;
        let offsets = context.input(1)?.ok_or_else(|| bad_input("Attention has no offsets"))?;
        let (_, offsets) = offsets.try_extract_tensor::<i64>()?;
        let bias = if context.num_inputs()? > 2 { context.input(2)? } else { None };
        let bias = bias.as_ref().map(|bias| bias.try_extract_tensor::<f32>()).transpose()?;
        let bias = bias.map_or(&[][..], |(_, bias)| bias);
        let (tokens, width) = match qkv_shape[..] {
            [tokens, width] => (tokens as usize, width as usize),
            _ => return Err(bad_input("Attention's qkv is not a matrix")),
        };
        let hidden = width / 3;
        if width % 3 != 0 || hidden % self.heads != 0 || !bias.len().is_multiple_of(self.heads) {
            return Err(bad_input("Attention's widths don't fit its heads"));
        }
        let bounds = bounds(offsets, tokens)?;
        let longest = bounds.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        if !bias.is_empty() && bias.len() / self.heads < 2 * longest.max(1) - 1 {
            return Err(bad_input("a text is longer than the table of relative positions"));
        }
        let mut output = context
            .output(0, vec![tokens as i64, hidden as i64])?
            .ok_or_else(|| bad_input("Attention has no output"))?;
        let (_, out) = output.try_extract_tensor_mut::<f32>()?;
        let shape = Shape {
            heads: self.heads,
            size: hidden / self.heads,
            scale: self.scale,
            rope_theta: self.rope_theta,
            window: self.window,
            causal: self.causal,
        };
        self.scratch.prepare(&shape, longest);
        for pair in bounds.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            let text = &qkv[start * width..end * width];
            let target = &mut out[start * hidden..end * hidden];
            kernel::run(self.level, &shape, text, bias, target, &mut self.scratch);
        }
        Ok(())
    }
}

/// The offsets as positions, checked to rise from 0 to the number of tokens.
fn bounds(offsets: &[i64], tokens: usize) -> ort::Result<Vec<usize>> {
    let bounds: Option<Vec<usize>> =
        offsets.iter().map(|offset| usize::try_from(*offset).ok()).collect();
    bounds
        .filter(|bounds| {
            bounds.first() == Some(&0)
                && bounds.last() == Some(&tokens)
                && bounds.windows(2).all(|pair| pair[0] <= pair[1])
        })
        .ok_or_else(|| bad_input("Attention's offsets don't rise from 0 to the number of tokens"))
}

/// A text, for benchmarks.
pub(super) fn kernels(level: Level) -> Vec<bench::Kernel> {
    let (heads, size, tokens) = (12, 32, 128);
    let shape = Shape { heads, size, scale: 0.2, rope_theta: 0.0, window: 0, causal: false };
    let mut scratch = Scratch::default();
    scratch.prepare(&shape, tokens);
    let qkv = super::made_up(tokens * 3 * heads * size);
    let mut out = vec![0.0; tokens * heads * size];
    vec![bench::Kernel {
        name: "Attention, 128 tokens",
        peak: Some(bench::Peak::Floats),
        operations: 4.0 * (tokens * tokens * heads * size) as f64,
        run: Box::new(move || {
            kernel::run(level, &shape, &qkv, &[], &mut out, &mut scratch);
        }),
    }]
}

#[cfg(test)]
mod tests;
