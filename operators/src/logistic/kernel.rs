//! The passes over the rows: the loss of a classifier and its gradient.
//!
//! Rows come in blocks. Of each block first all scores are computed, row by row, and turned into
//! what they are off (probability minus truth); then their products with the vectors, component by
//! component. Both are small matrix products with sixteen classes in registers. Each sum has one
//! order, whatever the number of threads.

use rayon::prelude::*;
use sembla_processor::{Level, level};

use crate::error::Result;
use crate::host::{Host, check};

/// Classes whose sums are in registers together; columns are padded to a multiple.
const TILE: usize = 16;

/// Rows, or components, that go through the registers together.
const GROUP: usize = 4;

/// Rows whose scores are in memory together.
const BLOCK_ROWS: usize = 1024;

/// Rows that a thread takes at once.
const PIECE_ROWS: usize = 32;

/// Components that a thread takes at once.
const PIECE_COMPONENTS: usize = 8;

/// Rows, what class each has, and a penalty.
pub(super) struct Problem<'a> {
    vectors: &'a [f32],
    dimension: usize,
    classes_of_rows: &'a [u32],
    classes: usize,
    /// Rows of weights: one where there are two classes, else one a class.
    columns: usize,
    /// [`Problem::columns`] and padding.
    stride: usize,
    l2: f64,
}

impl<'a> Problem<'a> {
    pub(super) fn new(
        vectors: &'a [f32],
        dimension: usize,
        classes_of_rows: &'a [u32],
        classes: usize,
        l2: f64,
    ) -> Self {
        let columns = if classes == 2 { 1 } else { classes };
        let stride = columns.next_multiple_of(TILE);
        Self { vectors, dimension, classes_of_rows, classes, columns, stride, l2 }
    }

    /// The number of parameters, padding included: `dimension` rows of weights of all classes, then
    /// the biases. What is padding stays 0.
    pub(super) fn parameters(&self) -> usize {
        (self.dimension + 1) * self.stride
    }

    /// The memory of one pass.
    pub(super) fn bytes(&self) -> usize {
        self.parameters() * size_of::<f32>() + BLOCK_ROWS * self.stride * size_of::<f32>()
    }

    /// The value at `at` and, in `gradient`, its slope: mean loss and penalty, divided by the
    /// number of rows.
    ///
    /// # Errors
    /// [`OperatorError::Cancelled`](crate::OperatorError::Cancelled).
    pub(super) fn value(&self, at: &[f64], gradient: &mut [f64], host: &dyn Host) -> Result<f64> {
        let Self { dimension, stride, .. } = *self;
        let weights: Vec<f32> = at.iter().map(|value| *value as f32).collect();
        gradient.fill(0.0);
        let mut loss = 0.0;
        let mut off = vec![0_f32; BLOCK_ROWS * stride];
        let blocks = self.vectors.chunks(BLOCK_ROWS * dimension);
        for (vectors, classes) in blocks.zip(self.classes_of_rows.chunks(BLOCK_ROWS)) {
            check(host)?;
            let off = &mut off[..classes.len() * stride];
            let pieces = off
                .par_chunks_mut(PIECE_ROWS * stride)
                .zip(vectors.par_chunks(PIECE_ROWS * dimension))
                .zip(classes.par_chunks(PIECE_ROWS));
            let losses: Vec<f64> = pieces
                .map(|((off, vectors), classes)| {
                    scores(&weights, vectors, dimension, stride, off);
                    off.chunks_exact_mut(stride)
                        .zip(classes)
                        .map(|(row, class)| self.miss(row, *class as usize))
                        .sum()
                })
                .collect();
            loss += losses.iter().sum::<f64>();
            let (slopes, biases) = gradient.split_at_mut(dimension * stride);
            slopes.par_chunks_mut(PIECE_COMPONENTS * stride).enumerate().for_each(
                |(piece, slopes)| {
                    let first = piece * PIECE_COMPONENTS;
                    products(off, vectors, dimension, stride, first, slopes);
                },
            );
            for row in off.chunks_exact(stride) {
                biases.iter_mut().zip(row).for_each(|(sum, off)| *sum += f64::from(*off));
            }
        }
        let rows = self.classes_of_rows.len() as f64;
        let mut squares = 0.0;
        let weights = dimension * stride;
        for (slope, weight) in gradient[..weights].iter_mut().zip(&at[..weights]) {
            squares += weight * weight;
            *slope = (*slope + self.l2 * weight) / rows;
        }
        gradient[weights..].iter_mut().for_each(|slope| *slope /= rows);
        Ok((loss + 0.5 * self.l2 * squares) / rows)
    }

    /// The loss of a row, whose scores become what they are off.
    fn miss(&self, row: &mut [f32], class: usize) -> f64 {
        if self.classes == 2 {
            let (score, truth) = (f64::from(row[0]), class as f64);
            row[0] = (1.0 / (1.0 + (-score).exp()) - truth) as f32;
            let against = if class == 1 { -score } else { score };
            return against.max(0.0) + (-against.abs()).exp().ln_1p();
        }
        let row = &mut row[..self.columns];
        let own = f64::from(row[class]);
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let mut total = 0.0;
        for score in row.iter_mut() {
            let part = (f64::from(*score) - largest).exp();
            total += part;
            *score = part as f32;
        }
        let share = (1.0 / total) as f32;
        row.iter_mut().for_each(|part| *part *= share);
        row[class] -= 1.0;
        total.ln() + largest - own
    }

    /// Weights, `classes × dimension`, and biases. Of two classes each gets half of the one row, so
    /// that their difference is it.
    pub(super) fn unpack(&self, at: &[f64]) -> (Vec<f32>, Vec<f32>) {
        let value = |row: usize, class: usize| match self.classes {
            2 => at[row * self.stride] * if class == 1 { 0.5 } else { -0.5 },
            _ => at[row * self.stride + class],
        };
        let weights = (0..self.classes)
            .flat_map(|class| (0..self.dimension).map(move |row| value(row, class) as f32));
        let biases = (0..self.classes).map(|class| value(self.dimension, class) as f32);
        (weights.collect(), biases.collect())
    }
}

/// The scores of some rows.
fn scores(weights: &[f32], vectors: &[f32], dimension: usize, stride: usize, out: &mut [f32]) {
    let (weights, biases) = weights.split_at(dimension * stride);
    level::run(
        Level::active(),
        #[inline(always)]
        || {
            let groups = out.chunks_mut(GROUP * stride).zip(vectors.chunks(GROUP * dimension));
            for (out, vectors) in groups {
                if out.len() == GROUP * stride {
                    scores_of::<GROUP>(weights, biases, vectors, dimension, out);
                    continue;
                }
                let rows = out.chunks_mut(stride).zip(vectors.chunks(dimension));
                for (out, vector) in rows {
                    scores_of::<1>(weights, biases, vector, dimension, out);
                }
            }
        },
    );
}

/// The scores of so many rows.
#[inline(always)]
fn scores_of<const ROWS: usize>(
    weights: &[f32],
    biases: &[f32],
    vectors: &[f32],
    dimension: usize,
    out: &mut [f32],
) {
    let stride = biases.len();
    for tile in (0..stride).step_by(TILE) {
        let mut sums = [[0_f32; TILE]; ROWS];
        for (component, weights) in weights.chunks_exact(stride).enumerate() {
            let weights = &weights[tile..tile + TILE];
            for row in 0..ROWS {
                let x = vectors[row * dimension + component];
                for lane in 0..TILE {
                    sums[row][lane] += x * weights[lane];
                }
            }
        }
        let biases = &biases[tile..tile + TILE];
        for row in 0..ROWS {
            let out = &mut out[row * stride + tile..][..TILE];
            for lane in 0..TILE {
                out[lane] = sums[row][lane] + biases[lane];
            }
        }
    }
}

/// Adds to `slopes`, from component `first` on, the products of the vectors and what their scores
/// are off.
fn products(
    off: &[f32],
    vectors: &[f32],
    dimension: usize,
    stride: usize,
    first: usize,
    slopes: &mut [f64],
) {
    level::run(
        Level::active(),
        #[inline(always)]
        || {
            for (group, slopes) in slopes.chunks_mut(GROUP * stride).enumerate() {
                let first = first + group * GROUP;
                if slopes.len() == GROUP * stride {
                    products_of::<GROUP>(off, vectors, dimension, first, slopes);
                    continue;
                }
                for (component, slopes) in slopes.chunks_mut(stride).enumerate() {
                    products_of::<1>(off, vectors, dimension, first + component, slopes);
                }
            }
        },
    );
}

/// The products of so many components.
#[inline(always)]
fn products_of<const COMPONENTS: usize>(
    off: &[f32],
    vectors: &[f32],
    dimension: usize,
    first: usize,
    slopes: &mut [f64],
) {
    let stride = slopes.len() / COMPONENTS;
    for tile in (0..stride).step_by(TILE) {
        let mut sums = [[0_f32; TILE]; COMPONENTS];
        for (off, vector) in off.chunks_exact(stride).zip(vectors.chunks_exact(dimension)) {
            let off = &off[tile..tile + TILE];
            let vector = &vector[first..first + COMPONENTS];
            for component in 0..COMPONENTS {
                for lane in 0..TILE {
                    sums[component][lane] += vector[component] * off[lane];
                }
            }
        }
        for component in 0..COMPONENTS {
            let slopes = &mut slopes[component * stride + tile..][..TILE];
            for lane in 0..TILE {
                slopes[lane] += f64::from(sums[component][lane]);
            }
        }
    }
}
