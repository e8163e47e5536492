//! Tiles of all pairs, ready to be timed: a block of rows against a panel of columns, where nothing
//! survives.

use sembla_processor::Level;
use sembla_processor::bench::{Kernel, Peak};

use super::codes::{self, Bytes};
use super::tile::{Limits, Machine, PANEL, Survivors, TILE_ROWS_MAX};
use crate::host::Unbounded;
use crate::unit::UnitVectors;

/// Rows of a block; a multiple of the rows of all tiles.
const ROWS: usize = 14 * 12 * 5;

/// Limits that no product reaches.
const LIMITS: Limits<'_> = Limits {
    limit: &[f32::INFINITY; TILE_ROWS_MAX],
    inverse: &[1.0; TILE_ROWS_MAX],
    scale: &[1.0; PANEL],
    floor: &[f32::INFINITY; PANEL],
};

/// The tiles of a level, over vectors of so many components, of which `values` makes as many as are
/// asked for.
pub(crate) fn kernels(
    level: Level,
    dimension: usize,
    values: impl Fn(usize) -> Vec<f32>,
) -> Vec<Kernel> {
    let machine = Machine::of(level);
    let Ok(vectors) = UnitVectors::new(dimension, values(ROWS * dimension)) else {
        return Vec::new();
    };
    let operations = 2.0 * (ROWS * PANEL * dimension) as f64;
    let tiles = Bytes::tiles_for(machine, dimension);
    let bytes = tiles.and_then(|tiles| Bytes::new(&vectors, tiles, &Unbounded).ok());
    let mut kernels = vec![floats(machine, &vectors, operations)];
    kernels.extend(bytes.map(|bytes| products(bytes, operations)));
    kernels
}

fn floats(machine: Machine, vectors: &UnitVectors, operations: f64) -> Kernel {
    let (mut rows, mut columns) = (Vec::new(), Vec::new());
    let (tile_rows, dimension) = (machine.tile_rows(), vectors.dimension());
    codes::pack(vectors, 0..ROWS, tile_rows, &mut rows);
    codes::pack(vectors, 0..PANEL, PANEL, &mut columns);
    let mut found = Vec::new();
    let run = Box::new(move || {
        for rows in rows.chunks_exact(tile_rows * dimension) {
            let mut out = Survivors { found: &mut found, row: 0, column: 0 };
            machine.floats(rows, &columns, LIMITS, &mut out);
        }
    });
    Kernel { name: "all pairs, f32", peak: Some(Peak::Floats), operations, run }
}

fn products(bytes: Bytes<'static>, operations: f64) -> Kernel {
    let (mut rows, mut starts) = (Vec::new(), Vec::new());
    bytes.pack(0..ROWS, &mut rows, &mut starts);
    let tiles = bytes.tiles();
    let mut found = Vec::new();
    let run = Box::new(move || {
        for (rows, starts) in rows.chunks_exact(tiles.rows() * bytes.steps()).zip(&starts) {
            let mut out = Survivors { found: &mut found, row: 0, column: 0 };
            tiles.products(rows, bytes.panel(0), starts, LIMITS, &mut out);
        }
    });
    Kernel { name: "all pairs, 8 bits", peak: Some(Peak::Bytes), operations, run }
}
