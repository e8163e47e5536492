//! DBSCAN: rows with enough neighbours are dense; dense rows that are neighbours share a cluster; a
//! row beside a dense one joins the cluster of the nearest such (Ester et al. 1996).
//!
//! Neighbours are found twice, first to be counted and then to be united, and no pair is kept:
//! memory is a few numbers a row, however many pairs there are. Each step gives the same
//! in any order of the pairs, so many threads can take it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::Result;
use crate::forest::Forest;
use crate::host::{Host, Loan};
use crate::neighbours::{self, Pair};
use crate::unit::UnitVectors;

/// Groups of rows, each named by its lowest dense row. `eps` is a cosine distance; a row counts
/// among its own neighbours.
pub(super) fn dbscan(
    vectors: &UnitVectors,
    eps: f64,
    min_size: usize,
    host: &dyn Host,
) -> Result<Vec<Option<u32>>> {
    let rows = vectors.rows();
    let _state = Loan::new(host, rows * (2 * size_of::<u32>() + size_of::<u64>()))?;
    let threshold = (1.0 - eps) as f32;

    let counts: Vec<AtomicU32> = (0..rows).map(|_| AtomicU32::new(1)).collect();
    neighbours::pairs_within(vectors, threshold, host, &|pairs| {
        for row in pairs.iter().flat_map(|pair| [pair.a, pair.b]) {
            counts[row as usize].fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?;
    let is_dense = |row: u32| counts[row as usize].load(Ordering::Relaxed) as usize >= min_size;

    let forest = Forest::new(rows);
    let nearest: Vec<AtomicU64> = (0..rows).map(|_| AtomicU64::new(0)).collect();
    let offer = |row: u32, dense: u32, score| {
        nearest[row as usize].fetch_max(rank(score, dense), Ordering::Relaxed);
    };
    neighbours::pairs_within(vectors, threshold, host, &|pairs| {
        for Pair { a, b, score } in pairs.iter().copied() {
            match (is_dense(a), is_dense(b)) {
                (true, true) => forest.unite(a, b),
                (true, false) => offer(b, a, score),
                (false, true) => offer(a, b, score),
                (false, false) => {}
            }
        }
        Ok(())
    })?;

    let group = |row: u32| {
        if is_dense(row) {
            return Some(forest.root(row));
        }
        match nearest[row as usize].load(Ordering::Relaxed) {
            0 => None,
            rank => Some(forest.root(ranked(rank))),
        }
    };
    Ok((0..rows as u32).map(group).collect())
}

/// A number that is higher for a higher score and, among equal ones, for a lower row. Never 0,
/// since rows are below 2³¹.
fn rank(score: f32, row: u32) -> u64 {
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ascending) << 32 | u64::from(!row)
}

/// The row of a rank.
fn ranked(rank: u64) -> u32 {
    !(rank as u32)
}

#[cfg(test)]
mod tests;
