//! `QLinear`: a linear layer with 8-bit weights and 8-bit activations, bias and activation function
//! included.
//!
//! Weights are whole numbers in -127..=127 with one scale per output and block of inputs;
//! activations are quantised row by row and block by block, when they arrive, to 0..=255 with a
//! zero point. The products are summed exactly in 32 bits within a block, and the blocks in one
//! order in f32, so a row's result is the same in any batch and on any machine. Formula: `y[n] =
//! bias[n] + Σ_b s_b·w[n,b]·(Σ_k q[k]·v[n,k] - z_b·Σ_k v[n,k])`.

mod kernel;

use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;

use sembla_processor::{Level, bench};

use self::kernel::{PANEL, Scratch};
use super::{Function, Shared, bad_input, math};
use crate::weights::{Linear, Matrix};

/// Inputs that share one scale, where the width allows it.
const BLOCK_MAX: usize = 128;

/// Cache lines that hold a panel's weights for a group of four inputs.
const LINES: usize = PANEL / 16;

/// The block for rows of `width` values: the largest divisor of the width that is at most 128, or
/// the whole row where there is none worth having.
pub(crate) fn block_of(width: usize) -> usize {
    let divisor = (1..=BLOCK_MAX.min(width)).rev().find(|block| width.is_multiple_of(*block));
    divisor.filter(|block| *block >= 16).unwrap_or(width.max(1))
}

/// Rows in 8 bits: the values, and one scale per block.
pub(crate) fn quantise_rows(floats: &[f32], block: usize) -> (Vec<i8>, Vec<f32>) {
    let mut values = Vec::with_capacity(floats.len());
    let mut scales = Vec::with_capacity(floats.len() / block.max(1));
    for chunk in floats.chunks(block) {
        let largest = chunk.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        values.extend(chunk.iter().map(|value| math::round(value / scale) as i8));
        scales.push(scale);
    }
    (values, scales)
}

/// Weights of sixteen outputs for a group of four inputs: one cache line, so that no load crosses
/// two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([i8; 64]);

/// A linear layer's weights, laid out for the kernel.
pub(crate) struct PackedLinear {
    inputs: usize,
    outputs: usize,
    /// Inputs per scale.
    block: usize,
    blocks: usize,
    /// Groups of four inputs in a block, the last filled up with zeros.
    groups: usize,
    /// `[panel][block][group]`, [`LINES`] of `[16 outputs][4 inputs]` each.
    values: Vec<Line>,
    /// `[panel][block][PANEL scales, PANEL scales × sums]`.
    scales: Vec<f32>,
    /// One per output, filled up to whole panels.
    bias: Vec<f32>,
}

impl PackedLinear {
    /// Takes a layer that is in 8 bits already, or makes it so, and lays it out.
    pub(crate) fn new(linear: Linear) -> Self {
        let (inputs, outputs) = (linear.inputs, linear.outputs);
        let (values, scales, block) = match linear.weight {
            Matrix::Q8 { values, scales, block } => (values, scales, block),
            Matrix::F32(floats) => {
                let block = block_of(inputs);
                let (values, scales) = quantise_rows(&floats, block);
                (values, scales, block)
            }
        };
        let (blocks, groups) = (inputs / block, block.div_ceil(4));
        let panels = outputs.div_ceil(PANEL);
        let mut packed = Self {
            inputs,
            outputs,
            block,
            blocks,
            groups,
            values: vec![Line([0; 64]); panels * blocks * groups * LINES],
            scales: vec![0.0; panels * blocks * PANEL * 2],
            bias: linear.bias.unwrap_or_else(|| vec![0.0; outputs]),
        };
        packed.bias.resize(panels * PANEL, 0.0);
        for output in 0..outputs {
            packed.place(output, &values[output * inputs..], &scales[output * blocks..]);
        }
        packed
    }

    /// Copies one output's weights to their place.
    fn place(&mut self, output: usize, values: &[i8], scales: &[f32]) {
        let (panel, lane) = (output / PANEL, output % PANEL);
        for block in 0..self.blocks {
            let row = &values[block * self.block..(block + 1) * self.block];
            let at = panel * self.blocks + block;
            for (k, value) in row.iter().enumerate() {
                let group = at * self.groups + k / 4;
                self.values[group * LINES + lane / 16].0[lane % 16 * 4 + k % 4] = *value;
            }
            let sum: i32 = row.iter().map(|value| i32::from(*value)).sum();
            self.scales[at * 2 * PANEL + lane] = scales[block];
            self.scales[(at * 2 + 1) * PANEL + lane] = scales[block] * sum as f32;
        }
    }
}

pub(super) struct LinearOperator(pub(super) Arc<Shared>);

pub(super) struct LinearKernel {
    shared: Arc<Shared>,
    index: usize,
    function: Function,
    level: Level,
    scratch: Scratch,
}

impl Operator for LinearOperator {
    type Kernel<'attr> = LinearKernel;

    fn name(&self) -> &str {
        "QLinear"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<LinearKernel> {
        let index = node.get::<i64>("index").and_then(|index| usize::try_from(index).ok());
        let index = index
            .filter(|index| *index < self.0.linears.len())
            .ok_or_else(|| bad_input("QLinear points to no weights"))?;
        let name = node.get::<String>("activation").unwrap_or_else(|| "none".into());
        let function = Function::parse(&name)
            .ok_or_else(|| bad_input(&format!("QLinear has no activation '{name}'")))?;
        Ok(LinearKernel {
            shared: Arc::clone(&self.0),
            index,
            function,
            level: Level::active(),
            scratch: Scratch::default(),
        })
    }
}

impl Kernel for LinearKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let linear = &self.shared.linears[self.index];
        let input = context.input(0)?.ok_or_else(|| bad_input("QLinear has no input"))?;
        let (shape, x) = input.try_extract_tensor::<f32>()?;
        if shape.last().copied() != Some(linear.inputs as i64) {
            return Err(bad_input("QLinear's input has another width than its weights"));
        }
        let mut out_shape = shape.to_vec();
        if let Some(last) = out_shape.last_mut() {
            *last = linear.outputs as i64;
        }
        let mut output =
            context.output(0, out_shape)?.ok_or_else(|| bad_input("QLinear has no output"))?;
        let (_, out) = output.try_extract_tensor_mut::<f32>()?;
        kernel::run(self.level, linear, x, out, self.function, &mut self.scratch);
        Ok(())
    }
}

/// The layers of a transformer, for benchmarks: 256 tokens.
pub(super) fn kernels(level: Level) -> Vec<bench::Kernel> {
    let layer = |name, inputs: usize, outputs: usize, function| {
        let rows = 256;
        let linear = PackedLinear::new(Linear {
            name: String::new(),
            outputs,
            inputs,
            weight: Matrix::F32(super::made_up(outputs * inputs)),
            bias: None,
        });
        let (x, mut out) = (super::made_up(rows * inputs), vec![0.0; rows * outputs]);
        let mut scratch = Scratch::default();
        bench::Kernel {
            name,
            peak: Some(bench::Peak::Bytes),
            operations: 2.0 * (rows * inputs * outputs) as f64,
            run: Box::new(move || {
                kernel::run(level, &linear, &x, &mut out, function, &mut scratch);
            }),
        }
    };
    vec![
        layer("QLinear 384 x 1152", 384, 1152, Function::None),
        layer("QLinear 384 x 1536, GELU", 384, 1536, Function::Gelu),
        layer("QLinear 1536 x 384", 1536, 384, Function::None),
    ]
}

#[cfg(test)]
mod tests;
