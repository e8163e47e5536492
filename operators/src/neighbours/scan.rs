//! A few queries against many rows: each cosine at once, limited by memory's speed alone.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::best::Best;
use super::{COMPARING, Neighbour};
use crate::error::Result;
use crate::host::{Host, check};
use crate::unit::UnitVectors;

/// Rows of the corpus that a thread takes at a time.
const TASK_ROWS: usize = 4096;

/// Offers the best finds of each query.
///
/// # Errors
/// What the host says.
pub(super) fn best_of(
    queries: &UnitVectors,
    corpus: &UnitVectors,
    best: &Best,
    host: &dyn Host,
) -> Result<()> {
    let directed: Vec<usize> =
        (0..queries.rows()).filter(|query| queries.has_direction(*query)).collect();
    let done = AtomicU64::new(0);
    (0..corpus.rows().div_ceil(TASK_ROWS)).into_par_iter().try_for_each(|task| {
        check(host)?;
        let rows = task * TASK_ROWS..corpus.rows().min((task + 1) * TASK_ROWS);
        let mut finds = Vec::new();
        for query in &directed {
            for row in rows.clone() {
                let score = queries.cosine(*query, corpus, row);
                if score >= best.bound(*query) && corpus.has_direction(row) {
                    finds.push((*query as u32, Neighbour { row: row as u32, score }));
                    if finds.len() >= TASK_ROWS / 8 {
                        best.offer(&finds);
                        finds.clear();
                    }
                }
            }
        }
        best.offer(&finds);
        let done = done.fetch_add(rows.len() as u64, Ordering::Relaxed) + rows.len() as u64;
        host.progress(COMPARING, done, corpus.rows() as u64);
        Ok(())
    })
}
