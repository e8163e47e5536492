//! Tiles in registers of 256 bits, which are sixteen: half a panel at a time.
//!
//! In 8 bits, AVX2 has one instruction that multiplies bytes, `vpmaddubsw`, and it saturates: of
//! two products it keeps 16 bits. Codes in -63..=63, plus 64 on one side, leave room for the sum of
//! four products (4·127·63 < 2¹⁵), so that every second widening to 32 bits is saved as well. That
//! is 2.4 times the rate of floats; codes of 8 bits, multiplied in 16, would reach 1.8 times. The
//! coarser codes let twice as wide a margin of pairs survive, which are few.

use std::arch::x86_64::*;

use super::{Limits, PANEL, Survivors, TILE_ROWS_MAX};

/// Rows of a tile in f32: with two registers of columns each, twelve registers of sums.
pub(super) const ROWS: usize = 6;

/// Rows of a tile in 8 bits: eight registers of sums, four of columns, two of rows.
pub(super) const BYTE_ROWS: usize = 4;

/// Columns of a register.
pub(super) const LANES: usize = 8;

/// Registers of columns that are computed together.
pub(super) const WIDE: usize = 2;

/// Parts of a panel.
pub(super) const PARTS: usize = PANEL / (WIDE * LANES);

#[target_feature(enable = "avx2,fma")]
pub(super) fn floats(rows: &[f32], columns: &[f32], limits: Limits<'_>, out: &mut Survivors<'_>) {
    let mut products = [[0.0_f32; PANEL]; ROWS];
    let rows = rows.as_chunks::<ROWS>().0;
    let columns = columns.as_chunks::<PANEL>().0;
    for part in 0..PARTS {
        let start = part * WIDE * LANES;
        let mut sums = [[_mm256_setzero_ps(); WIDE]; ROWS];
        for (row, column) in rows.iter().zip(columns) {
            // SAFETY: a panel's step has `PANEL` components.
            let column = unsafe {
                let column = column.as_ptr().add(start);
                [_mm256_loadu_ps(column), _mm256_loadu_ps(column.add(LANES))]
            };
            for (sums, row) in sums.iter_mut().zip(row) {
                let row = _mm256_broadcast_ss(row);
                sums[0] = _mm256_fmadd_ps(row, column[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(row, column[1], sums[1]);
            }
        }
        for (products, sums) in products.iter_mut().zip(&sums) {
            for (wide, sum) in sums.iter().enumerate() {
                // SAFETY: `products` has room for `PARTS * WIDE` registers.
                unsafe {
                    _mm256_storeu_ps(products.as_mut_ptr().add(start + wide * LANES), *sum);
                }
            }
        }
    }
    survive(&mut products, limits, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn bytes(
    rows: &[[i8; 4]],
    columns: &[[u8; 4]],
    starts: &[i32; TILE_ROWS_MAX],
    limits: Limits<'_>,
    out: &mut Survivors<'_>,
) {
    let mut products = [[0.0_f32; PANEL]; BYTE_ROWS];
    let rows = rows.as_chunks::<BYTE_ROWS>().0.as_chunks::<2>().0;
    let columns = columns.as_chunks::<PANEL>().0.as_chunks::<2>().0;
    let ones = _mm256_set1_epi16(1);
    for part in 0..PARTS {
        let from = part * WIDE * LANES;
        let mut sums = [[_mm256_setzero_si256(); WIDE]; BYTE_ROWS];
        for (sums, start) in sums.iter_mut().zip(starts) {
            *sums = [_mm256_set1_epi32(*start); WIDE];
        }
        for (row, column) in rows.iter().zip(columns) {
            let mut four = [[_mm256_setzero_si256(); WIDE]; 2];
            for (four, column) in four.iter_mut().zip(column) {
                for (wide, four) in four.iter_mut().enumerate() {
                    // SAFETY: a panel's step has `PANEL` groups of four bytes.
                    *four = unsafe {
                        _mm256_loadu_si256(column.as_ptr().add(from + wide * LANES).cast())
                    };
                }
            }
            for (at, sums) in sums.iter_mut().enumerate() {
                let first = _mm256_set1_epi32(word(row[0][at]));
                let second = _mm256_set1_epi32(word(row[1][at]));
                for (wide, sum) in sums.iter_mut().enumerate() {
                    let pairs = _mm256_add_epi16(
                        _mm256_maddubs_epi16(four[0][wide], first),
                        _mm256_maddubs_epi16(four[1][wide], second),
                    );
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        for (products, sums) in products.iter_mut().zip(&sums) {
            for (wide, sum) in sums.iter().enumerate() {
                // SAFETY: `products` has room for `PARTS * WIDE` registers.
                unsafe {
                    let at = products.as_mut_ptr().add(from + wide * LANES);
                    _mm256_storeu_ps(at, _mm256_cvtepi32_ps(*sum));
                }
            }
        }
    }
    survive(&mut products, limits, out);
}

/// Four codes as they lie in memory.
#[inline(always)]
pub(super) fn word(codes: [i8; 4]) -> i32 {
    i32::from_ne_bytes([codes[0] as u8, codes[1] as u8, codes[2] as u8, codes[3] as u8])
}

/// Scales the products of a tile, and puts down those that pass.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn survive<const R: usize>(
    products: &mut [[f32; PANEL]; R],
    limits: Limits<'_>,
    out: &mut Survivors<'_>,
) {
    for (row, products) in products.iter_mut().enumerate() {
        let limit = _mm256_set1_ps(limits.limit[row]);
        let inverse = _mm256_set1_ps(limits.inverse[row]);
        let mut passed = 0_u32;
        for start in (0..PANEL).step_by(LANES) {
            // SAFETY: all three arrays have `PANEL` elements.
            unsafe {
                let product = products.as_mut_ptr().add(start);
                let scale = _mm256_loadu_ps(limits.scale.as_ptr().add(start));
                let floor = _mm256_loadu_ps(limits.floor.as_ptr().add(start));
                let value = _mm256_mul_ps(_mm256_loadu_ps(product), scale);
                _mm256_storeu_ps(product, value);
                // Where the limit is NaN, so is the lesser of the two: nothing passes.
                let least = _mm256_min_ps(_mm256_mul_ps(floor, inverse), limit);
                let passes = _mm256_cmp_ps::<_CMP_GE_OQ>(value, least);
                passed |= (_mm256_movemask_ps(passes) as u32) << start;
            }
        }
        if passed != 0 {
            out.put(row, passed, products);
        }
    }
}
