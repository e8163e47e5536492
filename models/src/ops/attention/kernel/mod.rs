//! The arithmetic of `Attention` for one text: scores, softmax, weighted sum, head by head.
//!
//! Plain loops over lanes of fixed width, compiled for each instruction level; every sum has one
//! order that depends on the text's length alone, and `mul_add` rounds once everywhere, so all
//! levels give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use sembla_processor::{InstructionSet, Level};

use crate::ops::math;

/// Lanes that are computed together.
const LANES: usize = 16;

/// Queries that share the loads of a key or value.
const ROWS: usize = 4;

/// What a head looks like.
pub(super) struct Shape {
    pub(super) heads: usize,
    /// Components of a head.
    pub(super) size: usize,
    pub(super) scale: f32,
    /// Base of the rotary positions; 0 is none.
    pub(super) rope_theta: f32,
    /// How far a token sees to either side; 0 is all.
    pub(super) window: usize,
    /// Whether a token sees none after itself.
    pub(super) causal: bool,
}

/// Buffers that live as long as the session.
#[derive(Default)]
pub(super) struct Scratch {
    /// Queries of a head, `tokens × size`.
    queries: Vec<f32>,
    /// Keys of a head as they come, `tokens × size`.
    key_rows: Vec<f32>,
    /// Keys of a head, transposed: `size × padded tokens`.
    keys: Vec<f32>,
    /// Values of a head, `tokens × padded size`.
    values: Vec<f32>,
    /// Weights of `ROWS` queries, `ROWS × padded tokens`.
    weights: Vec<f32>,
    /// Results of `ROWS` queries, `ROWS × padded size`.
    mixed: Vec<f32>,
    /// `(cos, sin)` per position and half component.
    rotations: Vec<(f32, f32)>,
}

impl Scratch {
    /// Makes room for texts of up to `tokens` tokens.
    pub(super) fn prepare(&mut self, shape: &Shape, tokens: usize) {
        let (padded, size) = (tokens.next_multiple_of(LANES), shape.size.next_multiple_of(LANES));
        let grow = |buffer: &mut Vec<f32>, length: usize| {
            if buffer.len() < length {
                buffer.resize(length, 0.0);
            }
        };
        // Rows are taken ROWS at a time, the last ones past the end.
        let rows = tokens.next_multiple_of(ROWS);
        grow(&mut self.queries, rows * shape.size);
        grow(&mut self.key_rows, tokens * shape.size);
        grow(&mut self.keys, padded * shape.size);
        grow(&mut self.values, tokens * size);
        grow(&mut self.weights, ROWS * padded);
        grow(&mut self.mixed, ROWS * size);
        if shape.rope_theta > 0.0 {
            let half = shape.size / 2;
            for position in self.rotations.len() / half.max(1)..tokens {
                for index in 0..half {
                    let exponent = (2 * index) as f32 / shape.size as f32;
                    let angle = position as f32 * (1.0 / shape.rope_theta.powf(exponent));
                    let (sin, cos) = f64::from(angle).sin_cos();
                    self.rotations.push((cos as f32, sin as f32));
                }
            }
        }
    }
}

/// One text: `qkv` is `tokens × 3·hidden`, `out` is `tokens × hidden`.
pub(super) fn run(
    level: Level,
    shape: &Shape,
    qkv: &[f32],
    bias: &[f32],
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    match level.instructions() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is one that the processor has.
        InstructionSet::Avx512Vnni | InstructionSet::Avx512 => unsafe {
            run_avx512(shape, qkv, bias, out, scratch)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is one that the processor has.
        InstructionSet::Avx2 | InstructionSet::AvxVnni => unsafe {
            run_avx2(shape, qkv, bias, out, scratch)
        },
        _ => run_plain(shape, qkv, bias, out, scratch),
    }
}

// Products and transpositions are closures: a function by its name would be called through a shim
// that is compiled without the instructions.

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
fn run_avx512(shape: &Shape, qkv: &[f32], bias: &[f32], out: &mut [f32], scratch: &mut Scratch) {
    let products =
        |left: Left<'_>, right: Right<'_>, out: &mut [f32]| avx512::products(left, right, out);
    let transpose = |rows: Rows<'_>, out: &mut [f32], stride| avx2::transpose(rows, out, stride);
    body(shape, qkv, bias, out, scratch, products, transpose);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2(shape: &Shape, qkv: &[f32], bias: &[f32], out: &mut [f32], scratch: &mut Scratch) {
    let products =
        |left: Left<'_>, right: Right<'_>, out: &mut [f32]| avx2::products(left, right, out);
    let transpose = |rows: Rows<'_>, out: &mut [f32], stride| avx2::transpose(rows, out, stride);
    body(shape, qkv, bias, out, scratch, products, transpose);
}

#[inline(never)]
fn run_plain(shape: &Shape, qkv: &[f32], bias: &[f32], out: &mut [f32], scratch: &mut Scratch) {
    let products =
        |left: Left<'_>, right: Right<'_>, out: &mut [f32]| plain_products(left, right, out);
    let transpose = |rows: Rows<'_>, out: &mut [f32], stride| plain_transpose(rows, out, stride);
    body(shape, qkv, bias, out, scratch, products, transpose);
}

/// `ROWS` rows of numbers, `stride` apart: the left side of a product.
#[derive(Clone, Copy)]
struct Left<'a> {
    values: &'a [f32],
    stride: usize,
}

/// Columns of lanes: the right side of a product, `depth × width`.
#[derive(Clone, Copy)]
struct Right<'a> {
    values: &'a [f32],
    depth: usize,
    /// A multiple of [`LANES`].
    width: usize,
}

/// Rows of `width` numbers, one after another, that are to be transposed.
#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [f32],
    width: usize,
}

/// `products(left, right, out)` fills `out`, `ROWS × width`, with `left · right`.
/// `transpose(rows, out, stride)` makes each row a column of `out`, whose own rows are `stride`
/// apart.
#[inline(always)]
fn body(
    shape: &Shape,
    qkv: &[f32],
    bias: &[f32],
    out: &mut [f32],
    scratch: &mut Scratch,
    products: impl Fn(Left<'_>, Right<'_>, &mut [f32]),
    transpose: impl Fn(Rows<'_>, &mut [f32], usize),
) {
    let (size, hidden) = (shape.size, shape.heads * shape.size);
    let tokens = qkv.len() / (3 * hidden).max(1);
    let (padded, wide) = (tokens.next_multiple_of(LANES), size.next_multiple_of(LANES));
    let reach = bias.len() / shape.heads.max(1);
    for head in 0..shape.heads {
        gather(shape, qkv, head, tokens, scratch);
        let keys = Rows { values: &scratch.key_rows[..tokens * size], width: size };
        transpose(keys, &mut scratch.keys, padded);
        // Lanes past the end must hold numbers, not what an earlier text left; their weights become
        // zero.
        for row in scratch.keys[..padded * size].chunks_exact_mut(padded.max(1)) {
            row[tokens..].fill(0.0);
        }
        let bias = &bias[head * reach..(head + 1) * reach];
        for first in (0..tokens).step_by(ROWS) {
            let queries = Left { values: &scratch.queries[first * size..], stride: size };
            let keys = Right { values: &scratch.keys, depth: size, width: padded };
            products(queries, keys, &mut scratch.weights);
            let rows = &mut scratch.weights[..ROWS.min(tokens - first) * padded];
            let totals = softmax(shape, first, tokens, bias, rows);
            let weights = Left { values: &scratch.weights, stride: padded };
            let values = Right { values: &scratch.values, depth: tokens, width: wide };
            products(weights, values, &mut scratch.mixed);
            for (row, total) in totals.iter().enumerate().take(tokens - first) {
                let at = (first + row) * hidden + head * size;
                let mixed = &scratch.mixed[row * wide..row * wide + size];
                for (target, value) in out[at..at + size].iter_mut().zip(mixed) {
                    *target = value / total;
                }
            }
        }
    }
}

/// The product in plain loops, one order of additions for each element.
#[inline(always)]
fn plain_products(left: Left<'_>, right: Right<'_>, out: &mut [f32]) {
    for lane in (0..right.width).step_by(LANES) {
        let mut sums = [[0f32; LANES]; ROWS];
        for (i, column) in right.values.chunks_exact(right.width).take(right.depth).enumerate() {
            let column: &[f32; LANES] = column[lane..].first_chunk().unwrap_or(&[0.0; LANES]);
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = left.values[row * left.stride + i];
                for (sum, value) in sums.iter_mut().zip(column) {
                    *sum = factor.mul_add(*value, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let at = row * right.width + lane;
            out[at..at + LANES].copy_from_slice(sums);
        }
    }
}

/// Copies a head's queries, keys and values to where the loops want them, turned to their
/// positions.
#[inline(always)]
fn gather(shape: &Shape, qkv: &[f32], head: usize, tokens: usize, scratch: &mut Scratch) {
    let (size, hidden) = (shape.size, shape.heads * shape.size);
    let (wide, half) = (size.next_multiple_of(LANES), size / 2);
    for token in 0..tokens {
        let at = token * 3 * hidden + head * size;
        let (query, key) = (&qkv[at..at + size], &qkv[at + hidden..at + hidden + size]);
        let target = &mut scratch.queries[token * size..(token + 1) * size];
        let key_row = &mut scratch.key_rows[token * size..(token + 1) * size];
        if shape.rope_theta > 0.0 {
            let rotations = &scratch.rotations[token * half..(token + 1) * half];
            for (i, (cos, sin)) in rotations.iter().enumerate() {
                let (low, high) = (query[i], query[i + half]);
                target[i] = (low * cos - high * sin) * shape.scale;
                target[i + half] = (high * cos + low * sin) * shape.scale;
                let (low, high) = (key[i], key[i + half]);
                key_row[i] = low * cos - high * sin;
                key_row[i + half] = high * cos + low * sin;
            }
        } else {
            for (target, query) in target.iter_mut().zip(query) {
                *target = query * shape.scale;
            }
            copy(key, key_row);
        }
        let value = &qkv[at + 2 * hidden..at + 2 * hidden + size];
        copy(value, &mut scratch.values[token * wide..(token + 1) * wide]);
    }
}

/// Copies a row in whole registers, without a call of `memcpy` for so few numbers.
#[inline(always)]
fn copy(row: &[f32], target: &mut [f32]) {
    let (chunks, rest) = row.as_chunks::<LANES>();
    for (target, chunk) in target.as_chunks_mut::<LANES>().0.iter_mut().zip(chunks) {
        *target = *chunk;
    }
    let done = row.len() - rest.len();
    target[done..row.len()].copy_from_slice(rest);
}

/// Transposes number by number.
#[inline(always)]
fn plain_transpose(rows: Rows<'_>, out: &mut [f32], stride: usize) {
    for (token, row) in rows.values.chunks_exact(rows.width.max(1)).enumerate() {
        for (i, value) in row.iter().enumerate() {
            out[i * stride + token] = *value;
        }
    }
}

/// Turns the scores of some queries from `first` on into weights that are not yet divided by their
/// sums, which it gives. All rows go through each step together, because a row by itself is a chain
/// of steps that wait for each other.
#[inline(always)]
fn softmax(
    shape: &Shape,
    first: usize,
    tokens: usize,
    bias: &[f32],
    rows: &mut [f32],
) -> [f32; ROWS] {
    let padded = tokens.next_multiple_of(LANES);
    let mut largest = [0f32; ROWS];
    for ((row, weights), largest) in rows.chunks_exact_mut(padded).enumerate().zip(&mut largest) {
        let query = first + row;
        if !bias.is_empty() {
            let middle = bias.len() / 2;
            let bias = &bias[middle - query..middle - query + tokens];
            weights.iter_mut().zip(bias).for_each(|(weight, bias)| *weight += bias);
        }
        let (low, high) = seen(shape, query, tokens);
        weights[..low].fill(f32::MIN);
        weights[high..].fill(f32::MIN);
        let mut lanes = [f32::MIN; LANES];
        for chunk in weights.as_chunks::<LANES>().0 {
            for (lane, weight) in lanes.iter_mut().zip(chunk) {
                *lane = if *weight > *lane { *weight } else { *lane };
            }
        }
        *largest = math::largest(lanes);
    }
    for (weights, largest) in rows.chunks_exact_mut(padded).zip(&largest) {
        for weight in weights.as_chunks_mut::<LANES>().0.as_flattened_mut() {
            *weight = math::exp(*weight - largest);
        }
    }
    let mut totals = [1f32; ROWS];
    for ((row, weights), total) in rows.chunks_exact_mut(padded).enumerate().zip(&mut totals) {
        let (low, high) = seen(shape, first + row, tokens);
        weights[..low].fill(0.0);
        weights[high..].fill(0.0);
        let mut sums = [0f32; LANES];
        for chunk in weights.as_chunks::<LANES>().0 {
            sums.iter_mut().zip(chunk).for_each(|(sum, weight)| *sum += weight);
        }
        *total = math::sum(sums);
    }
    totals
}

/// Which keys a query sees: from the first to before the second.
#[inline(always)]
fn seen(shape: &Shape, query: usize, tokens: usize) -> (usize, usize) {
    let (low, high) = match shape.window {
        0 => (0, tokens),
        window => (query.saturating_sub(window), (query + window + 1).min(tokens)),
    };
    if shape.causal { (low, high.min(query + 1)) } else { (low, high) }
}
