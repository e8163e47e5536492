//! Resizing to the last bit as Pillow does it, for the part of the result that is looked at.
//!
//! Pillow's method: a filter whose reach grows with the reduction (so that it averages, and nothing
//! is skipped), coefficients in 22-bit fixed point, first along rows, then along columns, rounded
//! to eight bits after each. Only what a window of the result needs is computed, so a picture of 1
//! × 5000 pixels that grows to 224 × 1,120,000 before it is cropped costs no more than the crop.
//! Memory beyond the result: as many rows as one row of the result is made of.

use std::ops::Range;

use super::Pixels;

/// Bits after the point of a coefficient.
const POINT: u32 = 32 - 8 - 2;

/// How neighbours are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Nearest,
    Box,
    Bilinear,
    Hamming,
    Bicubic,
    Lanczos,
}

impl Filter {
    /// The filter that Pillow gives this number to.
    pub(crate) fn numbered(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Nearest,
            1 => Self::Lanczos,
            2 => Self::Bilinear,
            3 => Self::Bicubic,
            4 => Self::Box,
            5 => Self::Hamming,
            _ => return None,
        })
    }

    /// How far it reaches, in pixels of whichever side is smaller.
    fn reach(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight of what is `x` away.
    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| match x {
            0.0 => 1.0,
            x => (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI),
        };
        match self {
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming => match x.abs() {
                0.0 => 1.0,
                x if x >= 1.0 => 0.0,
                x => sinc(x) * (0.54 + 0.46 * (x * std::f64::consts::PI).cos()),
            },
            Self::Bicubic => {
                const A: f64 = -0.5;
                match x.abs() {
                    x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
                    x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
                    _ => 0.0,
                }
            }
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// A part of a resized image, in pixels of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) left: u64,
    pub(crate) top: u64,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Window {
    /// All of an image of that size.
    pub(crate) fn whole(width: usize, height: usize) -> Self {
        Self { left: 0, top: 0, width, height }
    }
}

/// What one row or column of the result is made of: the place of the first, and the weights.
struct Mix {
    first: usize,
    weights: Vec<i32>,
}

/// The pixels of `window` of the image at `full` (columns, rows): `3 · width · height` bytes.
pub(crate) fn resize(image: &Pixels, full: (u64, u64), window: Window, filter: Filter) -> Vec<u8> {
    let columns = mixes(image.width, full.0, window.left, window.width, filter);
    let rows = mixes(image.height, full.1, window.top, window.height, filter);
    let stride = 3 * window.width;
    let mut out = vec![0; stride * window.height];
    // Rows that are resized already, each at its number modulo their count.
    let kept = rows.iter().map(|mix| mix.weights.len()).max().unwrap_or(1).max(1);
    let mut ring = vec![0_u8; kept * stride];
    let mut sums = vec![0_i32; stride];
    let mut done: Range<usize> = 0..0;
    for (target, mix) in out.chunks_exact_mut(stride.max(1)).zip(&rows) {
        let needed = mix.first..mix.first + mix.weights.len();
        for row in done.end.max(needed.start)..needed.end {
            let source = &image.rgb[row * 3 * image.width..(row + 1) * 3 * image.width];
            along(source, &columns, &mut ring[row % kept * stride..][..stride]);
        }
        done = needed.start..needed.end.max(done.end);
        sums.fill(1 << (POINT - 1));
        for (row, weight) in needed.zip(&mix.weights) {
            let source = &ring[row % kept * stride..][..stride];
            for (sum, value) in sums.iter_mut().zip(source) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
            }
        }
        target.iter_mut().zip(&sums).for_each(|(target, sum)| *target = byte(*sum));
    }
    out
}

/// One row, resized.
fn along(source: &[u8], columns: &[Mix], target: &mut [u8]) {
    for (target, mix) in target.as_chunks_mut::<3>().0.iter_mut().zip(columns) {
        let mut sums = [1_i32 << (POINT - 1); 3];
        let pixels = source[3 * mix.first..].as_chunks::<3>().0;
        for (pixel, weight) in pixels.iter().zip(&mix.weights) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
            }
        }
        *target = sums.map(byte);
    }
}

/// A sum without its fraction, within a byte.
fn byte(sum: i32) -> u8 {
    (sum >> POINT).clamp(0, 255) as u8
}

/// What `count` pixels of the result from `start` on are made of, along one side.
fn mixes(from: usize, to: u64, start: u64, count: usize, filter: Filter) -> Vec<Mix> {
    let scale = from as f64 / to as f64;
    if filter == Filter::Nearest {
        let last = from.saturating_sub(1);
        let nearest = |place: u64| (((place as f64 + 0.5) * scale) as usize).min(last);
        let whole = |first: usize| Mix { first, weights: vec![1 << POINT] };
        return (start..).take(count).map(|place| whole(nearest(place))).collect();
    }
    let stretch = scale.max(1.0);
    let (reach, shrink) = (filter.reach() * stretch, 1.0 / stretch);
    let mix = |place: u64| {
        let centre = (place as f64 + 0.5) * scale;
        let first = ((centre - reach + 0.5) as i64).max(0) as usize;
        let end = ((centre + reach + 0.5) as i64).max(0) as usize;
        let first = first.min(from.saturating_sub(1));
        let end = end.min(from).max(first + 1);
        let weight = |at: usize| filter.weight((at as f64 - centre + 0.5) * shrink);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let total: f64 = weights.iter().sum();
        let share = if total == 0.0 { 1.0 } else { 1.0 / total };
        let fixed = |weight: f64| {
            let weight = weight * share * f64::from(1 << POINT);
            (weight + 0.5_f64.copysign(weight)) as i32
        };
        Mix { first, weights: weights.into_iter().map(fixed).collect() }
    };
    (start..).take(count).map(mix).collect()
}
