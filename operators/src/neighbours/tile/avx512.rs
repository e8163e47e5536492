//! Tiles in registers of 512 bits: 14 rows by 32 columns, 28 registers of sums.

use std::arch::x86_64::*;

use super::{Limits, PANEL, Survivors, TILE_ROWS_MAX};

/// Registers of a panel.
const WIDE: usize = 2;
const LANES: usize = PANEL / WIDE;

#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn floats(rows: &[f32], columns: &[f32], limits: Limits<'_>, out: &mut Survivors<'_>) {
    let mut sums = [[_mm512_setzero_ps(); WIDE]; TILE_ROWS_MAX];
    let rows = rows.as_chunks::<TILE_ROWS_MAX>().0;
    for (row, column) in rows.iter().zip(columns.as_chunks::<PANEL>().0) {
        // SAFETY: a panel's step has `PANEL` components.
        let (low, high) = unsafe {
            (_mm512_loadu_ps(column.as_ptr()), _mm512_loadu_ps(column.as_ptr().add(LANES)))
        };
        for (sums, row) in sums.iter_mut().zip(row) {
            let row = _mm512_set1_ps(*row);
            sums[0] = _mm512_fmadd_ps(row, low, sums[0]);
            sums[1] = _mm512_fmadd_ps(row, high, sums[1]);
        }
    }
    survive(&sums, limits, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn bytes(
    rows: &[[i8; 4]],
    columns: &[[u8; 4]],
    starts: &[i32; TILE_ROWS_MAX],
    limits: Limits<'_>,
    out: &mut Survivors<'_>,
) {
    let mut sums = [[_mm512_setzero_si512(); WIDE]; TILE_ROWS_MAX];
    for (sums, start) in sums.iter_mut().zip(starts) {
        *sums = [_mm512_set1_epi32(*start); WIDE];
    }
    let rows = rows.as_chunks::<TILE_ROWS_MAX>().0;
    for (row, column) in rows.iter().zip(columns.as_chunks::<PANEL>().0) {
        let column = column.as_ptr().cast::<i32>();
        // SAFETY: a panel's step has `PANEL` groups of four bytes.
        let (low, high) = unsafe {
            (_mm512_loadu_si512(column.cast()), _mm512_loadu_si512(column.add(LANES).cast()))
        };
        for (sums, row) in sums.iter_mut().zip(row) {
            let row = _mm512_set1_epi32(i32::from_ne_bytes([
                row[0] as u8,
                row[1] as u8,
                row[2] as u8,
                row[3] as u8,
            ]));
            sums[0] = _mm512_dpbusd_epi32(sums[0], low, row);
            sums[1] = _mm512_dpbusd_epi32(sums[1], high, row);
        }
    }
    let mut products = [[_mm512_setzero_ps(); WIDE]; TILE_ROWS_MAX];
    for (products, sums) in products.iter_mut().zip(&sums) {
        *products = [_mm512_cvtepi32_ps(sums[0]), _mm512_cvtepi32_ps(sums[1])];
    }
    survive(&products, limits, out);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn survive(
    products: &[[__m512; WIDE]; TILE_ROWS_MAX],
    limits: Limits<'_>,
    out: &mut Survivors<'_>,
) {
    // SAFETY: the arrays of `Limits` have `PANEL` elements.
    let (scale, floor) = unsafe {
        let (scale, floor) = (limits.scale.as_ptr(), limits.floor.as_ptr());
        (
            [_mm512_loadu_ps(scale), _mm512_loadu_ps(scale.add(LANES))],
            [_mm512_loadu_ps(floor), _mm512_loadu_ps(floor.add(LANES))],
        )
    };
    for (row, products) in products.iter().enumerate() {
        let limit = _mm512_set1_ps(limits.limit[row]);
        let inverse = _mm512_set1_ps(limits.inverse[row]);
        let mut values = [_mm512_setzero_ps(); WIDE];
        let mut passed = 0_u32;
        for half in 0..WIDE {
            values[half] = _mm512_mul_ps(products[half], scale[half]);
            // Where the limit is NaN, so is the lesser of the two: nothing passes.
            let least = _mm512_min_ps(_mm512_mul_ps(floor[half], inverse), limit);
            let mask = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(values[half], least);
            passed |= u32::from(mask) << (half * LANES);
        }
        if passed != 0 {
            let mut spread = [0.0_f32; PANEL];
            // SAFETY: `spread` has room for both registers.
            unsafe {
                _mm512_storeu_ps(spread.as_mut_ptr(), values[0]);
                _mm512_storeu_ps(spread.as_mut_ptr().add(LANES), values[1]);
            }
            out.put(row, passed, &spread);
        }
    }
}
