//! Tiles with `vpmaddwd`, exact products of 16-bit numbers, and half as many of them as there are
//! products (Winograd, 1968):
//!
//! `x0·y0 + x1·y1 = (x0 + y1)·(x1 + y0) - x0·x1 - y0·y1`
//!
//! The last two terms depend on one side alone and are summed once per row and once per output.
//! Additions of 16-bit numbers are cheaper than multiplications, so this is faster than
//! `vpmaddwd` alone, which is faster than floats: 210, 180 and 115 Gop/s from registers and the
//! first-level cache of a Zen 4 core. `vpmaddubsw` multiplies bytes, but would saturate; moving
//! the signs so that it can't costs one instruction more than it saves (150 Gop/s).

use std::arch::x86_64::*;

use super::{LINES, Line, PANEL, PackedLinear, QuantisedRows, Scratch, quantise, store};
use crate::ops::Function;

/// Outputs that are computed together: two registers.
const OUTPUTS: usize = 16;

/// Rows that are computed together: with their sums, weights and factors they fill the register
/// file.
const TILE_ROWS: usize = 4;

/// Groups of four inputs whose weights are widened together, unless a block has more: 16 kB, half
/// of the first-level cache.
const GROUPS_MAX: usize = 128;

/// Weights of sixteen outputs for a group of four inputs `y0..y3`, in 16 bits: of outputs 0 to 7
/// all `[y1, y3]`, then all `[y0, y2]`; then those of outputs 8 to 15.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct WideLine([i16; 64]);

/// What this level computes with.
#[derive(Default)]
pub(super) struct Wide {
    /// Activations in 16 bits, `rows × blocks × groups × [x0, x2, x1, x3]`.
    rows: Vec<[i16; 4]>,
    /// `rows × blocks` sums of `x0·x1 + x2·x3`.
    row_products: Vec<i32>,
    /// Weights of some blocks and of the outputs at hand, `blocks × groups`.
    weights: Vec<WideLine>,
    /// Per block of those and output, the sum of `-(y0·y1 + y2·y3)`.
    starts: Vec<[i32; OUTPUTS]>,
    /// Per row the sums so far.
    sums: Vec<[f32; OUTPUTS]>,
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn run(
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    scratch: &mut Scratch,
) {
    let Scratch { rows, wide } = scratch;
    quantise(linear, x, rows);
    widen_rows(linear, &rows.values, wide);
    let count = x.len() / linear.inputs.max(1);
    let step = (GROUPS_MAX / linear.groups.max(1)).max(1);
    for first in (0..linear.outputs).step_by(OUTPUTS) {
        let bias = linear.bias[first..].first_chunk().copied().unwrap_or_default();
        wide.sums.clear();
        wide.sums.resize(count, bias);
        for block in (0..linear.blocks).step_by(step) {
            let blocks = step.min(linear.blocks - block);
            widen_weights(linear, first, block, blocks, wide);
            let part = Part { linear, first, block, blocks };
            for row in (0..count).step_by(TILE_ROWS) {
                match count - row {
                    1 => tile::<1>(part, rows, wide, row),
                    2 => tile::<2>(part, rows, wide, row),
                    3 => tile::<3>(part, rows, wide, row),
                    _ => tile::<TILE_ROWS>(part, rows, wide, row),
                }
            }
        }
        for (tile, sums) in wide.sums.chunks_mut(TILE_ROWS).enumerate() {
            store(linear, sums, tile * TILE_ROWS, first, out, function);
        }
    }
}

/// Fills `rows` and `row_products`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn widen_rows(linear: &PackedLinear, values: &[u8], wide: &mut Wide) {
    // Bytes 0, 2, 1, 3 of each four.
    let order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    let groups = linear.groups.max(1);
    wide.rows.resize(values.len() / 4, [0; 4]);
    wide.row_products.resize(wide.rows.len() / groups, 0);
    let blocks = values.chunks_exact(groups * 4).zip(wide.rows.chunks_exact_mut(groups));
    for ((values, targets), products) in blocks.zip(&mut wide.row_products) {
        let mut sums = _mm256_setzero_si256();
        let (sixteens, rest) = values.as_chunks::<16>();
        let (fours, rest_targets) = targets.as_chunks_mut::<4>();
        for (sixteen, four) in sixteens.iter().zip(fours) {
            // SAFETY: there are sixteen bytes, and room for as many 16-bit numbers.
            unsafe {
                let bytes = _mm_shuffle_epi8(_mm_loadu_si128(sixteen.as_ptr().cast()), order);
                let words = _mm256_cvtepu8_epi16(bytes);
                _mm256_storeu_si256(four.as_mut_ptr().cast(), words);
                let swapped = _mm256_shuffle_epi32::<0b10_11_00_01>(words);
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(words, swapped));
            }
        }
        let mut lanes = [0i32; 8];
        // SAFETY: there are eight lanes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
        // Each sum is there twice.
        *products = lanes[0] + lanes[2] + lanes[4] + lanes[6];
        for (x, target) in rest.as_chunks::<4>().0.iter().zip(rest_targets) {
            *target = [x[0], x[2], x[1], x[3]].map(i16::from);
            *products += i32::from(x[0]) * i32::from(x[1]) + i32::from(x[2]) * i32::from(x[3]);
        }
    }
}

/// Fills `weights` and `starts` with those of sixteen outputs from `first` on and of so many blocks
/// from `block` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn widen_weights(
    linear: &PackedLinear,
    first: usize,
    block: usize,
    blocks: usize,
    wide: &mut Wide,
) {
    // Of each four bytes those at 1 and 3, then those at 0 and 2.
    let order = _mm256_setr_epi8(
        1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4,
        6, 8, 10, 12, 14,
    );
    let (panel, line) = (first / PANEL, first % PANEL / OUTPUTS);
    let groups = linear.groups.max(1);
    let from = (panel * linear.blocks + block) * groups * LINES;
    let lines = &linear.values[from..from + blocks * groups * LINES];
    wide.weights.resize(blocks * groups, WideLine([0; 64]));
    wide.starts.resize(blocks, [0; OUTPUTS]);
    let targets = wide.weights.chunks_exact_mut(groups).zip(&mut wide.starts);
    for (lines, (targets, starts)) in lines.chunks_exact(groups * LINES).zip(targets) {
        let mut sums = [_mm256_setzero_si256(); 2];
        for (lines, target) in lines.as_chunks::<LINES>().0.iter().zip(targets) {
            let Line(bytes) = &lines[line];
            for (half, sums) in sums.iter_mut().enumerate() {
                // SAFETY: a line has two registers of bytes, a wide line four of 16-bit numbers.
                unsafe {
                    let bytes = _mm256_loadu_si256(bytes.as_ptr().add(half * 32).cast());
                    let sorted = _mm256_shuffle_epi8(bytes, order);
                    let sorted = _mm256_permute4x64_epi64::<0b11_01_10_00>(sorted);
                    let odd = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(sorted));
                    let even = _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(sorted));
                    let at = target.0.as_mut_ptr().add(half * 32);
                    _mm256_store_si256(at.cast(), odd);
                    _mm256_store_si256(at.add(16).cast(), even);
                    *sums = _mm256_sub_epi32(*sums, _mm256_madd_epi16(odd, even));
                }
            }
        }
        // SAFETY: there are two registers of outputs.
        unsafe {
            _mm256_storeu_si256(starts.as_mut_ptr().cast(), sums[0]);
            _mm256_storeu_si256(starts.as_mut_ptr().add(8).cast(), sums[1]);
        }
    }
}

/// What is computed at a time: sixteen outputs over some blocks of inputs.
#[derive(Clone, Copy)]
struct Part<'a> {
    linear: &'a PackedLinear,
    /// The first output.
    first: usize,
    /// The first block, and how many.
    block: usize,
    blocks: usize,
}

/// Adds the products of `M` rows from `row` on to their sums.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn tile<const M: usize>(part: Part<'_>, rows: &QuantisedRows, wide: &mut Wide, row: usize) {
    let Part { linear, first, block, blocks } = part;
    let (groups, all) = (linear.groups, linear.blocks);
    // The slices hold every element that the pointers below reach; taking them checks it once per
    // tile.
    let activations = &wide.rows[row * all * groups..(row + M) * all * groups];
    let products = &wide.row_products[row * all..(row + M) * all];
    let shifts = &rows.scales[row * all..(row + M) * all];
    let weights = &wide.weights[..blocks * groups];
    let starts = &wide.starts[..blocks];
    let scales = (first / PANEL * all + block) * 2 * PANEL;
    let scales = &linear.scales[scales..scales + blocks * 2 * PANEL];
    let sums = &mut wide.sums[row..row + M];
    for at in 0..blocks {
        let mut exact = [[_mm256_setzero_si256(); 2]; M];
        // SAFETY: all offsets stay inside the slices above: rows below M, blocks from `block` to
        // `block + blocks`, which is at most `all`, and groups below `groups`.
        unsafe {
            let start = starts.as_ptr().add(at).cast::<__m256i>();
            let start = [_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))];
            for (m, exact) in exact.iter_mut().enumerate() {
                let product = _mm256_set1_epi32(*products.as_ptr().add(m * all + block + at));
                *exact = [_mm256_sub_epi32(start[0], product), _mm256_sub_epi32(start[1], product)];
            }
            let weight = weights.as_ptr().add(at * groups).cast::<__m256i>();
            let value = activations.as_ptr().add((block + at) * groups).cast::<i32>();
            for group in 0..groups {
                let weight = weight.add(group * 4);
                let odd = [_mm256_load_si256(weight), _mm256_load_si256(weight.add(2))];
                let even = [_mm256_load_si256(weight.add(1)), _mm256_load_si256(weight.add(3))];
                for (m, exact) in exact.iter_mut().enumerate() {
                    let value = value.add((m * all * groups + group) * 2);
                    let first = _mm256_set1_epi32(value.read_unaligned());
                    let second = _mm256_set1_epi32(value.add(1).read_unaligned());
                    for half in 0..2 {
                        let left = _mm256_add_epi16(first, odd[half]);
                        let right = _mm256_add_epi16(second, even[half]);
                        let product = _mm256_madd_epi16(left, right);
                        exact[half] = _mm256_add_epi32(exact[half], product);
                    }
                }
            }
            let scale = scales.as_ptr().add(at * 2 * PANEL + first % PANEL);
            for (m, (exact, sums)) in exact.iter().zip(sums.iter_mut()).enumerate() {
                let [row_scale, row_shift] = *shifts.get_unchecked(m * all + block + at);
                let (row_scale, row_shift) = (_mm256_set1_ps(row_scale), _mm256_set1_ps(row_shift));
                for (half, exact) in exact.iter().enumerate() {
                    let factor = _mm256_loadu_ps(scale.add(half * 8));
                    let offset = _mm256_loadu_ps(scale.add(half * 8 + PANEL));
                    let target = sums.as_mut_ptr().add(half * 8);
                    let product = _mm256_mul_ps(_mm256_cvtepi32_ps(*exact), factor);
                    let kept = _mm256_fmadd_ps(product, row_scale, _mm256_loadu_ps(target));
                    _mm256_storeu_ps(target, _mm256_fnmadd_ps(offset, row_shift, kept));
                }
            }
        }
    }
}
