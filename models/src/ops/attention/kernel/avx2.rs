//! The product with registers of eight lanes. The order of additions is that of the plain one. And
//! the transposition for all levels that have these registers: eight rows of eight numbers in 24
//! shuffles, where writing one number at a time took a fifth of the time of a text of 128 tokens.

use std::arch::x86_64::*;

use super::{LANES, Left, ROWS, Right, Rows};

/// Lanes of a register.
const WIDTH: usize = LANES / 2;

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn products(left: Left<'_>, right: Right<'_>, out: &mut [f32]) {
    assert!(right.values.len() >= right.depth * right.width);
    assert!(left.values.len() >= (ROWS - 1) * left.stride + right.depth);
    assert!(out.len() >= ROWS * right.width && right.width.is_multiple_of(LANES));
    for lane in (0..right.width).step_by(LANES) {
        let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
        // SAFETY: the assertions above bound every row below ROWS, step below `depth` and lane
        // below `width`.
        unsafe {
            for i in 0..right.depth {
                let at = right.values.as_ptr().add(i * right.width + lane);
                let column = [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(WIDTH))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let factor = left.values.as_ptr().add(row * left.stride + i);
                    let factor = _mm256_broadcast_ss(&*factor);
                    sums[0] = _mm256_fmadd_ps(factor, column[0], sums[0]);
                    sums[1] = _mm256_fmadd_ps(factor, column[1], sums[1]);
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                let at = out.as_mut_ptr().add(row * right.width + lane);
                _mm256_storeu_ps(at, sums[0]);
                _mm256_storeu_ps(at.add(WIDTH), sums[1]);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn transpose(rows: Rows<'_>, out: &mut [f32], stride: usize) {
    let width = rows.width.max(1);
    let count = rows.values.len() / width;
    assert!(count <= stride && out.len() >= width * stride, "room for the columns");
    let (whole_rows, whole_width) = (count / WIDTH * WIDTH, width / WIDTH * WIDTH);
    for first in (0..whole_rows).step_by(WIDTH) {
        for start in (0..whole_width).step_by(WIDTH) {
            // SAFETY: eight rows have eight numbers from here on, and so have eight rows of `out`.
            unsafe {
                let from = rows.values.as_ptr().add(first * width + start);
                square(from, width, out.as_mut_ptr().add(start * stride + first), stride);
            }
        }
    }
    for (token, row) in rows.values.chunks_exact(width).enumerate() {
        let done = if token < whole_rows { whole_width } else { 0 };
        for (i, value) in row.iter().enumerate().skip(done) {
            out[i * stride + token] = *value;
        }
    }
}

/// Transposes eight rows of eight numbers.
///
/// # Safety
/// Eight rows, `width` apart, can be read at `from`, and eight, `stride` apart, written at `to`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn square(from: *const f32, width: usize, to: *mut f32, stride: usize) {
    let mut rows = [_mm256_setzero_ps(); WIDTH];
    for (i, row) in rows.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *row = unsafe { _mm256_loadu_ps(from.add(i * width)) };
    }
    // First within pairs of rows, then within fours, then within all eight.
    let mut pairs = [_mm256_setzero_ps(); WIDTH];
    for i in (0..WIDTH).step_by(2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    let mut fours = [_mm256_setzero_ps(); WIDTH];
    for i in [0, 4] {
        fours[i] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[i + 1], pairs[i + 3]);
    }
    for i in 0..WIDTH / 2 {
        let low = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        let high = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
        // SAFETY: the caller's promise.
        unsafe {
            _mm256_storeu_ps(to.add(i * stride), low);
            _mm256_storeu_ps(to.add((i + WIDTH / 2) * stride), high);
        }
    }
}
