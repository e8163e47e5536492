//! Tiles in 8 bits with `vpdpbusd` in registers of 256 bits, half a panel at a time. Tiles in f32
//! are AVX2's.
//!
//! The instruction has two encodings: AVX-VNNI's, which processors without AVX-512 have, and that
//! of AVX-512 VL, with which the code runs, and is tested, on the others.

/// Rows of a tile: with two registers of columns each, twelve registers of sums.
pub(super) const ROWS: usize = 6;

/// The same code for one of the encodings.
macro_rules! encoding {
    ($(#[$doc:meta])* $name:ident, $features:literal, $add_products:ident) => {
        $(#[$doc])*
        pub(super) mod $name {
            use std::arch::x86_64::*;

            use super::ROWS;
            use super::super::avx2::{LANES, PARTS, WIDE, survive, word};
            use super::super::{Limits, PANEL, Survivors, TILE_ROWS_MAX};

            #[target_feature(enable = $features)]
            pub(in super::super) fn bytes(
                rows: &[[i8; 4]],
                columns: &[[u8; 4]],
                starts: &[i32; TILE_ROWS_MAX],
                limits: Limits<'_>,
                out: &mut Survivors<'_>,
            ) {
                let mut products = [[0.0_f32; PANEL]; ROWS];
                let rows = rows.as_chunks::<ROWS>().0;
                let columns = columns.as_chunks::<PANEL>().0;
                for part in 0..PARTS {
                    let from = part * WIDE * LANES;
                    let mut sums = [[_mm256_setzero_si256(); WIDE]; ROWS];
                    for (sums, start) in sums.iter_mut().zip(starts) {
                        *sums = [_mm256_set1_epi32(*start); WIDE];
                    }
                    for (row, column) in rows.iter().zip(columns) {
                        // SAFETY: a panel's step has `PANEL` groups of four bytes.
                        let column = unsafe {
                            let column = column.as_ptr().add(from);
                            [
                                _mm256_loadu_si256(column.cast()),
                                _mm256_loadu_si256(column.add(LANES).cast()),
                            ]
                        };
                        for (sums, row) in sums.iter_mut().zip(row) {
                            let row = _mm256_set1_epi32(word(*row));
                            sums[0] = $add_products(sums[0], column[0], row);
                            sums[1] = $add_products(sums[1], column[1], row);
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
        }
    };
}

encoding! {
    /// That of processors without AVX-512.
    vex, "avx2,fma,avxvnni", _mm256_dpbusd_avx_epi32
}

encoding! {
    /// That of processors with AVX-512 VNNI and VL.
    evex, "avx2,fma,avx512vnni,avx512vl", _mm256_dpbusd_epi32
}
