//! The arithmetic of `QLinear`: quantises rows, multiplies tiles, applies the function. AVX-512
//! with VNNI where the processor has it, else AVX2, else plain code; all give the same bits.

use super::{LINES, Line, PackedLinear, QuantisedRows};
use crate::ops::level::Level;
use crate::ops::{Function, math};

/// Outputs that are computed together.
pub(super) const PANEL: usize = 32;

/// Rows that are computed together: with two registers of outputs each, they fill the register
/// file.
const TILE_ROWS: usize = 6;

/// `out = function(x · weightsᵀ + bias)`, row by row.
pub(super) fn run(
    level: Level,
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    rows: &mut QuantisedRows,
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::detect` saw the features that the function needs.
        Level::Avx512Vnni => unsafe { run_avx512(linear, x, out, function, rows) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::detect` saw the features that the function needs.
        Level::Avx512 | Level::Avx2 => unsafe { run_avx2(linear, x, out, function, rows) },
        Level::Portable => run_portable(linear, x, out, function, rows),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
fn run_avx512(
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    rows: &mut QuantisedRows,
) {
    quantise(linear, x, rows);
    let count = x.len() / linear.inputs.max(1);
    for panel in 0..linear.outputs.div_ceil(PANEL) {
        let mut row = 0;
        while row < count {
            let taken = TILE_ROWS.min(count - row);
            let mut tile = [[0f32; PANEL]; TILE_ROWS];
            match taken {
                6 => avx512::tile::<6>(linear, rows, row, panel, &mut tile),
                5 => avx512::tile::<5>(linear, rows, row, panel, &mut tile),
                4 => avx512::tile::<4>(linear, rows, row, panel, &mut tile),
                3 => avx512::tile::<3>(linear, rows, row, panel, &mut tile),
                2 => avx512::tile::<2>(linear, rows, row, panel, &mut tile),
                _ => avx512::tile::<1>(linear, rows, row, panel, &mut tile),
            }
            store(linear, &mut tile[..taken], row, panel, out, function);
            row += taken;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2(
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    rows: &mut QuantisedRows,
) {
    body(linear, x, out, function, rows, |values, weights| avx2::dots(values, weights));
}

fn run_portable(
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    rows: &mut QuantisedRows,
) {
    body(linear, x, out, function, rows, plain_dots);
}

/// Row by row. `dots(values, weights)` gives the exact sums of one block of a row against a panel.
#[inline(always)]
fn body(
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    rows: &mut QuantisedRows,
    dots: impl Fn(&[u8], &[Line]) -> [i32; PANEL],
) {
    quantise(linear, x, rows);
    for panel in 0..linear.outputs.div_ceil(PANEL) {
        for row in 0..x.len() / linear.inputs.max(1) {
            let mut tile = [[0f32; PANEL]];
            row_tile(linear, rows, row, panel, &mut tile[0], &dots);
            store(linear, &mut tile, row, panel, out, function);
        }
    }
}

/// Fills `rows` from floats.
#[inline(always)]
fn quantise(linear: &PackedLinear, x: &[f32], rows: &mut QuantisedRows) {
    let (width, blocks) = (linear.groups * 4, x.len() / linear.block.max(1));
    // What an earlier call left between the end of a block and its last group meets weights that
    // are zero.
    rows.values.resize(blocks * width, 0);
    rows.scales.resize(blocks, [0.0; 2]);
    let targets = rows.values.chunks_exact_mut(width).zip(&mut rows.scales);
    for (source, (target, scale)) in x.chunks_exact(linear.block).zip(targets) {
        *scale = quantise_block(source, target);
    }
}

/// One block; gives its scale, and its scale times its zero point.
#[inline(always)]
fn quantise_block(source: &[f32], target: &mut [u8]) -> [f32; 2] {
    let (mut low, mut high) = ([0f32; 16], [0f32; 16]);
    let mut chunks = source.chunks_exact(16);
    for chunk in &mut chunks {
        for lane in 0..16 {
            low[lane] = if chunk[lane] < low[lane] { chunk[lane] } else { low[lane] };
            high[lane] = if chunk[lane] > high[lane] { chunk[lane] } else { high[lane] };
        }
    }
    for (lane, value) in chunks.remainder().iter().enumerate() {
        low[lane] = if *value < low[lane] { *value } else { low[lane] };
        high[lane] = if *value > high[lane] { *value } else { high[lane] };
    }
    let low = -math::largest(low.map(|value| -value));
    let high = math::largest(high);
    let range = high - low;
    if !(range > 0.0 && range.is_finite()) {
        return [0.0; 2];
    }
    let (scale, inverse) = (range / 255.0, 255.0 / range);
    let zero = whole(-low * inverse);
    for (target, value) in target.iter_mut().zip(source) {
        *target = (whole(value * inverse) + zero).clamp(0, 255) as u8;
    }
    [scale, scale * zero as f32]
}

/// The nearest whole number of a value of magnitude below 2²².
#[inline(always)]
fn whole(value: f32) -> i32 {
    ((value + math::ROUNDER).to_bits() as i32).wrapping_sub(math::ROUNDER.to_bits() as i32)
}

/// One row against one panel.
#[inline(always)]
fn row_tile(
    linear: &PackedLinear,
    rows: &QuantisedRows,
    row: usize,
    panel: usize,
    out: &mut [f32; PANEL],
    dots: impl Fn(&[u8], &[Line]) -> [i32; PANEL],
) {
    out.copy_from_slice(&linear.bias[panel * PANEL..(panel + 1) * PANEL]);
    let (width, lines) = (linear.groups * 4, linear.groups * LINES);
    for block in 0..linear.blocks {
        let place = row * linear.blocks + block;
        let values = &rows.values[place * width..(place + 1) * width];
        let at = panel * linear.blocks + block;
        let weights = &linear.values[at * lines..(at + 1) * lines];
        let sums = dots(values, weights);
        let [scale, shift] = rows.scales[place];
        let scales = &linear.scales[at * 2 * PANEL..(at + 1) * 2 * PANEL];
        for lane in 0..PANEL {
            let product = sums[lane] as f32 * scales[lane];
            let kept = product.mul_add(scale, out[lane]);
            out[lane] = scales[PANEL + lane].mul_add(-shift, kept);
        }
    }
}

/// Exact sums in plain loops.
#[inline(always)]
fn plain_dots(values: &[u8], weights: &[Line]) -> [i32; PANEL] {
    let mut sums = [0i32; PANEL];
    for (value, weight) in values.chunks_exact(4).zip(weights.chunks_exact(LINES)) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            let four = &weight[lane / 16].0[lane % 16 * 4..][..4];
            for (value, weight) in value.iter().zip(four) {
                *sum += i32::from(*value) * i32::from(*weight);
            }
        }
    }
    sums
}

/// Applies the function and writes the outputs that exist.
#[inline(always)]
fn store(
    linear: &PackedLinear,
    tile: &mut [[f32; PANEL]],
    first_row: usize,
    panel: usize,
    out: &mut [f32],
    function: Function,
) {
    let start = panel * PANEL;
    let width = PANEL.min(linear.outputs - start);
    for (offset, values) in tile.iter_mut().enumerate() {
        function.apply(values);
        let at = (first_row + offset) * linear.outputs + start;
        match out[at..at + width].first_chunk_mut::<PANEL>() {
            Some(target) => *target = *values,
            None => out[at..at + width].copy_from_slice(&values[..width]),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! Exact sums with products of 16-bit numbers; those of bytes would saturate.

    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_cvtepi8_epi16,
        _mm256_cvtepu8_epi16, _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_permute4x64_epi64,
        _mm256_setzero_si256, _mm256_storeu_si256,
    };

    use super::{LINES, Line, PANEL};

    /// Registers of four outputs each that make a panel.
    const PARTS: usize = PANEL / 4;

    /// One block of a row against a panel.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dots(values: &[u8], weights: &[Line]) -> [i32; PANEL] {
        let mut pairs = [_mm256_setzero_si256(); PARTS];
        for (value, weight) in values.chunks_exact(4).zip(weights.chunks_exact(LINES)) {
            let four = i32::from_le_bytes([value[0], value[1], value[2], value[3]]);
            let four = _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
            for (part, pairs) in pairs.iter_mut().enumerate() {
                let bytes = weight.as_ptr().cast::<__m128i>().wrapping_add(part);
                // SAFETY: `weight` has PARTS times sixteen bytes.
                let wide = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes) });
                *pairs = _mm256_add_epi32(*pairs, _mm256_madd_epi16(four, wide));
            }
        }
        let mut sums = [0i32; PANEL];
        for (target, pairs) in sums.chunks_exact_mut(8).zip(pairs.chunks_exact(2)) {
            // Neighbours are added within each half; the permutation puts the outputs back in
            // order.
            let added = _mm256_hadd_epi32(pairs[0], pairs[1]);
            let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(added);
            // SAFETY: `target` has eight numbers.
            unsafe { _mm256_storeu_si256(target.as_mut_ptr().cast(), ordered) };
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    //! Tiles with `vpdpbusd`: four products of bytes per lane and instruction, summed exactly.

    use std::arch::x86_64::{
        __m512, __m512i, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
        _mm512_fnmadd_ps, _mm512_load_si512, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32,
        _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    };

    use super::{LINES, PANEL, PackedLinear, QuantisedRows, TILE_ROWS};

    /// `M` rows from `row` against one panel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
    pub(super) fn tile<const M: usize>(
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
                    let (factor, offset) =
                        (_mm512_loadu_ps(scale), _mm512_loadu_ps(scale.add(PANEL)));
                    for m in 0..M {
                        let [row_scale, row_shift] = *shifts.get_unchecked(m * blocks + block);
                        let product = _mm512_mul_ps(_mm512_cvtepi32_ps(exact[m][half]), factor);
                        let kept =
                            _mm512_fmadd_ps(product, _mm512_set1_ps(row_scale), sums[m][half]);
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
}
