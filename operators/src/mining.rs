//! Paraphrase mining: the pairs of rows that mean most nearly the same, within one set of vectors
//! or between two.
//!
//! Two ways to ask. [`mine`] looks at the `top_k` nearest of each row and gives the best
//! `max_pairs` of them, as sentence-transformers 6.2.0's `paraphrase_mining` does. [`every_pair`]
//! gives all pairs above a threshold to a sink and keeps none.
//!
//! Rows without a direction are in no pair; sentence-transformers gives them the score 0.

use rayon::prelude::*;

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours::{self, Neighbour, Neighbours, Pair, PairSink};
use crate::shortlist::Shortlist;
use crate::unit::UnitVectors;

/// Rows whose neighbours one thread looks through before it looks at the host again.
const ROWS_PER_TASK: usize = 1024;

/// What is mined.
#[derive(Clone, Debug, PartialEq)]
pub struct MiningOptions {
    /// Nearest rows of each row that are looked at; at least 1.
    pub top_k: usize,
    /// Most pairs that are given: the best. With 0 there are none.
    pub max_pairs: usize,
    /// Least score of a pair, a cosine.
    pub threshold: Option<f64>,
}

impl Default for MiningOptions {
    fn default() -> Self {
        Self { top_k: 100, max_pairs: 500_000, threshold: None }
    }
}

impl MiningOptions {
    /// The least score, once all options are checked.
    fn min_score(&self) -> Result<f32> {
        if self.top_k == 0 {
            return Err(OperatorError::Option("top_k must be >= 1, got 0".into()));
        }
        self.threshold.map_or(Ok(-1.0), neighbours::check_threshold)
    }
}

/// The best pairs of rows where one of the two is among the nearest of the other, best first (equal
/// scores: the lower `a`, then the lower `b`), each pair once with `a < b`.
///
/// Cost: that of [`neighbours::top_k_within`]; memory for `top_k` neighbours of each row and, per
/// thread, twice `max_pairs`.
///
/// # Errors
/// Options that can't be, what the host says.
///
/// # Examples
/// ```
/// use sembla_operators::mining::{self, MiningOptions};
/// use sembla_operators::{Unbounded, UnitVectors};
///
/// let vectors = UnitVectors::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.9, 0.1])?;
/// let options = MiningOptions { threshold: Some(0.5), ..MiningOptions::default() };
/// let pairs = mining::mine(&vectors, &options, &Unbounded)?;
/// assert_eq!((pairs.len(), pairs[0].a, pairs[0].b), (1, 0, 2));
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub fn mine(vectors: &UnitVectors, options: &MiningOptions, host: &dyn Host) -> Result<Vec<Pair>> {
    let min_score = options.min_score()?;
    if options.max_pairs == 0 {
        return Ok(Vec::new());
    }
    let found = neighbours::top_k_within(vectors, options.top_k, min_score, host)?;
    let _found_loan = Loan::new(host, Neighbours::bytes(found.rows(), options.top_k))?;
    mine_neighbours(&found, options, host)
}

/// The best pairs of a row and one of its neighbours within one set, however these were found; what
/// [`mine`] makes of the nearest.
///
/// # Errors
/// What the host says.
pub fn mine_neighbours(
    found: &Neighbours,
    options: &MiningOptions,
    host: &dyn Host,
) -> Result<Vec<Pair>> {
    if options.max_pairs == 0 {
        return Ok(Vec::new());
    }
    best_pairs(found.rows(), options, host, |row, best| {
        for neighbour in found.of(row) {
            let other = neighbour.row as usize;
            let seen_from_other = Neighbour { row: row as u32, score: neighbour.score };
            if row < other {
                best.push(Pair { a: row as u32, b: neighbour.row, score: neighbour.score });
            } else if !contains(found.of(other), seen_from_other) {
                best.push(Pair { a: neighbour.row, b: row as u32, score: neighbour.score });
            }
        }
    })
}

/// The best pairs of a row of `a` and a row of `b` where one of the two is among the nearest of the
/// other in its set, best first (equal scores: the lower `a`, then the lower `b`), each pair once.
/// Neither set is preferred: with the sets exchanged, the pairs are the same, turned around.
///
/// Cost: that of [`neighbours::top_k`] both ways.
///
/// # Errors
/// Options that can't be, different dimensions, what the host says.
pub fn mine_between(
    a: &UnitVectors,
    b: &UnitVectors,
    options: &MiningOptions,
    host: &dyn Host,
) -> Result<Vec<Pair>> {
    let min_score = options.min_score()?;
    a.check_dimension(b)?;
    if options.max_pairs == 0 {
        return Ok(Vec::new());
    }
    let from_a = neighbours::top_k(a, b, options.top_k, min_score, host)?;
    let _from_a_loan = Loan::new(host, Neighbours::bytes(from_a.rows(), options.top_k))?;
    let from_b = neighbours::top_k(b, a, options.top_k, min_score, host)?;
    let _from_b_loan = Loan::new(host, Neighbours::bytes(from_b.rows(), options.top_k))?;
    best_pairs(a.rows() + b.rows(), options, host, |row, best| {
        if row < a.rows() {
            for found in from_a.of(row) {
                best.push(Pair { a: row as u32, b: found.row, score: found.score });
            }
            return;
        }
        let row = row - a.rows();
        for found in from_b.of(row) {
            let seen_from_a = Neighbour { row: row as u32, score: found.score };
            if !contains(from_a.of(found.row as usize), seen_from_a) {
                best.push(Pair { a: found.row, b: row as u32, score: found.score });
            }
        }
    })
}

/// Gives every pair of two rows with a cosine of at least `threshold` to `sink`, once, the lower
/// row first, in no order. Nothing is kept: memory does not grow with the number of pairs.
///
/// # Errors
/// A threshold that is no cosine, what the host or the sink says.
pub fn every_pair(
    vectors: &UnitVectors,
    threshold: f64,
    host: &dyn Host,
    sink: &PairSink<'_>,
) -> Result<()> {
    neighbours::pairs_within(vectors, neighbours::check_threshold(threshold)?, host, sink)
}

/// Gives every pair of a row of `a` and a row of `b` with a cosine of at least `threshold` to
/// `sink`, as [`every_pair`] does.
///
/// # Errors
/// A threshold that is no cosine, different dimensions, what the host or the sink says.
pub fn every_pair_between(
    a: &UnitVectors,
    b: &UnitVectors,
    threshold: f64,
    host: &dyn Host,
    sink: &PairSink<'_>,
) -> Result<()> {
    neighbours::pairs_between(a, b, neighbours::check_threshold(threshold)?, host, sink)
}

/// Whether neighbours, best first, have this one. A pair has one score from both sides, to the bit,
/// so its place in the order is known.
fn contains(best_first: &[Neighbour], wanted: Neighbour) -> bool {
    best_first.binary_search_by(|at| at.best_first(&wanted)).is_ok()
}

/// The best pairs of those that `pairs_of` pushes for each row, which are all different.
fn best_pairs(
    rows: usize,
    options: &MiningOptions,
    host: &dyn Host,
    pairs_of: impl Fn(usize, &mut Shortlist<Pair>) + Sync,
) -> Result<Vec<Pair>> {
    let pairs_max = options.max_pairs.saturating_mul(2 * rayon::current_num_threads());
    let pairs_max = pairs_max.min(rows.saturating_mul(options.top_k));
    let _loan = Loan::new(host, pairs_max.saturating_mul(size_of::<Pair>()))?;
    let empty = || Shortlist::new(options.max_pairs, Pair::best_first);
    let best = (0..rows.div_ceil(ROWS_PER_TASK))
        .into_par_iter()
        .try_fold(empty, |mut best, task| {
            check(host)?;
            let end = rows.min((task + 1) * ROWS_PER_TASK);
            (task * ROWS_PER_TASK..end).for_each(|row| pairs_of(row, &mut best));
            Ok::<_, OperatorError>(best)
        })
        .try_reduce(empty, |best, other| Ok(best.merged(other)))?;
    let mut pairs = best.into_best();
    pairs.par_sort_unstable_by(Pair::best_first);
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;
    use crate::host::Unbounded;
    use crate::host::tests::Limited;
    use crate::test_rows::random_rows;

    /// sentence-transformers' way, step by step: neighbours, rows in order, pairs seen once.
    fn slow_mine(vectors: &UnitVectors, options: &MiningOptions) -> Vec<Pair> {
        let mut seen = BTreeSet::new();
        let mut pairs = Vec::new();
        for row in 0..vectors.rows() {
            for found in slow_nearest(vectors, row, vectors, Some(row), options) {
                let (a, b) = (found.row.min(row as u32), found.row.max(row as u32));
                if seen.insert((a, b)) {
                    pairs.push(Pair { a, b, score: found.score });
                }
            }
        }
        pairs.sort_by(Pair::best_first);
        pairs.truncate(options.max_pairs);
        pairs
    }

    fn slow_mine_between(a: &UnitVectors, b: &UnitVectors, options: &MiningOptions) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for row in 0..a.rows() {
            let found = slow_nearest(a, row, b, None, options);
            pairs.extend(found.iter().map(|x| Pair { a: row as u32, b: x.row, score: x.score }));
        }
        for row in 0..b.rows() {
            let found = slow_nearest(b, row, a, None, options);
            pairs.extend(found.iter().map(|x| Pair { a: x.row, b: row as u32, score: x.score }));
        }
        pairs.sort_by(Pair::best_first);
        pairs.dedup();
        pairs.truncate(options.max_pairs);
        pairs
    }

    fn slow_nearest(
        queries: &UnitVectors,
        query: usize,
        corpus: &UnitVectors,
        except: Option<usize>,
        options: &MiningOptions,
    ) -> Vec<Neighbour> {
        let least = options.threshold.unwrap_or(-1.0) as f32;
        let mut found: Vec<Neighbour> = (0..corpus.rows())
            .filter(|row| Some(*row) != except)
            .filter(|row| corpus.has_direction(*row) && queries.has_direction(query))
            .map(|row| Neighbour { row: row as u32, score: queries.cosine(query, corpus, row) })
            .filter(|found| found.score >= least)
            .collect();
        found.sort_by(|x, y| y.score.total_cmp(&x.score).then(x.row.cmp(&y.row)));
        found.truncate(options.top_k);
        found
    }

    fn settings() -> impl Iterator<Item = MiningOptions> {
        [(1, 1), (3, 10), (5, 100), (100, usize::MAX)].into_iter().flat_map(|(top_k, max_pairs)| {
            [None, Some(0.2)].map(|threshold| MiningOptions { top_k, max_pairs, threshold })
        })
    }

    #[test]
    fn mining_is_what_the_plain_way_gives() {
        for rows in [0, 1, 2, 50, 300] {
            let (a, b) = (random_rows(rows, 6, 3), random_rows(rows / 2 + 1, 6, 4));
            for options in settings() {
                let got = mine(&a, &options, &Unbounded).expect("mined");
                assert_eq!(got, slow_mine(&a, &options), "{rows} rows, {options:?}");
                let got = mine_between(&a, &b, &options, &Unbounded).expect("mined");
                assert_eq!(got, slow_mine_between(&a, &b, &options), "{rows}, {options:?}");
                let turned = mine_between(&b, &a, &options, &Unbounded).expect("mined");
                if options.max_pairs == usize::MAX {
                    let mut turned: Vec<Pair> =
                        turned.iter().map(|x| Pair { a: x.b, b: x.a, score: x.score }).collect();
                    turned.sort_by(Pair::best_first);
                    assert_eq!(got, turned);
                }
            }
        }
    }

    #[test]
    fn every_pair_comes_once() {
        let vectors = random_rows(120, 5, 9);
        let pairs = Mutex::new(Vec::new());
        let sink = |found: &[Pair]| {
            pairs.lock().expect("whole").extend_from_slice(found);
            Ok(())
        };
        every_pair(&vectors, 0.5, &Unbounded, &sink).expect("emitted");
        let mut pairs = pairs.into_inner().expect("whole");
        pairs.sort_by(Pair::best_first);
        let all = MiningOptions { top_k: 120, max_pairs: usize::MAX, threshold: Some(0.5) };
        assert_eq!(pairs, slow_mine(&vectors, &all));
        assert!(!pairs.is_empty());
        assert!(every_pair(&vectors, 7.0, &Unbounded, &|_| Ok(())).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused_in_one_line() {
        let vectors = random_rows(10, 4, 1);
        let message = |options: MiningOptions| {
            mine(&vectors, &options, &Unbounded).expect_err("refused").to_string()
        };
        let options = MiningOptions { threshold: Some(7.0), ..MiningOptions::default() };
        assert_eq!(message(options), "threshold must be a cosine between -1 and 1, got 7");
        let options = MiningOptions { top_k: 0, ..MiningOptions::default() };
        assert_eq!(message(options), "top_k must be >= 1, got 0");
        let none = MiningOptions { max_pairs: 0, ..MiningOptions::default() };
        assert_eq!(mine(&vectors, &none, &Unbounded), Ok(vec![]));
    }

    #[test]
    fn the_host_can_stop_and_limit_it() {
        let vectors = random_rows(100, 4, 1);
        let stopped = Limited { limit: usize::MAX, cancelled: true, ..Limited::default() };
        let got = mine(&vectors, &MiningOptions::default(), &stopped);
        assert_eq!(got, Err(OperatorError::Cancelled));
        let poor = Limited { limit: 100, ..Limited::default() };
        let got = mine(&vectors, &MiningOptions::default(), &poor);
        assert!(matches!(got, Err(OperatorError::Memory(_))), "{got:?}");
    }
}
