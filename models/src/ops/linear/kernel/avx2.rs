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

use super::{
    LINES, Line, PANEL, PackedLinear, QuantisedRows, Range, Scratch, bounds, quantise, store,
};
use crate::ops::{Function, math};

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

/// What this level computes with. Rows lie in tiles, so that a tile reads one stream of memory; the
/// last tile has room for rows that aren't there.
#[derive(Default)]
pub(super) struct Wide {
    /// Activations in 16 bits, `tiles × blocks × groups` of `[x0, x2, x1, x3]` per row.
    rows: Vec<[[i16; 4]; TILE_ROWS]>,
    /// `tiles × blocks` sums of `x0·x1 + x2·x3` per row.
    row_products: Vec<[i32; TILE_ROWS]>,
    /// `tiles × blocks` of `(scale, scale × zero point)` per row.
    row_scales: Vec<[[f32; 2]; TILE_ROWS]>,
    /// Weights of some blocks and of the outputs at hand, `blocks × groups`.
    weights: Vec<WideLine>,
    /// Per block of those and output, the sum of `-(y0·y1 + y2·y3)`.
    starts: Vec<[i32; OUTPUTS]>,
    /// The sums so far, where the blocks don't fit into the first-level cache together.
    sums: Vec<Sums>,
}

/// The sums of a tile.
type Sums = [[f32; OUTPUTS]; TILE_ROWS];

#[target_feature(enable = "avx2,fma")]
pub(super) fn run(
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    scratch: &mut Scratch,
) {
    let Scratch { rows, wide } = scratch;
    quantise(linear, x, rows, |source, target| quantise_block(source, target));
    widen_rows(linear, rows, wide);
    let count = x.len() / linear.inputs.max(1);
    let step = (GROUPS_MAX / linear.groups.max(1)).max(1);
    wide.sums.resize(count.div_ceil(TILE_ROWS), [[0.0; OUTPUTS]; TILE_ROWS]);
    for first in (0..linear.outputs).step_by(OUTPUTS) {
        let bias: [f32; OUTPUTS] = linear.bias[first..].first_chunk().copied().unwrap_or_default();
        for block in (0..linear.blocks).step_by(step) {
            let blocks = step.min(linear.blocks - block);
            widen_weights(linear, first, block, blocks, wide);
            let part = Part { linear, first, block, blocks };
            for (at, row) in (0..count).step_by(TILE_ROWS).enumerate() {
                let mut sums = if block == 0 { [bias; TILE_ROWS] } else { wide.sums[at] };
                let taken = TILE_ROWS.min(count - row);
                match taken {
                    1 => tile::<1>(part, wide, at, &mut sums),
                    2 => tile::<2>(part, wide, at, &mut sums),
                    3 => tile::<3>(part, wide, at, &mut sums),
                    _ => tile::<TILE_ROWS>(part, wide, at, &mut sums),
                }
                if block + blocks < linear.blocks {
                    wide.sums[at] = sums;
                } else {
                    store(linear, &mut sums[..taken], row, first, out, function);
                }
            }
        }
    }
}

/// One block, with the bits of the plain code.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn quantise_block(source: &[f32], target: &mut [u8]) -> [f32; 2] {
    let (chunks, rest) = source.as_chunks::<32>();
    let (mut low, mut high) = (_mm256_setzero_ps(), _mm256_setzero_ps());
    for values in chunks.as_flattened().as_chunks::<8>().0 {
        // SAFETY: there are eight values.
        let values = unsafe { _mm256_loadu_ps(values.as_ptr()) };
        // Of a value that is no number and a bound, these give the bound.
        low = _mm256_min_ps(values, low);
        high = _mm256_max_ps(values, high);
    }
    let (mut lows, mut highs) = ([0f32; 8], [0f32; 8]);
    // SAFETY: there are eight lanes each.
    unsafe {
        _mm256_storeu_ps(lows.as_mut_ptr(), low);
        _mm256_storeu_ps(highs.as_mut_ptr(), high);
    }
    let (low, high) = bounds(&highs, bounds(&lows, bounds(rest, (0.0, 0.0))));
    let Some(range) = Range::of(low, high) else { return [0.0; 2] };
    let (inverse, rounder) = (_mm256_set1_ps(range.inverse), _mm256_set1_ps(math::ROUNDER));
    let offset = _mm256_set1_epi32(range.offset());
    // Numbers are packed within the halves of a register.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let (targets, rest_target) = target.split_at_mut(chunks.len() * 32);
    for (target, chunk) in targets.as_chunks_mut::<32>().0.iter_mut().zip(chunks) {
        let mut whole = [_mm256_setzero_si256(); 4];
        for (whole, values) in whole.iter_mut().zip(chunk.as_chunks::<8>().0) {
            // SAFETY: there are eight values.
            let values = _mm256_mul_ps(unsafe { _mm256_loadu_ps(values.as_ptr()) }, inverse);
            let bits = _mm256_castps_si256(_mm256_add_ps(values, rounder));
            *whole = _mm256_add_epi32(bits, offset);
        }
        let low = _mm256_packs_epi32(whole[0], whole[1]);
        let high = _mm256_packs_epi32(whole[2], whole[3]);
        let bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
        // SAFETY: there are 32 bytes.
        unsafe { _mm256_storeu_si256(target.as_mut_ptr().cast(), bytes) };
    }
    range.quantise(rest, rest_target);
    range.scales()
}

/// Fills what `wide` has of the rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn widen_rows(linear: &PackedLinear, rows: &QuantisedRows, wide: &mut Wide) {
    let (groups, blocks) = (linear.groups.max(1), linear.blocks.max(1));
    let tiles = (rows.scales.len() / blocks).div_ceil(TILE_ROWS);
    wide.rows.resize(tiles * blocks * groups, [[0; 4]; TILE_ROWS]);
    wide.row_products.resize(tiles * blocks, [0; TILE_ROWS]);
    wide.row_scales.resize(tiles * blocks, [[0.0; 2]; TILE_ROWS]);
    let all = rows.values.chunks_exact(groups * 4).zip(&rows.scales).enumerate();
    for (number, (values, scales)) in all {
        let (row, block) = (number / blocks, number % blocks);
        let (at, place) = (row / TILE_ROWS * blocks + block, row % TILE_ROWS);
        let targets = &mut wide.rows[at * groups..(at + 1) * groups];
        wide.row_products[at][place] = widen_block(values, targets, place);
        wide.row_scales[at][place] = *scales;
    }
}

/// Widens one block of a row into its place in the tile; gives the sum of `x0·x1 + x2·x3`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn widen_block(values: &[u8], targets: &mut [[[i16; 4]; TILE_ROWS]], place: usize) -> i32 {
    // Bytes 0, 2, 1, 3 of each four.
    let order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    let mut sums = _mm256_setzero_si256();
    let (sixteens, rest) = values.as_chunks::<16>();
    let (fours, rest_targets) = targets.as_chunks_mut::<4>();
    for (sixteen, four) in sixteens.iter().zip(fours) {
        let mut wide = [[0i16; 4]; 4];
        // SAFETY: there are sixteen bytes, and room for as many 16-bit numbers.
        unsafe {
            let bytes = _mm_shuffle_epi8(_mm_loadu_si128(sixteen.as_ptr().cast()), order);
            let words = _mm256_cvtepu8_epi16(bytes);
            _mm256_storeu_si256(wide.as_mut_ptr().cast(), words);
            let swapped = _mm256_shuffle_epi32::<0b10_11_00_01>(words);
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(words, swapped));
        }
        for (target, group) in four.iter_mut().zip(wide) {
            target[place] = group;
        }
    }
    let mut lanes = [0i32; 8];
    // SAFETY: there are eight lanes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
    // Each sum is there twice.
    let mut products = lanes[0] + lanes[2] + lanes[4] + lanes[6];
    for (x, target) in rest.as_chunks::<4>().0.iter().zip(rest_targets) {
        target[place] = [x[0], x[2], x[1], x[3]].map(i16::from);
        products += i32::from(x[0]) * i32::from(x[1]) + i32::from(x[2]) * i32::from(x[3]);
    }
    products
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

/// Adds the products of the first `M` rows of a tile to their sums.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn tile<const M: usize>(part: Part<'_>, wide: &Wide, tile: usize, sums: &mut Sums) {
    let Part { linear, first, block, blocks } = part;
    let (groups, all) = (linear.groups, linear.blocks);
    // The slices hold every element that the pointers below reach; taking them checks it once per
    // tile.
    let from = tile * all + block;
    let activations = &wide.rows[from * groups..(from + blocks) * groups];
    let products = &wide.row_products[from..from + blocks];
    let shifts = &wide.row_scales[from..from + blocks];
    let weights = &wide.weights[..blocks * groups];
    let starts = &wide.starts[..blocks];
    let scales = (first / PANEL * all + block) * 2 * PANEL;
    let scales = &linear.scales[scales..scales + blocks * 2 * PANEL];
    for at in 0..blocks {
        let mut exact = [[_mm256_setzero_si256(); 2]; M];
        // SAFETY: all offsets stay inside the slices above: rows below M, which is at most
        // TILE_ROWS, blocks below `blocks`, and groups below `groups`.
        unsafe {
            let start = starts.as_ptr().add(at).cast::<__m256i>();
            let start = [_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))];
            for (exact, product) in exact.iter_mut().zip(&products[at]) {
                let product = _mm256_set1_epi32(*product);
                *exact = [_mm256_sub_epi32(start[0], product), _mm256_sub_epi32(start[1], product)];
            }
            let weight = weights.as_ptr().add(at * groups).cast();
            let value = activations.as_ptr().add(at * groups).cast();
            // Two groups a turn: what counts the turns takes a tenth of one.
            for pair in 0..groups / 2 {
                group(weight, value, pair * 2, &mut exact);
                group(weight, value, pair * 2 + 1, &mut exact);
            }
            if groups % 2 > 0 {
                group(weight, value, groups - 1, &mut exact);
            }
            let scale = scales.as_ptr().add(at * 2 * PANEL + first % PANEL);
            for ((exact, sums), shifts) in exact.iter().zip(sums.iter_mut()).zip(&shifts[at]) {
                let [row_scale, row_shift] = *shifts;
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

/// Adds the products of one group of inputs.
///
/// # Safety
/// `weight` and `value` point to more than `at` groups, and `M` is at most [`TILE_ROWS`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn group<const M: usize>(
    weight: *const __m256i,
    value: *const i32,
    at: usize,
    exact: &mut [[__m256i; 2]; M],
) {
    // SAFETY: the caller's promise: a group has four registers of weights, and for each row of a
    // tile two pairs of activations.
    unsafe {
        let weight = weight.add(at * 4);
        let odd = [_mm256_load_si256(weight), _mm256_load_si256(weight.add(2))];
        let even = [_mm256_load_si256(weight.add(1)), _mm256_load_si256(weight.add(3))];
        for (m, exact) in exact.iter_mut().enumerate() {
            let value = value.add((at * TILE_ROWS + m) * 2);
            let first = _mm256_set1_epi32(value.read_unaligned());
            let second = _mm256_set1_epi32(value.add(1).read_unaligned());
            for half in 0..2 {
                let left = _mm256_add_epi16(first, odd[half]);
                let right = _mm256_add_epi16(second, even[half]);
                exact[half] = _mm256_add_epi32(exact[half], _mm256_madd_epi16(left, right));
            }
        }
    }
}
