//! Tiles with `vpdpbusd`: four products of bytes per lane and instruction, summed exactly.

use std::arch::x86_64::*;

use super::{LINES, PANEL, PackedLinear, QuantisedRows, Range, bounds, quantise, store};
use crate::ops::{Function, math};

/// Rows that are computed together: with two registers of outputs each, they fill the register
/// file.
const TILE_ROWS: usize = 6;

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
pub(super) fn run(
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    rows: &mut QuantisedRows,
) {
    quantise(linear, x, rows, |source, target| quantise_block(source, target));
    let count = x.len() / linear.inputs.max(1);
    for panel in 0..linear.outputs.div_ceil(PANEL) {
        let mut row = 0;
        while row < count {
            let taken = TILE_ROWS.min(count - row);
            let mut tile_sums = [[0f32; PANEL]; TILE_ROWS];
            match taken {
                6 => tile::<6>(linear, rows, row, panel, &mut tile_sums),
                5 => tile::<5>(linear, rows, row, panel, &mut tile_sums),
                4 => tile::<4>(linear, rows, row, panel, &mut tile_sums),
                3 => tile::<3>(linear, rows, row, panel, &mut tile_sums),
                2 => tile::<2>(linear, rows, row, panel, &mut tile_sums),
                _ => tile::<1>(linear, rows, row, panel, &mut tile_sums),
            }
            store(linear, &mut tile_sums[..taken], row, panel * PANEL, out, function);
            row += taken;
        }
    }
}

/// One block, with the bits of the plain code.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
fn quantise_block(source: &[f32], target: &mut [u8]) -> [f32; 2] {
    let (chunks, rest) = source.as_chunks::<16>();
    let (mut low, mut high) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    for chunk in chunks {
        // SAFETY: a chunk is one register.
        let values = unsafe { _mm512_loadu_ps(chunk.as_ptr()) };
        // Of a value that is no number and a bound, these give the bound.
        low = _mm512_min_ps(values, low);
        high = _mm512_max_ps(values, high);
    }
    let (low, high) = bounds(rest, (_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high)));
    let Some(range) = Range::of(low, high) else { return [0.0; 2] };
    let inverse = _mm512_set1_ps(range.inverse);
    let (rounder, offset) = (_mm512_set1_ps(math::ROUNDER), _mm512_set1_epi32(range.offset()));
    let (targets, rest_target) = target.split_at_mut(chunks.len() * 16);
    for (target, chunk) in targets.as_chunks_mut::<16>().0.iter_mut().zip(chunks) {
        // SAFETY: a chunk is one register, and becomes sixteen bytes.
        unsafe {
            let values = _mm512_mul_ps(_mm512_loadu_ps(chunk.as_ptr()), inverse);
            let bits = _mm512_castps_si512(_mm512_add_ps(values, rounder));
            let whole = _mm512_max_epi32(_mm512_add_epi32(bits, offset), _mm512_setzero_si512());
            _mm_storeu_si128(target.as_mut_ptr().cast(), _mm512_cvtusepi32_epi8(whole));
        }
    }
    range.quantise(rest, rest_target);
    range.scales()
}

/// `M` rows from `row` against one panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
fn tile<const M: usize>(
    linear: &PackedLinear,
    rows: &QuantisedRows,
    row: usize,
    panel: usize,
    out: &mut [[f32; PANEL]; TILE_ROWS],
) {
    let (blocks, groups) = (linear.blocks, linear.groups);
    let (width, lines) = (groups * 4, groups * LINES);
    // The slices hold every element that the pointers below reach; taking them checks it once
    // per tile.
    let activations = &rows.values[row * blocks * width..(row + M) * blocks * width];
    let shifts = &rows.scales[row * blocks..(row + M) * blocks];
    let weights = &linear.values[panel * blocks * lines..(panel + 1) * blocks * lines];
    let scales = &linear.scales[panel * blocks * 2 * PANEL..(panel + 1) * blocks * 2 * PANEL];
    let bias = &linear.bias[panel * PANEL..(panel + 1) * PANEL];
    // SAFETY: a panel is two registers wide; all offsets stay inside the slices above: rows
    // below M, blocks below `blocks`, groups below `groups`. Loads and stores are unaligned
    // ones.
    unsafe {
        let halves = [_mm512_loadu_ps(bias.as_ptr()), _mm512_loadu_ps(bias.as_ptr().add(16))];
        let mut sums: [[__m512; 2]; M] = [halves; M];
        for block in 0..blocks {
            let mut exact: [[__m512i; 2]; M] = [[_mm512_setzero_si512(); 2]; M];
            let weight = weights.as_ptr().add(block * lines);
            let value = activations.as_ptr().add(block * width);
            for group in 0..groups {
                let at = weight.add(group * LINES);
                let low = _mm512_load_si512(at.cast());
                let high = _mm512_load_si512(at.add(1).cast());
                for (m, exact) in exact.iter_mut().enumerate() {
                    let four = value.add(m * blocks * width + group * 4);
                    let four = _mm512_set1_epi32(four.cast::<i32>().read_unaligned());
                    exact[0] = _mm512_dpbusd_epi32(exact[0], four, low);
                    exact[1] = _mm512_dpbusd_epi32(exact[1], four, high);
                }
            }
            for half in 0..2 {
                let scale = scales.as_ptr().add(block * 2 * PANEL + half * 16);
                let (factor, offset) = (_mm512_loadu_ps(scale), _mm512_loadu_ps(scale.add(PANEL)));
                for m in 0..M {
                    let [row_scale, row_shift] = *shifts.get_unchecked(m * blocks + block);
                    let product = _mm512_mul_ps(_mm512_cvtepi32_ps(exact[m][half]), factor);
                    let kept = _mm512_fmadd_ps(product, _mm512_set1_ps(row_scale), sums[m][half]);
                    sums[m][half] = _mm512_fnmadd_ps(offset, _mm512_set1_ps(row_shift), kept);
                }
            }
        }
        for m in 0..M {
            _mm512_storeu_ps(out[m].as_mut_ptr(), sums[m][0]);
            _mm512_storeu_ps(out[m].as_mut_ptr().add(16), sums[m][1]);
        }
    }
}
