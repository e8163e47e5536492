//! Communities: groups of rows around a centre that all of them are similar to, as
//! sentence-transformers 6.2.0's `community_detection` finds them.
//!
//! A row with at least `min_size` similar rows, itself included, is a candidate centre. Candidates
//! take their turn by the number of their similar rows, most first (equal: the lower row); one
//! whose row is not yet in a community takes all its similar rows that are not either, if that
//! makes `min_size` rows.
//!
//! The result needs the similar rows of each candidate, which can be n² of them. They are counted
//! first, and kept while they fit into [`KEPT_BYTES_MAX`] and into what the host lends. If they
//! don't, the lists of the next candidates are looked up again, a block at a time, among the rows
//! that are still free (`lookup`): no candidate is looked up twice, so all blocks together cost
//! at most twice the first pass.

mod lookup;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours::{self, Neighbour, Pair};
use crate::unit::UnitVectors;

/// Most bytes for pairs that are kept from the first pass: 16 a pair.
pub const KEPT_BYTES_MAX: usize = 1 << 30;

/// Bytes a row that are always needed: its size, its place among the candidates, whether it is
/// taken, and where its list begins.
const BYTES_PER_ROW: usize = 2 * size_of::<u32>() + size_of::<bool>() + 2 * size_of::<usize>();

/// Candidates that are looked at before the host is.
const CANDIDATES_PER_CHECK: usize = 256;

/// What makes a community.
#[derive(Clone, Debug, PartialEq)]
pub struct CommunityOptions {
    /// Least cosine of a row and the centre.
    pub threshold: f64,
    /// Fewest rows of a community, the centre included; at least 1.
    pub min_size: usize,
}

impl Default for CommunityOptions {
    fn default() -> Self {
        Self { threshold: 0.75, min_size: 10 }
    }
}

/// The communities, largest first (equal sizes: the one whose centre had more similar rows). Each
/// is its centre, with score 1, and then its other rows with their cosines to the centre, best
/// first (equal: the lower row). No row is in two communities.
///
/// A row without a direction is in none.
///
/// Cost: one pass over all pairs, and at most two more when the similar pairs don't fit into
/// memory. Memory: up to [`KEPT_BYTES_MAX`] and a few bytes a row.
///
/// # Errors
/// Options that can't be, what the host says.
///
/// # Examples
/// ```
/// use sembla_operators::communities::{CommunityOptions, communities};
/// use sembla_operators::{Unbounded, UnitVectors};
///
/// let vectors = UnitVectors::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.9, 0.1])?;
/// let options = CommunityOptions { threshold: 0.9, min_size: 2 };
/// let found = communities(&vectors, &options, &Unbounded)?;
/// assert_eq!(found.len(), 1);
/// assert_eq!(found[0].len(), 2);
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub fn communities(
    vectors: &UnitVectors,
    options: &CommunityOptions,
    host: &dyn Host,
) -> Result<Vec<Vec<Neighbour>>> {
    communities_within(vectors, options, KEPT_BYTES_MAX, host)
}

fn communities_within(
    vectors: &UnitVectors,
    options: &CommunityOptions,
    kept_bytes_max: usize,
    host: &dyn Host,
) -> Result<Vec<Vec<Neighbour>>> {
    let threshold = neighbours::check_threshold(options.threshold)?;
    if options.min_size == 0 {
        return Err(OperatorError::Option("min_size must be >= 1, got 0".into()));
    }
    let rows = vectors.rows();
    let _loan = Loan::new(host, rows * BYTES_PER_ROW)?;
    let first_pass = FirstPass::run(vectors, threshold, kept_bytes_max, host)?;
    let sizes = first_pass.sizes;
    let mut candidates: Vec<u32> = (0..rows as u32)
        .filter(|row| vectors.has_direction(*row as usize))
        .filter(|row| sizes[*row as usize] as usize >= options.min_size)
        .collect();
    candidates.sort_by_key(|row| std::cmp::Reverse(sizes[*row as usize]));

    let mut growth = Growth {
        vectors,
        min_size: options.min_size,
        is_taken: vec![false; rows],
        communities: Vec::new(),
    };
    match first_pass.kept {
        Some(kept) => {
            let lists = kept.lists(&sizes);
            for (turn, centre) in candidates.iter().enumerate() {
                if turn % CANDIDATES_PER_CHECK == 0 {
                    check(host)?;
                }
                growth.take_turn(*centre, lists.of(*centre));
            }
        }
        None => lookup::grow(&mut growth, &candidates, &sizes, threshold, host)?,
    }
    let mut communities = growth.communities;
    communities.sort_by_key(|community| std::cmp::Reverse(community.len()));
    Ok(communities)
}

/// Communities while they are made.
struct Growth<'a> {
    vectors: &'a UnitVectors,
    min_size: usize,
    /// Which rows are in a community.
    is_taken: Vec<bool>,
    communities: Vec<Vec<Neighbour>>,
}

impl Growth<'_> {
    /// Lets a candidate make its community. Of the rows that are similar to it, `similar` has at
    /// least those that are free; not the candidate itself.
    fn take_turn(&mut self, centre: u32, similar: &[u32]) {
        if self.is_taken[centre as usize] {
            return;
        }
        let free = similar.iter().filter(|row| !self.is_taken[**row as usize]);
        if 1 + free.clone().count() < self.min_size {
            return;
        }
        let score = |row: u32| self.vectors.cosine(centre as usize, self.vectors, row as usize);
        let mut members: Vec<Neighbour> =
            free.map(|row| Neighbour { row: *row, score: score(*row) }).collect();
        members.sort_by(Neighbour::best_first);
        members.insert(0, Neighbour { row: centre, score: 1.0 });
        members.iter().for_each(|member| self.is_taken[member.row as usize] = true);
        self.communities.push(members);
    }
}

/// How many rows are similar to each row, and which, if there is room.
struct FirstPass<'a> {
    /// Per row the number of similar rows, itself included.
    sizes: Vec<u32>,
    kept: Option<Kept<'a>>,
}

impl<'a> FirstPass<'a> {
    fn run(
        vectors: &UnitVectors,
        threshold: f32,
        kept_bytes_max: usize,
        host: &'a dyn Host,
    ) -> Result<Self> {
        let sizes: Vec<AtomicU32> = (0..vectors.rows()).map(|_| AtomicU32::new(1)).collect();
        let kept = Mutex::new(Some(Kept::new(kept_bytes_max, host)?));
        let sink = |pairs: &[Pair]| {
            for row in pairs.iter().flat_map(|pair| [pair.a, pair.b]) {
                sizes[row as usize].fetch_add(1, Ordering::Relaxed);
            }
            // A thread that panicked here has left whole pairs behind, and the panic goes on.
            let mut kept = kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if kept.as_mut().is_some_and(|kept| !kept.add(pairs)) {
                *kept = None;
            }
            Ok(())
        };
        neighbours::pairs_within(vectors, threshold, host, &sink)?;
        Ok(Self {
            sizes: sizes.into_iter().map(AtomicU32::into_inner).collect(),
            kept: kept.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()),
        })
    }
}

/// The similar pairs, as long as they fit. Scores are not kept; those that are needed are few and
/// taken again.
struct Kept<'a> {
    chunks: Vec<Vec<[u32; 2]>>,
    chunks_max: usize,
    /// For the pairs, and for both directions of each in [`Lists`].
    loan: Loan<'a>,
}

impl<'a> Kept<'a> {
    /// Pairs that are allocated at once.
    const CHUNK: usize = 1 << 16;
    /// Bytes of a chunk and of the lists that are made of it.
    const CHUNK_BYTES: usize = Self::CHUNK * 2 * size_of::<[u32; 2]>();

    fn new(bytes_max: usize, host: &'a dyn Host) -> Result<Self> {
        let chunks_max = bytes_max / Self::CHUNK_BYTES;
        Ok(Self { chunks: Vec::new(), chunks_max, loan: Loan::new(host, 0)? })
    }

    /// Whether the pairs fitted.
    fn add(&mut self, mut pairs: &[Pair]) -> bool {
        while !pairs.is_empty() {
            if self.chunks.last().is_none_or(|chunk| chunk.len() == Self::CHUNK) {
                let chunks = self.chunks.len() + 1;
                if chunks > self.chunks_max || self.loan.resize(chunks * Self::CHUNK_BYTES).is_err()
                {
                    return false;
                }
                self.chunks.push(Vec::with_capacity(Self::CHUNK));
            }
            let Some(chunk) = self.chunks.last_mut() else { return false };
            let (now, later) = pairs.split_at(pairs.len().min(Self::CHUNK - chunk.len()));
            chunk.extend(now.iter().map(|pair| [pair.a, pair.b]));
            pairs = later;
        }
        true
    }

    /// The similar rows of each row, from how many there are of each.
    fn lists(self, sizes: &[u32]) -> Lists<'a> {
        let mut starts = Vec::with_capacity(sizes.len() + 1);
        let mut total = 0;
        for size in sizes {
            starts.push(total);
            total += *size as usize - 1;
        }
        let mut next = starts.clone();
        starts.push(total);
        let mut rows = vec![0; total];
        for [a, b] in self.chunks.into_iter().flatten() {
            for (row, other) in [(a, b), (b, a)] {
                let next = &mut next[row as usize];
                rows[*next] = other;
                *next += 1;
            }
        }
        Lists { rows, starts, _loan: self.loan }
    }
}

/// The similar rows of each row, not itself, in no order.
struct Lists<'a> {
    /// Of row `i` the similar rows are `rows[starts[i]..starts[i + 1]]`.
    rows: Vec<u32>,
    starts: Vec<usize>,
    _loan: Loan<'a>,
}

impl Lists<'_> {
    fn of(&self, row: u32) -> &[u32] {
        &self.rows[self.starts[row as usize]..self.starts[row as usize + 1]]
    }
}

#[cfg(test)]
mod tests;
