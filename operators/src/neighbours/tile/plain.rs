//! Tiles in plain code, for processors that have none of the instructions of the others.

use super::{Limits, PANEL, Survivors};

/// Rows of a tile.
pub(super) const ROWS: usize = 3;

#[inline(never)]
pub(super) fn floats(rows: &[f32], columns: &[f32], limits: Limits<'_>, out: &mut Survivors<'_>) {
    let mut sums = [[0.0_f32; PANEL]; ROWS];
    let rows = rows.as_chunks::<ROWS>().0;
    for (row, column) in rows.iter().zip(columns.as_chunks::<PANEL>().0) {
        for (sums, row) in sums.iter_mut().zip(row) {
            for (sum, column) in sums.iter_mut().zip(column) {
                *sum += *row * *column;
            }
        }
    }
    for (row, sums) in sums.iter_mut().enumerate() {
        let (limit, inverse) = (limits.limit[row], limits.inverse[row]);
        let mut passed = 0_u32;
        for (column, value) in sums.iter_mut().enumerate() {
            *value *= limits.scale[column];
            let passes =
                !limit.is_nan() && (*value >= limit || *value >= limits.floor[column] * inverse);
            passed |= u32::from(passes) << column;
        }
        if passed != 0 {
            out.put(row, passed, sums);
        }
    }
}
