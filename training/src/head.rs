//! From the vectors of a text's tokens to the text's vector, or to the scores of a pair: pooling,
//! dense layers, normalisation, and the way back.

use rayon::prelude::*;
use sembla_models::anatomy::{HeadActivation, HiddenActivation};
use sembla_models::trainable::{PoolingMode, TorchActivation};

use crate::batch::Batch;
use crate::layers::Linear;
use crate::parameters::{Gradients, Parameters};
use crate::random::Dropout;
use crate::rows;

/// A vector that is shorter than this is divided by this, as PyTorch does.
const LENGTH_MIN: f32 = 1e-12;

/// The place of the dropout before a classifier's scores.
const PLACE: u64 = 1 << 32;

/// One step after pooling.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Dense(Linear, TorchActivation),
    /// Division by the length.
    Normalize,
    Dropout,
}

/// What comes after the vectors of all tokens.
#[derive(Debug)]
pub(crate) struct Head {
    /// Concatenated in this order; empty where the body gives a vector per text.
    pub(crate) pooling: Vec<PoolingMode>,
    pub(crate) steps: Vec<Step>,
    /// Width of the vectors that come in.
    pub(crate) hidden: usize,
}

/// What goes into each step, and out of the last.
pub(crate) struct Trace {
    kept: Vec<Vec<f32>>,
    dropout: Option<Dropout>,
}

/// The activation of a classifier's dense layer.
pub(crate) fn torch_activation(activation: HeadActivation) -> TorchActivation {
    match activation {
        HeadActivation::Tanh => TorchActivation::Tanh,
        HeadActivation::Hidden(HiddenActivation::Relu) => TorchActivation::Relu,
        HeadActivation::Hidden(HiddenActivation::Silu) => TorchActivation::Silu,
        HeadActivation::Hidden(
            HiddenActivation::Gelu | HiddenActivation::GeluTanh | HiddenActivation::QuickGelu,
        ) => TorchActivation::Gelu,
    }
}

impl Head {
    /// Width of a text's result.
    pub(crate) fn width(&self) -> usize {
        let pooled = self.hidden * self.pooling.len().max(1);
        self.steps.iter().fold(pooled, |width, step| match step {
            Step::Dense(linear, _) => linear.outputs,
            Step::Normalize | Step::Dropout => width,
        })
    }

    /// A row per text.
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        batch: &Batch,
        tokens: &[f32],
        dropout: Option<Dropout>,
    ) -> (Vec<f32>, Trace) {
        let texts = batch.texts();
        let mut kept = Vec::with_capacity(self.steps.len());
        let mut x = self.pool(batch, tokens);
        for step in &self.steps {
            let mut out;
            match step {
                Step::Dense(linear, activation) => {
                    out = vec![0f32; texts * linear.outputs];
                    linear.forward(parameters, &x, texts, &mut out);
                    out.iter_mut().for_each(|value| *value = activation.apply(*value));
                }
                Step::Normalize => {
                    out = x.clone();
                    for row in out.chunks_exact_mut(x.len().checked_div(texts).unwrap_or(1).max(1))
                    {
                        let length = length(row).max(LENGTH_MIN);
                        row.iter_mut().for_each(|value| *value /= length);
                    }
                }
                Step::Dropout => {
                    out = x.clone();
                    drop_scores(&mut out, texts, dropout);
                }
            }
            kept.push(x);
            x = out;
        }
        kept.push(x.clone());
        (x, Trace { kept, dropout })
    }

    /// The gradient of the vectors of all tokens, given that of the results.
    pub(crate) fn backward(
        &self,
        parameters: &Parameters,
        batch: &Batch,
        trace: &Trace,
        mut gradient: Vec<f32>,
        tokens: &[f32],
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        let texts = batch.texts();
        for (number, step) in self.steps.iter().enumerate().rev() {
            let (x, y) = (&trace.kept[number], &trace.kept[number + 1]);
            match step {
                Step::Dense(linear, activation) => {
                    activation_back(*activation, linear, parameters, x, y, texts, &mut gradient);
                    linear.weights_back(gradients, x, &gradient, texts);
                    let mut below = vec![0f32; x.len()];
                    linear.input_back(parameters, &gradient, texts, &mut below, false);
                    gradient = below;
                }
                Step::Normalize => normalise_back(x, y, texts, &mut gradient),
                Step::Dropout => drop_scores(&mut gradient, texts, trace.dropout),
            }
        }
        self.pool_back(batch, tokens, &gradient)
    }

    /// The pooled vectors of all texts.
    fn pool(&self, batch: &Batch, tokens: &[f32]) -> Vec<f32> {
        if self.pooling.is_empty() {
            return tokens.to_vec();
        }
        let (hidden, wide) = (self.hidden, self.hidden * self.pooling.len());
        let mut out = vec![0f32; batch.texts() * wide];
        out.par_chunks_mut(wide).enumerate().for_each(|(text, out)| {
            let rows = pooled_rows(batch, text);
            for (mode, out) in self.pooling.iter().zip(out.chunks_exact_mut(hidden)) {
                let weight = Weights::new(*mode, rows.len());
                for (place, row) in rows.clone().enumerate() {
                    let row = &tokens[row * hidden..][..hidden];
                    match mode {
                        PoolingMode::Max => largest(out, row, place == 0),
                        _ => {
                            let factor = weight.of(place);
                            if factor != 0.0 {
                                out.iter_mut().zip(row).for_each(|(out, x)| *out += factor * x);
                            }
                        }
                    }
                }
            }
        });
        out
    }

    /// The way back through [`Head::pool`].
    fn pool_back(&self, batch: &Batch, tokens: &[f32], gradient: &[f32]) -> Vec<f32> {
        if self.pooling.is_empty() {
            return gradient.to_vec();
        }
        let (hidden, wide) = (self.hidden, self.hidden * self.pooling.len());
        let mut out = vec![0f32; tokens.len()];
        for text in 0..batch.texts() {
            let rows = pooled_rows(batch, text);
            let gradient = &gradient[text * wide..][..wide];
            for (mode, gradient) in self.pooling.iter().zip(gradient.chunks_exact(hidden)) {
                let weight = Weights::new(*mode, rows.len());
                if *mode == PoolingMode::Max {
                    for (component, gradient) in gradient.iter().enumerate() {
                        let value = |row: &usize| tokens[row * hidden + component];
                        let best =
                            rows.clone().reduce(|a, b| if value(&b) > value(&a) { b } else { a });
                        if let Some(row) = best {
                            out[row * hidden + component] += gradient;
                        }
                    }
                    continue;
                }
                for (place, row) in rows.clone().enumerate() {
                    let factor = weight.of(place);
                    let out = &mut out[row * hidden..][..hidden];
                    out.iter_mut().zip(gradient).for_each(|(out, g)| *out += factor * g);
                }
            }
        }
        out
    }
}

/// The tokens of a text that pooling sees.
fn pooled_rows(batch: &Batch, text: usize) -> std::ops::Range<usize> {
    let range = batch.range(text);
    (range.start + batch.skips[text]).min(range.end)..range.end
}

/// What pooling multiplies each token with.
struct Weights {
    mode: PoolingMode,
    tokens: usize,
}

impl Weights {
    fn new(mode: PoolingMode, tokens: usize) -> Self {
        Self { mode, tokens }
    }

    fn of(&self, place: usize) -> f32 {
        let tokens = self.tokens as f32;
        match self.mode {
            PoolingMode::Cls => f32::from(place == 0),
            PoolingMode::LastToken => f32::from(place + 1 == self.tokens),
            PoolingMode::Mean => 1.0 / tokens,
            PoolingMode::MeanSqrtLen => 1.0 / tokens.sqrt(),
            PoolingMode::WeightedMean => (place + 1) as f32 / (tokens * (tokens + 1.0) / 2.0),
            PoolingMode::Max => 0.0,
        }
    }
}

fn largest(out: &mut [f32], row: &[f32], is_first: bool) {
    for (out, value) in out.iter_mut().zip(row) {
        if is_first || *value > *out {
            *out = *value;
        }
    }
}

/// The length of a vector.
pub(crate) fn length(row: &[f32]) -> f32 {
    row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt() as f32
}

/// The way back through the division by the length, `y = x / max(|x|, least)`.
fn normalise_back(x: &[f32], y: &[f32], texts: usize, gradient: &mut [f32]) {
    let width = x.len().checked_div(texts).unwrap_or(1).max(1);
    let rows = x.chunks_exact(width).zip(y.chunks_exact(width));
    for ((x, y), gradient) in rows.zip(gradient.chunks_exact_mut(width)) {
        let length = length(x);
        let along: f32 = match length > LENGTH_MIN {
            true => y.iter().zip(&*gradient).map(|(y, g)| y * g).sum(),
            false => 0.0,
        };
        let length = length.max(LENGTH_MIN);
        gradient.iter_mut().zip(y).for_each(|(g, y)| *g = (*g - along * y) / length);
    }
}

/// Turns the gradient of a dense layer's output into that of its sums.
fn activation_back(
    activation: TorchActivation,
    linear: &Linear,
    parameters: &Parameters,
    x: &[f32],
    y: &[f32],
    texts: usize,
    gradient: &mut [f32],
) {
    let pairs = gradient.iter_mut().zip(y);
    match activation {
        TorchActivation::Identity => {}
        TorchActivation::Tanh => pairs.for_each(|(g, y)| *g *= 1.0 - y * y),
        TorchActivation::Relu => pairs.for_each(|(g, y)| *g = if *y > 0.0 { *g } else { 0.0 }),
        TorchActivation::Sigmoid => pairs.for_each(|(g, y)| *g *= y * (1.0 - y)),
        // The slope of these does not follow from their value, so the sums are made again.
        TorchActivation::Gelu | TorchActivation::Silu => {
            let mut sums = vec![0f32; y.len()];
            linear.forward(parameters, x, texts, &mut sums);
            let hidden = match activation {
                TorchActivation::Gelu => HiddenActivation::Gelu,
                _ => HiddenActivation::Silu,
            };
            rows::activate_back(hidden, &sums, gradient);
        }
    }
}

/// Dropout before a classifier's scores; its own inverse on the way back.
fn drop_scores(values: &mut [f32], texts: usize, dropout: Option<Dropout>) {
    let width = values.len().checked_div(texts).unwrap_or(1).max(1);
    rows::drop(values, width, dropout.and_then(|dropout| dropout.hidden_site(PLACE)));
}
