//! A perceptual hash: pictures that look the same have the same hash, or nearly.
//!
//! It is pHash as the Python library `imagehash` has it: the picture in grey at 32 × 32, its cosine
//! transform, and for each of the 8 × 8 lowest frequencies whether it is above their median.

use std::f64::consts::PI;

use super::Pixels;
use super::resize::{Filter, Window, resize};

/// Bits of a hash.
pub const HASH_BITS: u32 = 64;

/// Pixels on a side that the transform sees.
const SIDE: usize = 32;

/// Frequencies on a side that are kept.
const KEPT: usize = 8;

/// The hash of an image. The number of different bits of two hashes says how different they look:
/// 0 is a copy, another size or another quality of the same picture, about 32 is no relation.
pub fn perceptual_hash(pixels: &Pixels) -> u64 {
    let grey = grey(pixels);
    let window = Window::whole(SIDE, SIDE);
    let small = resize(&grey, (SIDE as u64, SIDE as u64), window, Filter::Lanczos);
    let values: Vec<f64> = small.chunks_exact(3).map(|pixel| f64::from(pixel[0])).collect();
    // What rounding leaves of a frequency that is not there would make the hash of a picture of one
    // colour a matter of chance.
    let settled = |value: f64| if value.abs() < 1e-6 { 0.0 } else { value };
    let low: Vec<f64> = frequencies(&values).into_iter().map(settled).collect();
    let mut sorted = low.clone();
    sorted.sort_by(f64::total_cmp);
    let median = (sorted[KEPT * KEPT / 2 - 1] + sorted[KEPT * KEPT / 2]) / 2.0;
    low.iter().fold(0, |bits, value| bits << 1 | u64::from(*value > median))
}

/// The picture in grey, as Pillow's `convert("L")` has it.
fn grey(pixels: &Pixels) -> Pixels {
    let luma = |rgb: &[u8]| {
        let [r, g, b] = [u32::from(rgb[0]), u32::from(rgb[1]), u32::from(rgb[2])];
        ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
    };
    let rgb = pixels.rgb.chunks_exact(3).flat_map(|pixel| [luma(pixel); 3]).collect();
    Pixels { rgb, ..*pixels }
}

/// The lowest frequencies of the cosine transform in both directions, row after row.
fn frequencies(values: &[f64]) -> Vec<f64> {
    let wave = |k: usize, n: usize| (PI * k as f64 * (2 * n + 1) as f64 / (2 * SIDE) as f64).cos();
    let mut columns = [[0.0; SIDE]; KEPT];
    for (k, sums) in columns.iter_mut().enumerate() {
        for (n, row) in values.chunks_exact(SIDE).enumerate() {
            let wave = wave(k, n);
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += 2.0 * value * wave);
        }
    }
    let of = |row: &[f64; SIDE], k: usize| {
        row.iter().enumerate().map(|(n, value)| 2.0 * value * wave(k, n)).sum::<f64>()
    };
    columns.iter().flat_map(|row| (0..KEPT).map(move |k| of(row, k))).collect()
}
