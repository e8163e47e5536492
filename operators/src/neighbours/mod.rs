//! Which rows are similar: the `k` nearest of each row, and all pairs above a threshold, within one
//! set of vectors or between two. Exact.
//!
//! Everything here is defined by [`UnitVectors::cosine`] and one order: the higher cosine first,
//! then the lower row. Rows without a direction are neither found nor find anything.

pub(crate) mod bench;
mod best;
mod codes;
mod collect;
mod scan;
#[cfg(test)]
mod slow;
mod sweep;
#[cfg(test)]
mod tests;
mod tile;

use best::Best;
use collect::{GiveAway, KeepBest};
use sweep::{Pairs, Sweep};
use tile::Machine;

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan};
use crate::unit::UnitVectors;

/// The stage that hosts hear of.
const COMPARING: &str = "comparing";

/// So few queries are compared one by one: tiles would be mostly empty.
const SCAN_ROWS: usize = 8;

/// Rows that each row meets first within one set.
const FIRST_ROWS: usize = 128;

/// A row that was found, and how similar it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The row that was found.
    pub row: u32,
    /// Its cosine with the row that looked.
    pub score: f32,
}

impl Neighbour {
    /// The order of neighbours: the higher score first, then the lower row.
    pub fn best_first(&self, other: &Self) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Two rows and their cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// A row of the first set; within one set, the lower row.
    pub a: u32,
    /// A row of the second set; within one set, the higher row.
    pub b: u32,
    /// Their cosine.
    pub score: f32,
}

impl Pair {
    /// The order of findings: the higher score first, then the lower `a`, then the lower `b`.
    pub fn best_first(&self, other: &Self) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(self.a.cmp(&other.a)).then(self.b.cmp(&other.b))
    }
}

/// The nearest rows of each of many rows, best first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    /// Of row `i` the neighbours are `found[starts[i]..starts[i + 1]]`.
    found: Vec<Neighbour>,
    starts: Vec<usize>,
}

impl Neighbours {
    /// Number of rows that looked.
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The neighbours of a row, best first.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn of(&self, row: usize) -> &[Neighbour] {
        &self.found[self.starts[row]..self.starts[row + 1]]
    }

    /// The neighbours of row after row.
    pub(crate) fn from_rows(rows: Vec<Vec<Neighbour>>) -> Self {
        let mut starts = vec![0];
        starts.extend(rows.iter().scan(0, |found, row| {
            *found += row.len();
            Some(*found)
        }));
        Self { found: rows.concat(), starts }
    }

    /// Bytes that these neighbours of `rows` rows take at most.
    pub fn bytes(rows: usize, k: usize) -> usize {
        rows * (k * size_of::<Neighbour>() + size_of::<usize>())
    }
}

/// Where pairs go while they are found: many threads call it, in no order, with some pairs at a
/// time. An error ends the search.
pub type PairSink<'a> = dyn Fn(&[Pair]) -> Result<()> + Sync + 'a;

/// The `k` most similar rows of `corpus` for each row of `queries`, of those with a cosine of at
/// least `min_score`.
///
/// # Errors
/// Different dimensions, what the host says.
///
/// # Examples
/// ```
/// use sembla_operators::{Unbounded, UnitVectors, neighbours};
///
/// let corpus = UnitVectors::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.9, 0.1])?;
/// let query = UnitVectors::new(2, vec![1.0, 0.0])?;
/// let nearest = neighbours::top_k(&query, &corpus, 2, -1.0, &Unbounded)?;
/// let rows: Vec<u32> = nearest.of(0).iter().map(|hit| hit.row).collect();
/// assert_eq!(rows, [0, 2]);
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub fn top_k(
    queries: &UnitVectors,
    corpus: &UnitVectors,
    k: usize,
    min_score: f32,
    host: &dyn Host,
) -> Result<Neighbours> {
    queries.check_dimension(corpus)?;
    best_of(queries, corpus, k, min_score, Machine::active(), host)
}

/// The `k` most similar other rows of each row, of those with a cosine of at least `min_score`.
///
/// # Errors
/// What the host says.
pub fn top_k_within(
    vectors: &UnitVectors,
    k: usize,
    min_score: f32,
    host: &dyn Host,
) -> Result<Neighbours> {
    best_within(vectors, k, min_score, Machine::active(), host)
}

/// Every pair of a row of `a` and a row of `b` with a cosine of at least `threshold`.
///
/// # Errors
/// Different dimensions, what the host or the sink says.
pub fn pairs_between(
    a: &UnitVectors,
    b: &UnitVectors,
    threshold: f32,
    host: &dyn Host,
    sink: &PairSink<'_>,
) -> Result<()> {
    a.check_dimension(b)?;
    let sweep = Sweep::new(a, Some(b), Machine::active(), host)?;
    let collect = GiveAway { left: a, right: b, threshold, sink };
    sweep.run(Pairs::Between, Some(COMPARING), &collect)
}

/// Every pair of two rows with a cosine of at least `threshold`, once, the lower row first.
///
/// # Errors
/// What the host or the sink says.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use sembla_operators::{Unbounded, UnitVectors, neighbours};
///
/// let vectors = UnitVectors::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.9, 0.1])?;
/// // The sink is called from many threads.
/// let found = AtomicUsize::new(0);
/// neighbours::pairs_within(&vectors, 0.9, &Unbounded, &|pairs| {
///     found.fetch_add(pairs.len(), Ordering::Relaxed);
///     Ok(())
/// })?;
/// assert_eq!(found.into_inner(), 1);
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub fn pairs_within(
    vectors: &UnitVectors,
    threshold: f32,
    host: &dyn Host,
    sink: &PairSink<'_>,
) -> Result<()> {
    let sweep = Sweep::new(vectors, None, Machine::active(), host)?;
    let collect = GiveAway { left: vectors, right: vectors, threshold, sink };
    sweep.run(Pairs::Within, Some(COMPARING), &collect)
}

/// [`top_k`] on a kind of machine.
fn best_of(
    queries: &UnitVectors,
    corpus: &UnitVectors,
    k: usize,
    min_score: f32,
    machine: Machine,
    host: &dyn Host,
) -> Result<Neighbours> {
    let k = k.min(corpus.rows());
    let _loan = Loan::new(host, 2 * Best::size(queries.rows(), k))?;
    let best = Best::new(queries.rows(), k, min_score);
    if queries.rows() < SCAN_ROWS {
        scan::best_of(queries, corpus, &best, host)?;
        return Ok(best.into_neighbours());
    }
    let sweep = Sweep::new(queries, Some(corpus), machine, host)?;
    let keep = KeepBest { left: queries, right: corpus, within: false, best };
    sweep.run(Pairs::Between, Some(COMPARING), &keep)?;
    Ok(keep.best.into_neighbours())
}

/// [`top_k_within`] on a kind of machine.
fn best_within(
    vectors: &UnitVectors,
    k: usize,
    min_score: f32,
    machine: Machine,
    host: &dyn Host,
) -> Result<Neighbours> {
    let rows = vectors.rows();
    let k = k.min(rows.saturating_sub(1));
    let _loan = Loan::new(host, 2 * Best::size(rows, k))?;
    let sweep = Sweep::new(vectors, None, machine, host)?;
    let best = Best::new(rows, k, min_score);
    let keep = KeepBest { left: vectors, right: vectors, within: true, best };
    // A row that has met some others first has a bound when the many come.
    sweep.run(Pairs::Groups(FIRST_ROWS), None, &keep)?;
    sweep.run(Pairs::ExceptGroups(FIRST_ROWS), Some(COMPARING), &keep)?;
    Ok(keep.best.into_neighbours())
}

/// Checks a threshold on cosines.
///
/// # Errors
/// [`OperatorError::Option`] outside -1..=1.
pub fn check_threshold(threshold: f64) -> Result<f32> {
    if (-1.0..=1.0).contains(&threshold) {
        return Ok(threshold as f32);
    }
    Err(OperatorError::Option(format!(
        "threshold must be a cosine between -1 and 1, got {threshold}"
    )))
}
