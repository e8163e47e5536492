//! What is done row by row: bias, activation, normalisation, dropout, and the way back through
//! each.
//!
//! *Invariant:* a sum over rows is taken in pieces of [`PIECE_ROWS`], one after another, so that it
//! does not depend on the number of threads.

use rayon::prelude::*;
use sembla_models::anatomy::HiddenActivation;
use sembla_processor::{Level, level, math};

use crate::random::Site;

/// Rows of a piece of work.
pub(crate) const PIECE_ROWS: usize = 32;

/// Lanes of a sum.
const LANES: usize = 16;

/// The sum of `term` over the places of a row, in lanes.
#[inline(always)]
fn row_sum(width: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = width / LANES * LANES;
    for block in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(block + lane);
        }
    }
    let mut sum = math::sum(lanes);
    for place in whole..width {
        sum += term(place);
    }
    sum
}

/// Adds a bias to each row.
pub(crate) fn add_bias(values: &mut [f32], bias: &[f32]) {
    values.par_chunks_mut(PIECE_ROWS * bias.len()).for_each(|piece| {
        for row in piece.chunks_exact_mut(bias.len()) {
            row.iter_mut().zip(bias).for_each(|(value, add)| *value += add);
        }
    });
}

/// Adds the sum of all rows to `sum`.
pub(crate) fn add_column_sums(values: &[f32], sum: &mut [f32]) {
    let width = sum.len();
    let piece = |piece: &[f32]| {
        let mut sum = vec![0f32; width];
        for row in piece.chunks_exact(width) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        sum
    };
    let pieces: Vec<Vec<f32>> = values.par_chunks(PIECE_ROWS * width).map(piece).collect();
    add_all(&pieces, sum);
}

/// Adds rows to `sum`, one after another.
fn add_all(rows: &[Vec<f32>], sum: &mut [f32]) {
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

/// `out = activation(x)`.
pub(crate) fn activate(activation: HiddenActivation, x: &[f32], out: &mut [f32]) {
    let size = PIECE_ROWS * 1024;
    out.par_chunks_mut(size).zip(x.par_chunks(size)).for_each(|(out, x)| {
        level::run(
            Level::active(),
            #[inline(always)]
            || match activation {
                HiddenActivation::Gelu => {
                    out.iter_mut().zip(x).for_each(|(out, x)| *out = math::gelu(*x));
                }
                HiddenActivation::GeluTanh => {
                    out.iter_mut().zip(x).for_each(|(out, x)| *out = math::gelu_tanh(*x));
                }
                HiddenActivation::QuickGelu => {
                    out.iter_mut().zip(x).for_each(|(out, x)| *out = math::quick_gelu(*x));
                }
                HiddenActivation::Relu => {
                    out.iter_mut().zip(x).for_each(|(out, x)| *out = x.max(0.0));
                }
                HiddenActivation::Silu => {
                    out.iter_mut().zip(x).for_each(|(out, x)| *out = math::silu(*x));
                }
            },
        );
    });
}

/// Turns `gradient` of `activation(x)` into that of `x`.
pub(crate) fn activate_back(activation: HiddenActivation, x: &[f32], gradient: &mut [f32]) {
    let size = PIECE_ROWS * 1024;
    gradient.par_chunks_mut(size).zip(x.par_chunks(size)).for_each(|(gradient, x)| {
        level::run(
            Level::active(),
            #[inline(always)]
            || {
                let pairs = gradient.iter_mut().zip(x);
                match activation {
                    HiddenActivation::Gelu => pairs.for_each(|(g, x)| *g *= gelu_slope(*x)),
                    HiddenActivation::GeluTanh => {
                        pairs.for_each(|(g, x)| *g *= gelu_tanh_slope(*x));
                    }
                    HiddenActivation::QuickGelu => {
                        pairs.for_each(|(g, x)| *g *= quick_gelu_slope(*x));
                    }
                    HiddenActivation::Relu => {
                        pairs.for_each(|(g, x)| *g = if *x > 0.0 { *g } else { 0.0 });
                    }
                    HiddenActivation::Silu => pairs.for_each(|(g, x)| *g *= silu_slope(*x)),
                }
            },
        );
    });
}

/// `s + 1.702·x·s·(1 - s)` with `s` the logistic function of `1.702·x`.
#[inline(always)]
fn quick_gelu_slope(x: f32) -> f32 {
    let s = 1.0 / (1.0 + math::exp(-1.702 * x));
    (1.702 * x * s * (1.0 - s)).mul_add(1.0, s)
}

/// `Φ(x) + x·φ(x)`.
#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    const ROOT_OF_TAU: f32 = 0.398_942_3;
    let below = 0.5 * (1.0 + math::erf(x * std::f32::consts::FRAC_1_SQRT_2));
    (x * ROOT_OF_TAU).mul_add(math::exp(-0.5 * x * x), below)
}

#[inline(always)]
fn gelu_tanh_slope(x: f32) -> f32 {
    let inner = 0.797_884_6 * x * (x * x).mul_add(0.044_715, 1.0);
    // s is the logistic function of twice the inner value: gelu = x·s.
    let s = 1.0 - 1.0 / (math::exp(2.0 * inner) + 1.0);
    let slope = 2.0 * 0.797_884_6 * (x * x).mul_add(3.0 * 0.044_715, 1.0);
    (x * s * (1.0 - s)).mul_add(slope, s)
}

#[inline(always)]
fn silu_slope(x: f32) -> f32 {
    let s = 1.0 / (1.0 + math::exp(-x));
    (x * s).mul_add(1.0 - s, s)
}

/// Multiplies each row by dropout's factors; its own inverse on the way back.
pub(crate) fn drop(values: &mut [f32], width: usize, site: Option<Site>) {
    let Some(site) = site else { return };
    values.par_chunks_mut(PIECE_ROWS * width).enumerate().for_each(|(piece, values)| {
        level::run(
            Level::active(),
            #[inline(always)]
            || {
                for (row, values) in values.chunks_exact_mut(width).enumerate() {
                    let site = site.row((piece * PIECE_ROWS + row) as u32);
                    for (place, value) in values.iter_mut().enumerate() {
                        *value *= site.factor(place as u32);
                    }
                }
            },
        );
    });
}

/// A layer normalisation's gain and shift.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormWeights<'a> {
    pub(crate) gain: &'a [f32],
    pub(crate) shift: &'a [f32],
}

/// Normalises each row of `x` in place, without gain and shift, after adding `residual` where there
/// is one; `scales` gets what each row was multiplied by.
pub(crate) fn normalise(
    x: &mut [f32],
    residual: Option<&[f32]>,
    width: usize,
    epsilon: f32,
    scales: &mut [f32],
) {
    let size = PIECE_ROWS * width;
    let pieces = x.par_chunks_mut(size).zip(scales.par_chunks_mut(PIECE_ROWS)).enumerate();
    pieces.for_each(|(piece, (x, scales))| {
        let residual = residual.map(|all| &all[piece * size..piece * size + x.len()]);
        level::run(
            Level::active(),
            #[inline(always)]
            || {
                if let Some(residual) = residual {
                    x.iter_mut().zip(residual).for_each(|(x, add)| *x += add);
                }
                for (row, scale) in x.chunks_exact_mut(width).zip(scales) {
                    let mean = row_sum(
                        width,
                        #[inline(always)]
                        |i| row[i],
                    ) / width as f32;
                    let variance = row_sum(
                        width,
                        #[inline(always)]
                        |i| (row[i] - mean) * (row[i] - mean),
                    ) / width as f32;
                    *scale = 1.0 / (variance + epsilon).sqrt();
                    row.iter_mut().for_each(|value| *value = (*value - mean) * *scale);
                }
            },
        );
    });
}

/// `out = normal · gain + shift`.
pub(crate) fn scale_and_shift(normal: &[f32], weights: NormWeights<'_>, out: &mut [f32]) {
    let width = weights.gain.len();
    let size = PIECE_ROWS * width;
    out.par_chunks_mut(size).zip(normal.par_chunks(size)).for_each(|(out, normal)| {
        level::run(
            Level::active(),
            #[inline(always)]
            || {
                for (out, normal) in out.chunks_exact_mut(width).zip(normal.chunks_exact(width)) {
                    let weights = weights.gain.iter().zip(weights.shift);
                    for ((out, x), (gain, shift)) in out.iter_mut().zip(normal).zip(weights) {
                        *out = x.mul_add(*gain, *shift);
                    }
                }
            },
        );
    });
}

/// Turns the gradient of a norm's output into that of its input, and adds up those of gain and
/// shift. `normal` and `scales` are what [`normalise`] left.
pub(crate) fn normalise_back(
    gradient: &mut [f32],
    normal: &[f32],
    scales: &[f32],
    gain: &[f32],
    gain_gradient: &mut [f32],
    shift_gradient: &mut [f32],
) {
    let width = gain.len();
    let size = PIECE_ROWS * width;
    let pieces = gradient
        .par_chunks_mut(size)
        .zip(normal.par_chunks(size))
        .zip(scales.par_chunks(PIECE_ROWS));
    let sums: Vec<(Vec<f32>, Vec<f32>)> = pieces
        .map(|((gradient, normal), scales)| {
            let (mut gains, mut shifts) = (vec![0f32; width], vec![0f32; width]);
            level::run(
                Level::active(),
                #[inline(always)]
                || {
                    let rows = gradient.chunks_exact_mut(width).zip(normal.chunks_exact(width));
                    for ((gradient, normal), scale) in rows.zip(scales) {
                        row_back(gradient, normal, *scale, gain, &mut gains, &mut shifts);
                    }
                },
            );
            (gains, shifts)
        })
        .collect();
    for (gains, shifts) in &sums {
        gain_gradient.iter_mut().zip(gains).for_each(|(sum, value)| *sum += value);
        shift_gradient.iter_mut().zip(shifts).for_each(|(sum, value)| *sum += value);
    }
}

/// One row of [`normalise_back`].
#[inline(always)]
fn row_back(
    gradient: &mut [f32],
    normal: &[f32],
    scale: f32,
    gain: &[f32],
    gains: &mut [f32],
    shifts: &mut [f32],
) {
    let width = gain.len();
    let (gradient, normal) = (&mut gradient[..width], &normal[..width]);
    let (gains, shifts) = (&mut gains[..width], &mut shifts[..width]);
    for i in 0..width {
        gains[i] += gradient[i] * normal[i];
        shifts[i] += gradient[i];
        gradient[i] *= gain[i];
    }
    let mean = row_sum(
        width,
        #[inline(always)]
        |i| gradient[i],
    ) / width as f32;
    let along = row_sum(
        width,
        #[inline(always)]
        |i| gradient[i] * normal[i],
    ) / width as f32;
    for i in 0..width {
        gradient[i] = scale * (gradient[i] - mean - normal[i] * along);
    }
}
