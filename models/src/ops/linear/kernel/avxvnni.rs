//! Tiles with `vpdpbusd` in 256 bits: four products of bytes per lane and instruction, summed
//! exactly, on processors that have no AVX-512.
//!
//! The instruction has two encodings. AVX-VNNI's is what such processors have; AVX-512 VL's is
//! there so that the code runs, and is tested, on the others.

/// The same code for one of the encodings.
macro_rules! encoding {
    ($(#[$doc:meta])* $name:ident, $features:literal, $add_products:ident) => {
        $(#[$doc])*
        pub(super) mod $name {
            use std::arch::x86_64::*;

            use super::super::{
                LINES, PANEL, PackedLinear, QuantisedRows, avx2::quantise_block, quantise, store,
            };
            use crate::ops::Function;

            /// Outputs that are computed together: two registers.
            const OUTPUTS: usize = 16;

            /// Rows that are computed together: with their sums, weights and activations they fill
            /// the register file.
            const TILE_ROWS: usize = 6;

            #[target_feature(enable = $features)]
            pub(in super::super) fn run(
                linear: &PackedLinear,
                x: &[f32],
                out: &mut [f32],
                function: Function,
                rows: &mut QuantisedRows,
            ) {
                quantise(linear, x, rows, |source, target| quantise_block(source, target));
                let count = x.len() / linear.inputs.max(1);
                for first in (0..linear.outputs).step_by(OUTPUTS) {
                    let bias = linear.bias[first..].first_chunk().copied();
                    let bias: [f32; OUTPUTS] = bias.unwrap_or_default();
                    for row in (0..count).step_by(TILE_ROWS) {
                        let taken = TILE_ROWS.min(count - row);
                        let mut sums = [bias; TILE_ROWS];
                        match taken {
                            6 => tile::<6>(linear, rows, row, first, &mut sums),
                            5 => tile::<5>(linear, rows, row, first, &mut sums),
                            4 => tile::<4>(linear, rows, row, first, &mut sums),
                            3 => tile::<3>(linear, rows, row, first, &mut sums),
                            2 => tile::<2>(linear, rows, row, first, &mut sums),
                            _ => tile::<1>(linear, rows, row, first, &mut sums),
                        }
                        store(linear, &mut sums[..taken], row, first, out, function);
                    }
                }
            }

            /// Adds the products of `M` rows from `row` on to their sums for sixteen outputs.
            #[inline]
            #[target_feature(enable = $features)]
            fn tile<const M: usize>(
                linear: &PackedLinear,
                rows: &QuantisedRows,
                row: usize,
                first: usize,
                sums: &mut [[f32; OUTPUTS]; TILE_ROWS],
            ) {
                let (blocks, groups) = (linear.blocks, linear.groups);
                let (panel, line) = (first / PANEL, first % PANEL / OUTPUTS);
                let (width, lines) = (groups * 4, groups * LINES);
                // The slices hold every element that the pointers below reach; taking them checks
                // it once per tile.
                let activations = &rows.values[row * blocks * width..(row + M) * blocks * width];
                let shifts = &rows.scales[row * blocks..(row + M) * blocks];
                let weights = &linear.values[panel * blocks * lines..(panel + 1) * blocks * lines];
                let scales = panel * blocks * 2 * PANEL;
                let scales = &linear.scales[scales..scales + blocks * 2 * PANEL];
                // SAFETY: a line is two registers; all offsets stay inside the slices above: rows
                // below M, blocks below `blocks`, groups below `groups`.
                unsafe {
                    for block in 0..blocks {
                        let mut exact = [[_mm256_setzero_si256(); 2]; M];
                        let weight = weights.as_ptr().add(block * lines + line);
                        let value = activations.as_ptr().add(block * width);
                        for group in 0..groups {
                            let at = weight.add(group * LINES).cast::<__m256i>();
                            let low = _mm256_load_si256(at);
                            let high = _mm256_load_si256(at.add(1));
                            for (m, exact) in exact.iter_mut().enumerate() {
                                let four = value.add(m * blocks * width + group * 4).cast::<i32>();
                                let four = _mm256_set1_epi32(four.read_unaligned());
                                exact[0] = $add_products(exact[0], four, low);
                                exact[1] = $add_products(exact[1], four, high);
                            }
                        }
                        let scale = scales.as_ptr().add(block * 2 * PANEL + line * OUTPUTS);
                        for (m, (exact, sums)) in exact.iter().zip(sums.iter_mut()).enumerate() {
                            let [row_scale, row_shift] = *shifts.get_unchecked(m * blocks + block);
                            let row_scale = _mm256_set1_ps(row_scale);
                            let row_shift = _mm256_set1_ps(row_shift);
                            for (half, exact) in exact.iter().enumerate() {
                                let factor = _mm256_loadu_ps(scale.add(half * 8));
                                let offset = _mm256_loadu_ps(scale.add(half * 8 + PANEL));
                                let target = sums.as_mut_ptr().add(half * 8);
                                let product = _mm256_mul_ps(_mm256_cvtepi32_ps(*exact), factor);
                                let sum = _mm256_loadu_ps(target);
                                let kept = _mm256_fmadd_ps(product, row_scale, sum);
                                let sum = _mm256_fnmadd_ps(offset, row_shift, kept);
                                _mm256_storeu_ps(target, sum);
                            }
                        }
                    }
                }
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
