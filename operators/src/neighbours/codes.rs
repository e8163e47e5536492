//! Vectors in the forms that tiles read, and by how much tiles can be wrong.
//!
//! 8 bits: `x ≈ s·q` with one scale `s` per row and codes `q` in -127..=127, or -63..=63 where
//! tiles want them smaller. With `x = s·q + r`,
//! `|x·y - s·t·(q·p)| ≤ ‖r‖·‖y‖ + ‖s·q‖·‖u‖` for `y = t·p + u`; and as `‖y‖ = 1` and
//! `‖s·q‖ ≤ 1 + ‖r‖`, at most `‖r‖ + ‖u‖ + ‖r‖·‖u‖`. The product of codes is exact.
//!
//! f32: a sum of `d` products of vectors of length one, in any order and with or without fused
//! additions, is off by at most `d·2⁻²⁴` (Higham, with Cauchy and Schwarz), to first order.

use std::ops::Range;

use rayon::prelude::*;

use super::tile::{ByteTiles, Machine, PANEL, TILE_ROWS_MAX};
use crate::error::Result;
use crate::host::{Host, Loan};
use crate::lanes;
use crate::unit::UnitVectors;

/// Dimensions above this could overflow the 32-bit sums of 8-bit products.
const DIMENSION_MAX: usize = 60_000;

/// By how much a sum of products in f32 can differ from [`crate::unit::cosine`].
pub(super) fn float_error(dimension: usize) -> f32 {
    // Both are off by at most half of this; the lengths are one to within two more roundings, and
    // twice all of it covers the terms of second order.
    let roundings = 4.0 * (dimension as f32 + 16.0);
    roundings * f32::EPSILON / 2.0
}

/// All rows of a set of vectors in 8 bits, panel after panel.
pub(super) struct Bytes<'a> {
    /// What they are packed for.
    tiles: ByteTiles,
    /// Per panel and group of four components: the codes of the panel's rows, plus the tiles'
    /// offset.
    codes: Vec<[u8; 4]>,
    /// Per row: what a code counts; NaN without a direction.
    scale: Vec<f32>,
    /// Per row: a bound on the length of what rounding took away.
    residue: Vec<f32>,
    /// Groups of four components, filled up with zeros to what tiles take together.
    steps: usize,
    _loan: Loan<'a>,
}

impl<'a> Bytes<'a> {
    /// The tiles for vectors of this dimension, where a machine has them.
    pub(super) fn tiles_for(machine: Machine, dimension: usize) -> Option<ByteTiles> {
        machine.byte_tiles().filter(|_| dimension <= DIMENSION_MAX)
    }

    /// Rounds vectors.
    ///
    /// # Errors
    /// What the host says.
    pub(super) fn new(vectors: &UnitVectors, tiles: ByteTiles, host: &'a dyn Host) -> Result<Self> {
        let rows = vectors.rows();
        let steps = vectors.dimension().div_ceil(4).next_multiple_of(ByteTiles::STEPS_TOGETHER);
        let padded = rows.next_multiple_of(PANEL);
        let loan = Loan::new(host, padded * (steps * 4 + 2 * size_of::<f32>()))?;
        let zero = tiles.offset();
        let mut codes = vec![[zero; 4]; padded * steps];
        let mut scale = vec![f32::NAN; padded];
        let mut residue = vec![0.0; padded];
        codes
            .par_chunks_mut((PANEL * steps).max(1))
            .zip(scale.par_chunks_mut(PANEL))
            .zip(residue.par_chunks_mut(PANEL))
            .enumerate()
            .for_each(|(panel, ((codes, scale), residue))| {
                let mut rounded = vec![[zero; 4]; steps];
                for column in 0..PANEL.min(rows - panel * PANEL) {
                    let row = vectors.row(panel * PANEL + column);
                    let rounding = round(row, tiles, rounded.as_flattened_mut());
                    if let Some((counts, lost)) = rounding {
                        for (group, codes) in rounded.iter().zip(codes.chunks_mut(PANEL)) {
                            codes[column] = *group;
                        }
                        scale[column] = counts;
                        residue[column] = lost;
                    }
                }
            });
        Ok(Self { tiles, codes, scale, residue, steps, _loan: loan })
    }

    /// What the codes are packed for.
    pub(super) fn tiles(&self) -> ByteTiles {
        self.tiles
    }

    /// Groups of four components that a row has.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// The panel that begins with row `panel * PANEL`.
    pub(super) fn panel(&self, panel: usize) -> &[[u8; 4]] {
        &self.codes[panel * PANEL * self.steps..][..PANEL * self.steps]
    }

    /// Scales of the rows from `start` on.
    pub(super) fn scales(&self, start: usize) -> &[f32] {
        &self.scale[start..]
    }

    /// The greatest residue of rows.
    pub(super) fn residue_max(&self, rows: Range<usize>) -> f32 {
        self.residue[rows].iter().fold(0.0, |max, residue| residue.max(max))
    }

    /// Packs rows for the left side of tiles: per tile and group of four components, the signed
    /// codes of its rows; and per tile the starts of its sums.
    pub(super) fn pack(
        &self,
        rows: Range<usize>,
        out: &mut Vec<[i8; 4]>,
        starts: &mut Vec<[i32; TILE_ROWS_MAX]>,
    ) {
        out.clear();
        starts.clear();
        let (tile_rows, offset) = (self.tiles.rows(), self.tiles.offset());
        for tile in rows.clone().step_by(tile_rows) {
            let at = out.len();
            out.resize(at + self.steps * tile_rows, [0; 4]);
            let mut sums = [0_i32; TILE_ROWS_MAX];
            for (position, row) in (tile..rows.end.min(tile + tile_rows)).enumerate() {
                let (panel, column) = (self.panel(row / PANEL), row % PANEL);
                for step in 0..self.steps {
                    let codes = panel[step * PANEL + column];
                    let codes = codes.map(|code| code.wrapping_sub(offset) as i8);
                    sums[position] += codes.iter().map(|code| i32::from(*code)).sum::<i32>();
                    out[at + step * tile_rows + position] = codes;
                }
            }
            starts.push(sums.map(|sum| -i32::from(offset) * sum));
        }
    }
}

/// Rounds a row to codes plus the tiles' offset and gives what a code counts, and the length of
/// what is lost, rounded up; `None` without a direction. Codes behind the row's end stay as they
/// are.
fn round(row: &[f32], tiles: ByteTiles, codes: &mut [u8]) -> Option<(f32, f32)> {
    let code_max = f32::from(tiles.code_max());
    let largest = lanes::max_abs(row);
    let inverse = code_max / largest;
    inverse.is_finite().then(|| {
        let scale = largest / code_max;
        let squares = lanes::round_to_codes(row, inverse, scale, codes);
        let less = lanes::CODE_OFFSET - tiles.offset();
        codes.iter_mut().zip(row).for_each(|(code, _)| *code -= less);
        (scale, (squares.sqrt() * (1.0 + 1e-6)) as f32)
    })
}

/// Packs rows in f32: per group of `width` rows and component, that component of its rows. Rows
/// that are missing from the last group are zeros.
pub(super) fn pack(vectors: &UnitVectors, rows: Range<usize>, width: usize, out: &mut Vec<f32>) {
    let dimension = vectors.dimension();
    out.clear();
    out.resize(rows.len().next_multiple_of(width) * dimension, 0.0);
    for (group, out) in out.chunks_exact_mut(width * dimension).enumerate() {
        let start = rows.start + group * width;
        for (position, row) in (start..rows.end.min(start + width)).enumerate() {
            for (component, x) in vectors.row(row).iter().enumerate() {
                out[component * width + position] = *x;
            }
        }
    }
}
