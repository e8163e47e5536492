//! The innermost loop: all dot products of a few rows with 32 columns, kept in registers, compared
//! with what is worth knowing, and forgotten unless they pass.
//!
//! A tile never writes its products to memory. Each is compared with the row's limit and with the
//! column's, and only survivors are put down, with their approximate value. Approximate, because a
//! tile adds up in another order than [`crate::unit::cosine`], or in 8 bits; by how much it can be
//! wrong is known (`codes`), limits are lowered by it, and survivors are recomputed.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
mod plain;

use sembla_processor::{InstructionSet, Level};

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
pub(super) struct Machine(Level);

impl Machine {
    /// The way of the level that kernels run at.
    pub(super) fn active() -> Self {
        Self(Level::active())
    }

    /// The ways that this processor has.
    #[cfg(test)]
    pub(super) fn available() -> Vec<Self> {
        Level::available().into_iter().map(Self).collect()
    }

    /// The way of a level.
    pub(super) fn of(level: Level) -> Self {
        Self(level)
    }

    /// Its tiles in 8 bits, if they are faster than those in f32.
    pub(super) fn byte_tiles(self) -> Option<ByteTiles> {
        match self.0.instructions() {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni => Some(ByteTiles(Way::Vnni)),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::AvxVnni => Some(ByteTiles(Way::AvxVnni)),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => Some(ByteTiles(Way::Avx2)),
            _ => None,
        }
    }

    /// Rows of a tile in f32.
    pub(super) fn tile_rows(self) -> usize {
        match self.0.instructions() {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Avx512Vnni => TILE_ROWS_MAX,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 | InstructionSet::AvxVnni => avx2::ROWS,
            _ => plain::ROWS,
        }
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
        assert_eq!(rows.len() / self.tile_rows(), columns.len() / PANEL, "components");
        match self.0.instructions() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is one that the processor has.
            InstructionSet::Avx512 | InstructionSet::Avx512Vnni => unsafe {
                avx512::floats(rows, columns, limits, out);
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is one that the processor has.
            InstructionSet::Avx2 | InstructionSet::AvxVnni => unsafe {
                avx2::floats(rows, columns, limits, out);
            },
            _ => plain::floats(rows, columns, limits, out),
        }
    }
}

/// Tiles in 8 bits. Whoever holds one may use it: only [`Machine::byte_tiles`] makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteTiles(Way);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One instruction multiplies and adds four bytes a lane, exactly.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// The same in 256 bits.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// Products of bytes are added up in 16 bits first, which codes of 7 bits don't overflow.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl ByteTiles {
    /// Groups of four components that a tile takes at a time: vectors are filled up to them.
    pub(super) const STEPS_TOGETHER: usize = 2;

    /// Rows of a tile.
    pub(super) fn rows(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Way::Vnni => TILE_ROWS_MAX,
            #[cfg(target_arch = "x86_64")]
            Way::AvxVnni => avxvnni::ROWS,
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => avx2::BYTE_ROWS,
        }
    }

    /// The greatest magnitude of a code.
    pub(super) fn code_max(self) -> u8 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Way::Vnni | Way::AvxVnni => 127,
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => 63,
        }
    }

    /// What is added to the codes of columns, which are unsigned.
    pub(super) fn offset(self) -> u8 {
        self.code_max() + 1
    }

    /// A tile, four components at a time: signed codes in `rows`, unsigned ones in `columns` (the
    /// signed code plus [`Self::offset`]). `starts` is minus that offset times the sum of each
    /// row's codes, which makes the products those of the signed codes.
    pub(super) fn products(
        self,
        rows: &[[i8; 4]],
        columns: &[[u8; 4]],
        starts: &[i32; TILE_ROWS_MAX],
        limits: Limits<'_>,
        out: &mut Survivors<'_>,
    ) {
        assert_eq!(rows.len() / self.rows(), columns.len() / PANEL, "groups of components");
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `byte_tiles` gives this way only at a level that has AVX-512 and VNNI.
            Way::Vnni => unsafe { avx512::bytes(rows, columns, starts, limits, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `byte_tiles` gives this way only at a level that has it in one of the two
            // encodings.
            Way::AvxVnni => unsafe {
                match sembla_processor::has_avx_vnni() {
                    true => avxvnni::vex::bytes(rows, columns, starts, limits, out),
                    false => avxvnni::evex::bytes(rows, columns, starts, limits, out),
                }
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `byte_tiles` gives this way only at a level that has AVX2.
            Way::Avx2 => unsafe { avx2::bytes(rows, columns, starts, limits, out) },
        }
    }
}
