//! What is done with candidates: they are recomputed, exactly, and kept if they are among the
//! best of a row, or given away if they are similar enough.

use super::best::Best;
use super::sweep::{Candidate, Collect};
use super::{Neighbour, Pair, PairSink};
use crate::error::Result;
use crate::unit::UnitVectors;

/// Candidates that are worth looking at together before they are recomputed.
const PRUNE_MIN: usize = 1024;

/// Pairs that are given to a sink at a time.
const SINK_PAIRS: usize = 4096;

/// Keeps the best of each row; if both sides are one set, of each column too.
pub(super) struct KeepBest<'a> {
    pub(super) left: &'a UnitVectors,
    pub(super) right: &'a UnitVectors,
    /// Whether the columns are the rows.
    pub(super) within: bool,
    pub(super) best: Best,
}

impl KeepBest<'_> {
    /// Whether a candidate can still be among the best of its row or its column.
    fn matters(&self, candidate: &Candidate, error: f32) -> bool {
        let most = candidate.score + error;
        most >= self.best.bound(candidate.row as usize)
            || self.within && most >= self.best.bound(candidate.column as usize)
    }

    /// Raises bounds by what many candidates are at least, without recomputing any of them: the
    /// `k`-th best of them less the error is a bound. Of more than one it does nothing where
    /// there are fewer candidates than that to a row, or to a column, on average.
    fn prune(&self, candidates: &mut [Candidate], error: f32, key: fn(&Candidate) -> u32) {
        let k = self.best.k();
        if k == 1 {
            let raise = |candidate: &Candidate| {
                self.best.raise(key(candidate) as usize, candidate.score - error);
            };
            return candidates.iter().for_each(raise);
        }
        let keys = candidates.iter().map(key);
        let (Some(low), Some(high)) = (keys.clone().min(), keys.max()) else { return };
        if candidates.len() <= k.saturating_mul((high - low) as usize + 1) {
            return;
        }
        candidates.sort_unstable_by_key(key);
        let mut scores = Vec::new();
        for group in candidates.chunk_by(|x, y| key(x) == key(y)) {
            if let [first, ..] = group
                && group.len() > k
            {
                scores.clear();
                scores.extend(group.iter().map(|candidate| candidate.score));
                let (_, kth, _) = scores.select_nth_unstable_by(k - 1, |x, y| y.total_cmp(x));
                self.best.raise(key(first) as usize, *kth - error);
            }
        }
    }
}

impl Collect for KeepBest<'_> {
    fn row_bound(&self, row: usize) -> f32 {
        self.best.bound(row)
    }

    fn column_bound(&self, column: usize) -> f32 {
        if self.within { self.best.bound(column) } else { f32::INFINITY }
    }

    fn take(&self, candidates: &mut Vec<Candidate>, error: f32) -> Result<usize> {
        if candidates.len() >= PRUNE_MIN && self.best.k() > 0 {
            if self.within {
                self.prune(candidates, error, |candidate| candidate.column);
            }
            self.prune(candidates, error, |candidate| candidate.row);
        }
        let mut finds = Vec::new();
        let mut vain = 0;
        for candidate in candidates.iter() {
            if !self.matters(candidate, error) {
                continue;
            }
            let (row, column) = (candidate.row, candidate.column);
            let score = self.left.cosine(row as usize, self.right, column as usize);
            let before = finds.len();
            if score >= self.best.bound(row as usize) {
                finds.push((row, Neighbour { row: column, score }));
            }
            if self.within && score >= self.best.bound(column as usize) {
                finds.push((column, Neighbour { row, score }));
            }
            vain += usize::from(before == finds.len());
        }
        finds.sort_unstable_by_key(|(row, _)| *row);
        self.best.offer(&finds);
        Ok(vain)
    }
}

/// Gives every pair from a threshold on to a sink.
pub(super) struct GiveAway<'a> {
    pub(super) left: &'a UnitVectors,
    pub(super) right: &'a UnitVectors,
    pub(super) threshold: f32,
    pub(super) sink: &'a PairSink<'a>,
}

impl Collect for GiveAway<'_> {
    fn row_bound(&self, _row: usize) -> f32 {
        self.threshold
    }

    fn column_bound(&self, _column: usize) -> f32 {
        f32::INFINITY
    }

    fn take(&self, candidates: &mut Vec<Candidate>, _error: f32) -> Result<usize> {
        let mut vain = 0;
        for candidates in candidates.chunks(SINK_PAIRS) {
            let exact = |candidate: &Candidate| Pair {
                a: candidate.row,
                b: candidate.column,
                score: self.left.cosine(
                    candidate.row as usize,
                    self.right,
                    candidate.column as usize,
                ),
            };
            let pairs: Vec<Pair> =
                candidates.iter().map(exact).filter(|pair| pair.score >= self.threshold).collect();
            vain += candidates.len() - pairs.len();
            if !pairs.is_empty() {
                (self.sink)(&pairs)?;
            }
        }
        Ok(vain)
    }
}
