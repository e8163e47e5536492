//! HDBSCAN: the clusters that persist longest while the density at which rows hang together rises
//! (Campello, Moulavi and Sander 2013), as scikit-learn's `HDBSCAN` with its defaults.
//!
//! Distances are euclidean between unit vectors, `√(2 - 2·cos)`. Two rows reach each other at the
//! largest of their distance and both core distances, a core distance being that to the
//! `min_samples`-th nearest row, itself counted. `spanning_tree` joins all rows at the
//! least of these; `persistence` cuts the tree.

mod persistence;
mod spanning_tree;

use crate::error::Result;
use crate::host::{Host, Loan};
use crate::neighbours::{self, Neighbours};
use crate::unit::UnitVectors;

/// Groups of rows, by number. Time `n²·d/2` besides a search for neighbours; memory a few numbers
/// a row.
pub(super) fn hdbscan(
    vectors: &UnitVectors,
    min_size: usize,
    min_samples: usize,
    host: &dyn Host,
) -> Result<Vec<Option<u32>>> {
    let rows = vectors.rows();
    let _state =
        Loan::new(host, rows.saturating_mul(spanning_tree::ROW_BYTES + persistence::ROW_BYTES))?;
    let core = core_distances(vectors, min_samples, host)?;
    let edges = spanning_tree::spanning_tree(vectors, &core, host)?;
    Ok(persistence::clusters(rows, &edges, min_size))
}

/// Each row's distance to its `min_samples`-th nearest row, itself counted; to the farthest where
/// there are fewer.
fn core_distances(vectors: &UnitVectors, min_samples: usize, host: &dyn Host) -> Result<Vec<f32>> {
    let others = min_samples.saturating_sub(1).min(vectors.rows().saturating_sub(1));
    let _found = Loan::new(host, Neighbours::bytes(vectors.rows(), others))?;
    let found = neighbours::top_k_within(vectors, others, -1.0, host)?;
    let core = |row| {
        let last = found.of(row).last();
        last.map_or(0.0, |last| spanning_tree::distance(vectors, row, last.row as usize))
    };
    Ok((0..vectors.rows()).map(core).collect())
}

#[cfg(test)]
mod tests;
