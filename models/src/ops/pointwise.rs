//! `Activation` and `AddNorm`: what lies between the big products, in one pass over memory each.
//!
//! `AddNorm` is the sum of two inputs, normalised row by row: `(x - mean) / sqrt(variance +
//! epsilon) · gain + shift`. A row's result depends on the row alone, and is the same bits on every
//! machine.

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;

use sembla_processor::{Level, bench};

use super::{Function, bad_input, level, math};

/// The activation of a layer that is not in 8 bits.
pub(super) struct ActivationOperator;

pub(super) struct ActivationKernel {
    function: Function,
    level: Level,
}

impl Operator for ActivationOperator {
    type Kernel<'attr> = ActivationKernel;

    fn name(&self) -> &str {
        "Activation"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<ActivationKernel> {
        let name = node.get::<String>("activation").unwrap_or_default();
        let function = Function::parse(&name)
            .ok_or_else(|| bad_input(&format!("unknown activation '{name}'")))?;
        Ok(ActivationKernel { function, level: Level::active() })
    }
}

impl Kernel for ActivationKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let input = context.input(0)?.ok_or_else(|| bad_input("Activation has no input"))?;
        let (shape, x) = input.try_extract_tensor::<f32>()?;
        let mut output = context
            .output(0, shape.to_vec())?
            .ok_or_else(|| bad_input("Activation has no output"))?;
        let (_, out) = output.try_extract_tensor_mut::<f32>()?;
        activate(self.level, self.function, x, out);
        Ok(())
    }
}

fn activate(level: Level, function: Function, x: &[f32], out: &mut [f32]) {
    level::run(
        level,
        #[inline(always)]
        || {
            out.copy_from_slice(x);
            function.apply(out);
        },
    );
}

/// Residual connection and layer normalisation.
pub(super) struct AddNormOperator;

pub(super) struct AddNormKernel {
    epsilon: f32,
    level: Level,
}

impl Operator for AddNormOperator {
    type Kernel<'attr> = AddNormKernel;

    fn name(&self) -> &str {
        "AddNorm"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            OperatorInput::required(TensorElementType::Float32),
            OperatorInput::required(TensorElementType::Float32),
            OperatorInput::required(TensorElementType::Float32),
            OperatorInput::optional(TensorElementType::Float32),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<AddNormKernel> {
        let epsilon = node.get::<f32>("epsilon").unwrap_or(1e-5);
        Ok(AddNormKernel { epsilon, level: Level::active() })
    }
}

impl Kernel for AddNormKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || bad_input("AddNorm misses an input");
        let x = context.input(0)?.ok_or_else(missing)?;
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let y = context.input(1)?.ok_or_else(missing)?;
        let (_, y) = y.try_extract_tensor::<f32>()?;
        let gain = context.input(2)?.ok_or_else(missing)?;
        let (_, gain) = gain.try_extract_tensor::<f32>()?;
        let shift = if context.num_inputs()? > 3 { context.input(3)? } else { None };
        let shift = shift.as_ref().map(|shift| shift.try_extract_tensor::<f32>()).transpose()?;
        let shift = shift.map_or(&[][..], |(_, shift)| shift);
        let width = gain.len();
        if width == 0
            || !x.len().is_multiple_of(width)
            || x.len() != y.len()
            || (!shift.is_empty() && shift.len() != width)
        {
            return Err(bad_input("AddNorm's inputs have different widths"));
        }
        let mut output =
            context.output(0, shape.to_vec())?.ok_or_else(|| bad_input("no output"))?;
        let (_, out) = output.try_extract_tensor_mut::<f32>()?;
        add_norm(self.level, [x, y], [gain, shift], self.epsilon, out);
        Ok(())
    }
}

fn add_norm(
    level: Level,
    [x, y]: [&[f32]; 2],
    [gain, shift]: [&[f32]; 2],
    epsilon: f32,
    out: &mut [f32],
) {
    let width = gain.len();
    level::run(
        level,
        #[inline(always)]
        || {
            let rows = x.chunks_exact(width).zip(y.chunks_exact(width));
            for (out, (x, y)) in out.chunks_exact_mut(width).zip(rows) {
                for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
                    *out = x + y;
                }
                normalise(out, gain, shift, epsilon);
            }
        },
    );
}

/// Layer normalisation of one row, in place.
#[inline(always)]
fn normalise(row: &mut [f32], gain: &[f32], shift: &[f32], epsilon: f32) {
    let count = row.len() as f32;
    let mean = lanes(row, |value| value) / count;
    let variance = lanes(row, |value| (value - mean) * (value - mean)) / count;
    let factor = 1.0 / (variance + epsilon).sqrt();
    for (value, gain) in row.iter_mut().zip(gain) {
        *value = (*value - mean) * factor * gain;
    }
    for (value, shift) in row.iter_mut().zip(shift) {
        *value += shift;
    }
}

/// The sum of a function over a row, in sixteen lanes and then pair by pair.
#[inline(always)]
fn lanes(row: &[f32], function: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0f32; 16];
    let mut chunks = row.chunks_exact(16);
    for chunk in &mut chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += function(*value);
        }
    }
    for (sum, value) in sums.iter_mut().zip(chunks.remainder()) {
        *sum += function(*value);
    }
    math::sum(sums)
}

/// Both over 256 tokens, for benchmarks; counted in values.
pub(super) fn kernels(level: Level) -> Vec<bench::Kernel> {
    let width = 384;
    let x = super::made_up(256 * width);
    let (gain, mut out) = (super::made_up(width), vec![0.0; x.len()]);
    let (same, mut active) = (x.clone(), vec![0.0; x.len()]);
    let values = x.len() as f64;
    vec![
        bench::Kernel {
            name: "AddNorm",
            peak: None,
            operations: values,
            run: Box::new(move || add_norm(level, [&x, &x], [&gain, &gain], 1e-12, &mut out)),
        },
        bench::Kernel {
            name: "Activation, GELU",
            peak: None,
            operations: values,
            run: Box::new(move || activate(level, Function::Gelu, &same, &mut active)),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin() * 3.0).collect()
    }

    #[test]
    fn add_norm_is_close_to_its_formula() {
        for width in [16, 50, 384] {
            let (x, y) = (ramp(3 * width, 0.37), ramp(3 * width, 1.91));
            let (gain, shift) = (ramp(width, 0.2), ramp(width, 0.7));
            let mut out = vec![0f32; 3 * width];
            add_norm(Level::active(), [&x, &y], [&gain, &shift], 1e-12, &mut out);
            for row in 0..3 {
                let range = row * width..(row + 1) * width;
                let pairs = x[range.clone()].iter().zip(&y[range.clone()]);
                let sum: Vec<f64> = pairs.map(|(x, y)| f64::from(x + y)).collect();
                let mean = sum.iter().sum::<f64>() / width as f64;
                let variance = sum.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
                for (i, got) in out[range].iter().enumerate() {
                    let want = (sum[i] - mean) / variance.sqrt() * f64::from(gain[i])
                        + f64::from(shift[i]);
                    assert!((f64::from(*got) - want).abs() < 2e-6, "{got} is not {want}");
                }
            }
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let (x, y) = (ramp(5 * 100, 0.37), ramp(5 * 100, 1.91));
        let gain = ramp(100, 0.2);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let run = |level: Level| {
            let (mut normed, mut active) = (vec![0f32; 500], vec![0f32; 500]);
            add_norm(level, [&x, &y], [&gain, &[]], 1e-5, &mut normed);
            activate(level, Function::Gelu, &x, &mut active);
            (bits(&normed), bits(&active))
        };
        for level in Level::available() {
            assert_eq!(run(Level::PLAIN), run(level), "{level}");
        }
    }
}
