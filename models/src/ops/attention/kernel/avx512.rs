//! The product with registers of sixteen lanes. The order of additions is that of the plain
//! one.

use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::{LANES, Left, ROWS, Right};

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
pub(super) fn products(left: Left<'_>, right: Right<'_>, out: &mut [f32]) {
    let mut lane = 0;
    while lane + 2 * LANES <= right.width {
        columns::<2>(left, right, lane, out);
        lane += 2 * LANES;
    }
    if lane < right.width {
        columns::<1>(left, right, lane, out);
    }
}

/// `N` registers of columns from `lane`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
fn columns<const N: usize>(left: Left<'_>, right: Right<'_>, lane: usize, out: &mut [f32]) {
    assert!(right.values.len() >= right.depth * right.width && lane + N * LANES <= right.width);
    assert!(left.values.len() >= (ROWS - 1) * left.stride + right.depth);
    assert!(out.len() >= ROWS * right.width);
    let mut sums: [[__m512; N]; ROWS] = [[_mm512_setzero_ps(); N]; ROWS];
    // SAFETY: the assertions above bound every row below ROWS, step below `depth` and lane
    // below `width`.
    unsafe {
        for i in 0..right.depth {
            let at = right.values.as_ptr().add(i * right.width + lane);
            let mut column = [_mm512_setzero_ps(); N];
            for (n, column) in column.iter_mut().enumerate() {
                *column = _mm512_loadu_ps(at.add(n * LANES));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_ps(*left.values.as_ptr().add(row * left.stride + i));
                for n in 0..N {
                    sums[n] = _mm512_fmadd_ps(factor, column[n], sums[n]);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                let at = out.as_mut_ptr().add(row * right.width + lane + n * LANES);
                _mm512_storeu_ps(at, *sum);
            }
        }
    }
}
