//! The arithmetic of `QLinear`: quantises rows, multiplies tiles, applies the function. VNNI in 512
//! or 256 bits where the processor has it, else AVX2, else plain code; all give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;

use sembla_processor::{InstructionSet, Level};

use super::{LINES, Line, PackedLinear};
use crate::ops::{Function, math};

/// Outputs that are packed together.
pub(super) const PANEL: usize = 32;

/// Rows of activations in 8 bits, and what a level makes of them. Kept between calls, so that its
/// memory is.
#[derive(Default)]
pub(crate) struct Scratch {
    rows: QuantisedRows,
    #[cfg(target_arch = "x86_64")]
    wide: avx2::Wide,
}

/// Rows of activations in 8 bits.
#[derive(Default)]
struct QuantisedRows {
    /// `rows × blocks × groups × 4`.
    values: Vec<u8>,
    /// `rows × blocks × (scale, scale × zero point)`.
    scales: Vec<[f32; 2]>,
}

/// `out = function(x · weightsᵀ + bias)`, row by row.
pub(super) fn run(
    level: Level,
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    scratch: &mut Scratch,
) {
    match level.instructions() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is one that the processor has.
        InstructionSet::Avx512Vnni => unsafe {
            avx512::run(linear, x, out, function, &mut scratch.rows)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is one that the processor has, in one of the two encodings.
        InstructionSet::AvxVnni => unsafe {
            match sembla_processor::has_avx_vnni() {
                true => avxvnni::vex::run(linear, x, out, function, &mut scratch.rows),
                false => avxvnni::evex::run(linear, x, out, function, &mut scratch.rows),
            }
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is one that the processor has, and these include AVX2 and FMA.
        InstructionSet::Avx512 | InstructionSet::Avx2 => unsafe {
            avx2::run(linear, x, out, function, scratch)
        },
        _ => run_plain(linear, x, out, function, &mut scratch.rows),
    }
}

/// Row by row.
#[inline(never)]
fn run_plain(
    linear: &PackedLinear,
    x: &[f32],
    out: &mut [f32],
    function: Function,
    rows: &mut QuantisedRows,
) {
    quantise(linear, x, rows, quantise_block);
    for panel in 0..linear.outputs.div_ceil(PANEL) {
        for row in 0..x.len() / linear.inputs.max(1) {
            let mut tile = [[0f32; PANEL]];
            plain_tile(linear, rows, row, panel, &mut tile[0]);
            store(linear, &mut tile, row, panel * PANEL, out, function);
        }
    }
}

/// Fills `rows` from floats; `one` is [`quantise_block`] as a level does it.
#[inline(always)]
fn quantise(
    linear: &PackedLinear,
    x: &[f32],
    rows: &mut QuantisedRows,
    one: impl Fn(&[f32], &mut [u8]) -> [f32; 2],
) {
    let (width, blocks) = (linear.groups * 4, x.len() / linear.block.max(1));
    // What an earlier call left between the end of a block and its last group meets weights that
    // are zero.
    rows.values.resize(blocks * width, 0);
    rows.scales.resize(blocks, [0.0; 2]);
    let targets = rows.values.chunks_exact_mut(width).zip(&mut rows.scales);
    for (source, (target, scale)) in x.chunks_exact(linear.block).zip(targets) {
        *scale = one(source, target);
    }
}

/// One block; gives its scale, and its scale times its zero point. Plain code; what compilers make
/// of it for wide registers took twice as long as the instructions written out.
#[inline(always)]
fn quantise_block(source: &[f32], target: &mut [u8]) -> [f32; 2] {
    let (low, high) = bounds(source, (0.0, 0.0));
    let Some(range) = Range::of(low, high) else { return [0.0; 2] };
    range.quantise(source, target);
    range.scales()
}

/// The least and the largest of two bounds and some values; what is no number doesn't count.
#[inline(always)]
fn bounds(values: &[f32], (mut low, mut high): (f32, f32)) -> (f32, f32) {
    for value in values {
        low = if *value < low { *value } else { low };
        high = if *value > high { *value } else { high };
    }
    (low, high)
}

/// How the values of a block become whole numbers.
#[derive(Clone, Copy)]
struct Range {
    scale: f32,
    /// What values are multiplied by.
    inverse: f32,
    /// The whole number of zero.
    zero: i32,
}

impl Range {
    /// The range from `low`, at most 0, to `high`, at least 0. `None` where all values are 0, or
    /// not finite.
    #[inline(always)]
    fn of(low: f32, high: f32) -> Option<Self> {
        let range = high - low;
        if !(range > 0.0 && range.is_finite()) {
            return None;
        }
        let inverse = 255.0 / range;
        Some(Self { scale: range / 255.0, inverse, zero: whole(-low * inverse) })
    }

    /// The scale, and the scale times the zero point.
    #[inline(always)]
    fn scales(self) -> [f32; 2] {
        [self.scale, self.scale * self.zero as f32]
    }

    /// What is added to the bits of a value that was multiplied and rounded by
    /// [`math::ROUNDER`], so that its whole number is left.
    #[inline(always)]
    fn offset(self) -> i32 {
        self.zero.wrapping_sub(math::ROUNDER.to_bits() as i32)
    }

    #[inline(always)]
    fn quantise(self, source: &[f32], target: &mut [u8]) {
        for (target, value) in target.iter_mut().zip(source) {
            *target = (whole(value * self.inverse) + self.zero).clamp(0, 255) as u8;
        }
    }
}

/// The nearest whole number of a value of magnitude below 2²².
#[inline(always)]
fn whole(value: f32) -> i32 {
    ((value + math::ROUNDER).to_bits() as i32).wrapping_sub(math::ROUNDER.to_bits() as i32)
}

/// One row against one panel.
#[inline(always)]
fn plain_tile(
    linear: &PackedLinear,
    rows: &QuantisedRows,
    row: usize,
    panel: usize,
    out: &mut [f32; PANEL],
) {
    out.copy_from_slice(&linear.bias[panel * PANEL..(panel + 1) * PANEL]);
    let (width, lines) = (linear.groups * 4, linear.groups * LINES);
    for block in 0..linear.blocks {
        let place = row * linear.blocks + block;
        let values = &rows.values[place * width..(place + 1) * width];
        let at = panel * linear.blocks + block;
        let weights = &linear.values[at * lines..(at + 1) * lines];
        let sums = plain_dots(values, weights);
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

/// Applies the function and writes the outputs that exist, `N` from `start` on.
#[inline(always)]
fn store<const N: usize>(
    linear: &PackedLinear,
    tile: &mut [[f32; N]],
    first_row: usize,
    start: usize,
    out: &mut [f32],
    function: Function,
) {
    let width = N.min(linear.outputs - start);
    function.apply(tile.as_flattened_mut());
    for (offset, values) in tile.iter().enumerate() {
        let at = (first_row + offset) * linear.outputs + start;
        let target = &mut out[at..at + width];
        match target.first_chunk_mut::<N>() {
            Some(target) => *target = *values,
            None => copy_tail(values, target),
        }
    }
}

/// Copies as many values as there is room for. Inlined, the compiler would make one call of
/// `memcpy` of this and of the copy of a known size beside it: a seventh of the time of a layer.
#[cold]
#[inline(never)]
fn copy_tail(values: &[f32], target: &mut [f32]) {
    target.copy_from_slice(&values[..target.len()]);
}
