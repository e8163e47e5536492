//! Stars: rows in the order in which they would be kept, each dropped if it is similar to one that
//! was kept before it.
//!
//! With vectors, the rows are halved: the first half is settled, the second is compared with what
//! was kept of it, and is then settled itself. So each row meets exactly the rows kept before it,
//! the comparisons are large where most of them are, and no list of pairs is longer than
//! [`LEAF_ROWS`]² / 2.

use super::pairs::{PairList, Similar};
use super::places::Places;
use crate::error::Result;
use crate::host::{Host, Loan, Quiet};
use crate::neighbours::{self, Neighbour, Pair};
use crate::unit::UnitVectors;

/// Rows that are settled by all their pairs at once.
const LEAF_ROWS: usize = 2048;

/// Rows that are compared with as many others in one call: their copies are the memory that is
/// needed.
const CHUNK_ROWS: usize = 1 << 15;

/// For each row of `order`, the most similar of the rows kept before it (equal: the one kept
/// first), as a place in `order`; `None` for a row that is kept.
pub(super) fn nearest_kept(
    similar: Similar<'_>,
    order: &[u32],
    host: &dyn Host,
) -> Result<Vec<Option<Neighbour>>> {
    let _loan = Loan::new(host, order.len() * size_of::<Option<Neighbour>>())?;
    match similar {
        Similar::Vectors { vectors, threshold } => {
            let mut star = Star::new(vectors, threshold, order, host);
            star.settle(0, order.len())?;
            Ok(star.nearest)
        }
        Similar::Pairs { mut pairs, .. } => {
            let mut nearest = vec![None; order.len()];
            place(&mut pairs.pairs, order);
            settle_by_pairs(&mut pairs.pairs, &mut nearest);
            Ok(nearest)
        }
    }
}

/// Turns pairs of rows into pairs of places in an order, the earlier first. Pairs with a row that
/// has no place are left out.
fn place(pairs: &mut Vec<Pair>, order: &[u32]) {
    let places = Places::new(order);
    pairs.retain_mut(|pair| {
        let (Some(a), Some(b)) = (places.of(pair.a), places.of(pair.b)) else { return false };
        (pair.a, pair.b) = (a.min(b), a.max(b));
        true
    });
}

/// Settles places by all pairs among them, the earlier place first in each. Those that have a
/// nearest already are dropped; a nearer one may still be found.
fn settle_by_pairs(pairs: &mut [Pair], nearest: &mut [Option<Neighbour>]) {
    pairs.sort_unstable_by_key(|pair| (pair.b, pair.a));
    for pair in pairs {
        // All pairs in which `a` is the later place are behind us.
        if nearest[pair.a as usize].is_none() {
            offer(&mut nearest[pair.b as usize], Neighbour { row: pair.a, score: pair.score });
        }
    }
}

/// Takes what is more similar. What was kept earlier is offered earlier.
fn offer(nearest: &mut Option<Neighbour>, found: Neighbour) {
    if nearest.is_none_or(|nearest| found.score > nearest.score) {
        *nearest = Some(found);
    }
}

struct Star<'a> {
    vectors: &'a UnitVectors,
    threshold: f32,
    order: &'a [u32],
    nearest: Vec<Option<Neighbour>>,
    host: &'a dyn Host,
    /// Pairs of places that are behind us.
    compared: u64,
}

impl<'a> Star<'a> {
    fn new(vectors: &'a UnitVectors, threshold: f32, order: &'a [u32], host: &'a dyn Host) -> Self {
        Self { vectors, threshold, order, nearest: vec![None; order.len()], host, compared: 0 }
    }

    /// Settles the places from `start` to `end`, which know the nearest of those kept before
    /// `start`. Gives the places that are kept.
    fn settle(&mut self, start: usize, end: usize) -> Result<Vec<u32>> {
        if end - start <= LEAF_ROWS {
            return self.settle_leaf(start, end);
        }
        let middle = usize::midpoint(start, end);
        let mut kept = self.settle(start, middle)?;
        for from in (middle..end).step_by(CHUNK_ROWS) {
            let to = end.min(from + CHUNK_ROWS);
            self.compare(from, to, &kept)?;
            self.advance((to - from) * (middle - start));
        }
        kept.extend(self.settle(middle, end)?);
        Ok(kept)
    }

    /// Lets places look at earlier ones that are kept.
    fn compare(&mut self, from: usize, to: usize, kept: &[u32]) -> Result<()> {
        let bytes_per_row = self.vectors.dimension() * size_of::<f32>();
        let _loan = Loan::new(self.host, bytes_per_row * (to - from + kept.len().min(CHUNK_ROWS)))?;
        let looking = self.vectors.select(&self.order[from..to]);
        for kept in kept.chunks(CHUNK_ROWS) {
            let rows: Vec<u32> = kept.iter().map(|place| self.order[*place as usize]).collect();
            let kept_vectors = self.vectors.select(&rows);
            let quiet = Quiet(self.host);
            let found = neighbours::top_k(&looking, &kept_vectors, 1, self.threshold, &quiet)?;
            for (row, nearest) in self.nearest[from..to].iter_mut().enumerate() {
                if let Some(found) = found.of(row).first() {
                    offer(nearest, Neighbour { row: kept[found.row as usize], ..*found });
                }
            }
        }
        Ok(())
    }

    fn settle_leaf(&mut self, start: usize, end: usize) -> Result<Vec<u32>> {
        let rows = self.vectors.select(&self.order[start..end]);
        let mut found = PairList::collect(self.host, |sink| {
            neighbours::pairs_within(&rows, self.threshold, &Quiet(self.host), sink)
        })?;
        for pair in &mut found.pairs {
            (pair.a, pair.b) = (pair.a + start as u32, pair.b + start as u32);
        }
        settle_by_pairs(&mut found.pairs, &mut self.nearest);
        self.advance((end - start) * (end - start) / 2);
        let is_kept = |place: &u32| self.nearest[*place as usize].is_none();
        Ok((start as u32..end as u32).filter(is_kept).collect())
    }

    fn advance(&mut self, pairs: usize) {
        let rows = self.order.len() as u64;
        self.compared += pairs as u64;
        self.host.progress("comparing", self.compared, rows * rows / 2);
    }
}
