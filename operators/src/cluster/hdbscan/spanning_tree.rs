//! The minimum spanning tree of mutual reachability, by Prim's algorithm: no distance is kept, all
//! are computed when they are needed.

use rayon::prelude::*;

use crate::error::Result;
use crate::host::{Host, check};
use crate::lanes;
use crate::unit::UnitVectors;

/// Bytes of state a row, the tree included.
pub(super) const ROW_BYTES: usize = size_of::<Outside>() + size_of::<Edge>() + size_of::<f32>();

/// Rows that one thread compares at a time.
const ROWS_PER_TASK: usize = 256;

/// Rows between two reports of progress.
const ROWS_PER_REPORT: usize = 256;

/// Two rows that the tree joins, and how far apart they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) a: u32,
    pub(super) b: u32,
    pub(super) distance: f32,
}

/// A row that the tree has not reached.
#[derive(Clone, Copy)]
struct Outside {
    row: u32,
    /// The row of the tree that it is nearest to.
    nearest: u32,
    /// How near.
    distance: f32,
}

/// The euclidean distance of two rows.
pub(super) fn distance(vectors: &UnitVectors, a: usize, b: usize) -> f32 {
    lanes::squared_distance(vectors.row(a), vectors.row(b)).sqrt() as f32
}

/// All `n - 1` edges, the shortest first; `core` are the core distances. Among equal distances the
/// lower row comes first.
pub(super) fn spanning_tree(
    vectors: &UnitVectors,
    core: &[f32],
    host: &dyn Host,
) -> Result<Vec<Edge>> {
    let rows = vectors.rows();
    let mut outside: Vec<Outside> =
        (1..rows as u32).map(|row| Outside { row, nearest: 0, distance: f32::INFINITY }).collect();
    let mut edges = Vec::with_capacity(outside.len());
    let mut reached = 0;
    while !outside.is_empty() {
        check(host)?;
        if edges.len().is_multiple_of(ROWS_PER_REPORT) {
            // What is left is a triangle: its area is the time.
            let (total, left) = (rows as u64, outside.len() as u64);
            host.progress("joining rows", total * total - left * left, total * total);
        }
        let Some((position, next)) = closest(vectors, core, reached, &mut outside) else { break };
        edges.push(Edge { a: next.nearest, b: next.row, distance: next.distance });
        outside.swap_remove(position);
        reached = next.row;
    }
    edges.sort_by(|x, y| x.distance.total_cmp(&y.distance));
    Ok(edges)
}

/// Tells all rows outside of the row that was reached last, and gives the nearest.
fn closest(
    vectors: &UnitVectors,
    core: &[f32],
    reached: u32,
    outside: &mut [Outside],
) -> Option<(usize, Outside)> {
    let from = reached as usize;
    let nearer = |x: (usize, Outside), y: (usize, Outside)| {
        let order = x.1.distance.total_cmp(&y.1.distance).then(x.1.row.cmp(&y.1.row));
        if order.is_gt() { y } else { x }
    };
    let tasks = outside.par_chunks_mut(ROWS_PER_TASK).enumerate();
    let best_of_task = |(task, rows): (usize, &mut [Outside])| {
        let update = |(position, outside): (usize, &mut Outside)| {
            let to = outside.row as usize;
            let apart = distance(vectors, from, to).max(core[from]).max(core[to]);
            if apart < outside.distance {
                (outside.nearest, outside.distance) = (reached, apart);
            }
            (task * ROWS_PER_TASK + position, *outside)
        };
        rows.iter_mut().enumerate().map(update).reduce(nearer)
    };
    tasks.filter_map(best_of_task).reduce_with(nearer)
}
