//! The innermost loop: all dot products of a few rows with 32 columns, kept in registers, compared
//! with what is worth knowing, and forgotten unless they pass.
//!
//! A tile never writes its products to memory. Each is compared with the row's limit and with the
//! column's, and only survivors are put down, with their approximate value. Approximate, because a
//! tile adds up in another order than [`crate::unit::cosine`], or in 8 bits; by how much it can be
//! wrong is known (`codes`), limits are lowered by it, and survivors are computed anew.

/// Columns of a panel.
pub(super) const PANEL: usize = 32;

/// Rows of a tile for the instruction set with the most registers; no tile has more.
pub(super) const TILE_ROWS_MAX: usize = 14;

/// Products that one tile can put down at most.
pub(super) const TILE_SURVIVORS_MAX: usize = TILE_ROWS_MAX * PANEL;

/// What a tile compares its products with. With `value = product * scale[column]`, a product
/// survives if `value >= limit[row]` or `value >= floor[column] * inverse[row]`.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    /// Per row; NaN for a row that takes no part.
    pub(super) limit: &'a [f32; TILE_ROWS_MAX],
    /// Per row: one over its scale.
    pub(super) inverse: &'a [f32; TILE_ROWS_MAX],
    /// Per column; NaN for a column that takes no part.
    pub(super) scale: &'a [f32; PANEL],
    /// Per column; infinite where only rows look.
    pub(super) floor: &'a [f32; PANEL],
}

/// A product that passed: where it is, within its block, and `product * scale[column]`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Survivor {
    pub(super) row: u16,
    pub(super) column: u16,
    pub(super) value: f32,
}

/// Where survivors go, and the place of the tile within its block.
pub(super) struct Survivors<'a> {
    pub(super) found: &'a mut Vec<Survivor>,
    pub(super) row: u16,
    pub(super) column: u16,
}

impl Survivors<'_> {
    /// Puts down what passed in one row: bit `c` of `passed` stands for column `c`.
    #[inline(always)]
    fn put(&mut self, row: usize, mut passed: u32, values: &[f32; PANEL]) {
        while passed != 0 {
            let column = passed.trailing_zeros() as usize;
            passed &= passed - 1;
            self.found.push(Survivor {
                row: self.row + row as u16,
                column: self.column + column as u16,
                value: values[column],
            });
        }
    }
}

/// The processor's way of computing tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// 512-bit registers; `vnni` if it multiplies 8-bit numbers four at a time.
    #[cfg(target_arch = "x86_64")]
    Avx512 { vnni: bool },
    /// 256-bit registers with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the compiler was told.
    Plain,
}

impl Machine {
    /// The best way that this processor has.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bw")
            {
                return Self::Avx512 { vnni: std::arch::is_x86_feature_detected!("avx512vnni") };
            }
            if std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma")
            {
                return Self::Avx2;
            }
        }
        Self::Plain
    }

    /// Whether it has tiles in 8 bits.
    pub(super) fn has_bytes(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if matches!(self, Self::Avx512 { vnni: true }) {
            return true;
        }
        false
    }

    /// Rows of a tile.
    pub(super) fn tile_rows(self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if matches!(self, Self::Avx512 { .. }) {
            return TILE_ROWS_MAX;
        }
        plain::ROWS
    }

    /// A tile in f32. `rows` holds, component after component, that component of each row of the
    /// tile; `columns` likewise of each column of the panel.
    pub(super) fn floats(
        self,
        rows: &[f32],
        columns: &[f32],
        limits: Limits<'_>,
        out: &mut Survivors<'_>,
    ) {
        debug_assert_eq!(rows.len() / self.tile_rows(), columns.len() / PANEL);
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` has seen the features.
            Self::Avx512 { .. } => unsafe { avx512::floats(rows, columns, limits, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` has seen the features.
            Self::Avx2 => unsafe { plain::floats_avx2(rows, columns, limits, out) },
            Self::Plain => plain::floats(rows, columns, limits, out),
        }
    }

    /// A tile in 8 bits, four components at a time: signed in `rows`, unsigned in `columns` (the
    /// signed code plus 128). `starts` is -128 times the sum of each row's codes, which makes the
    /// products those of the signed codes.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn bytes(
        self,
        rows: &[[i8; 4]],
        columns: &[[u8; 4]],
        starts: &[i32; TILE_ROWS_MAX],
        limits: Limits<'_>,
        out: &mut Survivors<'_>,
    ) {
        debug_assert_eq!(rows.len() / TILE_ROWS_MAX, columns.len() / PANEL);
        debug_assert!(self.has_bytes());
        // SAFETY: only asked for where `has_bytes` holds.
        unsafe { avx512::bytes(rows, columns, starts, limits, out) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Limits, PANEL, Survivors, TILE_ROWS_MAX};

    /// Registers of a panel.
    const WIDE: usize = 2;
    const LANES: usize = PANEL / WIDE;

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn floats(
        rows: &[f32],
        columns: &[f32],
        limits: Limits<'_>,
        out: &mut Survivors<'_>,
    ) {
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
                let row = _mm512_set1_epi32(i32::from_ne_bytes(row.map(|code| code as u8)));
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
}

mod plain {
    use super::{Limits, PANEL, Survivors};

    /// Rows of a tile: twelve AVX2 registers of sums.
    pub(super) const ROWS: usize = 3;

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn floats_avx2(
        rows: &[f32],
        columns: &[f32],
        limits: Limits<'_>,
        out: &mut Survivors<'_>,
    ) {
        body(rows, columns, limits, out, f32::mul_add);
    }

    pub(super) fn floats(
        rows: &[f32],
        columns: &[f32],
        limits: Limits<'_>,
        out: &mut Survivors<'_>,
    ) {
        body(rows, columns, limits, out, |row, column, sum| row * column + sum);
    }

    #[inline(always)]
    fn body(
        rows: &[f32],
        columns: &[f32],
        limits: Limits<'_>,
        out: &mut Survivors<'_>,
        add_product: impl Fn(f32, f32, f32) -> f32,
    ) {
        let mut sums = [[0.0_f32; PANEL]; ROWS];
        let rows = rows.as_chunks::<ROWS>().0;
        for (row, column) in rows.iter().zip(columns.as_chunks::<PANEL>().0) {
            for (sums, row) in sums.iter_mut().zip(row) {
                for (sum, column) in sums.iter_mut().zip(column) {
                    *sum = add_product(*row, *column, *sum);
                }
            }
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let (limit, inverse) = (limits.limit[row], limits.inverse[row]);
            let mut passed = 0_u32;
            for (column, value) in sums.iter_mut().enumerate() {
                *value *= limits.scale[column];
                let passes = !limit.is_nan()
                    && (*value >= limit || *value >= limits.floor[column] * inverse);
                passed |= u32::from(passes) << column;
            }
            if passed != 0 {
                out.put(row, passed, sums);
            }
        }
    }
}
