//! The best finds of many rows while they are looked for by many threads.
//!
//! Every row has a bound: no score below it can be among its `k` best any more. Bounds only rise
//! and are read without a lock; the finds of a block of rows are behind one lock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Neighbour, Neighbours};

/// Rows behind one lock.
pub(super) const LOCK_ROWS: usize = 256;

/// The `k` best finds of each row so far.
pub(super) struct Best {
    k: usize,
    /// Bits of the bounds.
    bounds: Vec<AtomicU32>,
    blocks: Vec<Mutex<Block>>,
}

/// The finds of `LOCK_ROWS` rows, each with `k` places, best first.
struct Block {
    places: Vec<Neighbour>,
    taken: Vec<u32>,
}

impl Best {
    /// Bytes that the finds of so many rows take.
    pub(super) fn size(rows: usize, k: usize) -> usize {
        rows * (k * size_of::<Neighbour>() + 2 * size_of::<u32>())
    }

    /// Nothing found yet; finds below `min_score` will not be kept.
    pub(super) fn new(rows: usize, k: usize, min_score: f32) -> Self {
        let bound = if k == 0 { f32::INFINITY } else { min_score };
        let none = Neighbour { row: 0, score: 0.0 };
        let block = |start: usize| {
            let rows = LOCK_ROWS.min(rows - start);
            Mutex::new(Block { places: vec![none; rows * k], taken: vec![0; rows] })
        };
        Self {
            k,
            bounds: (0..rows).map(|_| AtomicU32::new(bound.to_bits())).collect(),
            blocks: (0..rows).step_by(LOCK_ROWS).map(block).collect(),
        }
    }

    /// How many finds a row keeps.
    pub(super) fn k(&self) -> usize {
        self.k
    }

    /// What a score must reach to be kept.
    #[inline]
    pub(super) fn bound(&self, row: usize) -> f32 {
        f32::from_bits(self.bounds[row].load(Ordering::Relaxed))
    }

    /// Says that `k` finds of at least this score are known to exist.
    pub(super) fn raise(&self, row: usize, score: f32) {
        let bound = &self.bounds[row];
        let mut seen = bound.load(Ordering::Relaxed);
        while f32::from_bits(seen) < score {
            let raised = score.to_bits();
            match bound.compare_exchange_weak(seen, raised, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Offers finds: a row and what it found. Sorted by row, so that locks are taken seldom.
    pub(super) fn offer(&self, finds: &[(u32, Neighbour)]) {
        for finds in finds.chunk_by(|x, y| x.0 as usize / LOCK_ROWS == y.0 as usize / LOCK_ROWS) {
            let Some((first, _)) = finds.first() else { continue };
            let block = *first as usize / LOCK_ROWS;
            let mut guard = self.blocks[block].lock().unwrap_or_else(|error| error.into_inner());
            for (row, find) in finds {
                let row = *row as usize;
                if find.score >= self.bound(row)
                    && let Some(bound) = guard.insert(row - block * LOCK_ROWS, self.k, *find)
                {
                    self.raise(row, bound);
                }
            }
        }
    }

    /// All finds.
    pub(super) fn into_neighbours(self) -> Neighbours {
        let blocks = self.blocks.into_iter();
        let blocks: Vec<Block> = blocks
            .map(|block| block.into_inner().unwrap_or_else(|error| error.into_inner()))
            .collect();
        let total = blocks.iter().flat_map(|block| &block.taken).map(|taken| *taken as usize).sum();
        let mut found = Vec::with_capacity(total);
        let mut starts = vec![0];
        for block in blocks {
            for (row, taken) in block.taken.iter().enumerate() {
                found.extend_from_slice(&block.places[row * self.k..][..*taken as usize]);
                starts.push(found.len());
            }
        }
        Neighbours { found, starts }
    }
}

impl Block {
    /// Puts a find in its place if it is one of the best. Tells the least score of a full row.
    fn insert(&mut self, row: usize, k: usize, find: Neighbour) -> Option<f32> {
        let places = &mut self.places[row * k..][..k];
        let taken = self.taken[row] as usize;
        let before = |other: &Neighbour| {
            (other.score > find.score) || (other.score == find.score && other.row < find.row)
        };
        let position = places[..taken].partition_point(before);
        if position < k {
            let kept = taken.min(k - 1);
            places.copy_within(position..kept, position + 1);
            places[position] = find;
            self.taken[row] = (kept + 1) as u32;
        }
        (self.taken[row] as usize == k).then(|| places[k - 1].score)
    }
}
