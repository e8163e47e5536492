//! Communities when the similar pairs don't fit into memory: what the next candidates are similar
//! to is looked up when their turn is near.
//!
//! A block of candidates that are still free is compared with the rows that are still free. Some of
//! the block are taken by others before their turn, and their comparison was in vain: blocks shrink
//! when that was most of one, and grow when it was few. Memory: the lists of one block, whose
//! lengths are known, and a copy of the free rows once they are half of what they were.

use std::sync::Mutex;

use super::Growth;
use crate::error::Result;
use crate::host::{Host, Loan, Quiet, check};
use crate::neighbours::{self, Pair};
use crate::unit::UnitVectors;

/// Fewest and most candidates of a block: enough that comparing them is work for all processors,
/// and few enough that a block takes seconds.
const BLOCK_MIN: usize = 256;
const BLOCK_MAX: usize = 8192;

/// Most rows in the lists of a block, unless one candidate alone has more.
const LISTED_MAX: usize = 1 << 25;

/// Lets the candidates take their turns, in order.
pub(super) fn grow(
    growth: &mut Growth<'_>,
    candidates: &[u32],
    sizes: &[u32],
    threshold: f32,
    host: &dyn Host,
) -> Result<()> {
    let mut corpus = Corpus::all(growth.vectors);
    let mut block_max = BLOCK_MIN;
    let mut turn = 0;
    while turn < candidates.len() {
        check(host)?;
        host.progress("communities", turn as u64, candidates.len() as u64);
        let (block, listed) = next_block(growth, &candidates[turn..], sizes, block_max);
        let Some(last) = block.last() else { break };
        let _loan = Loan::new(host, listed * size_of::<u32>())?;
        let lists = look_up(growth, &block, &corpus, threshold, host)?;

        let mut in_vain = 0;
        for (centre, similar) in block.iter().zip(&lists) {
            in_vain += usize::from(growth.is_taken[*centre as usize]);
            growth.take_turn(*centre, similar);
        }
        turn += candidates[turn..].iter().take_while(|row| *row != last).count() + 1;
        if in_vain < block.len() / 4 {
            block_max = (block_max * 2).min(BLOCK_MAX);
        } else if in_vain > block.len() / 2 {
            block_max = (block_max / 2).max(BLOCK_MIN);
        }
        corpus.shrink(growth, sizes, host)?;
    }
    Ok(())
}

/// The next candidates that are free, and how many rows their lists can have.
fn next_block(
    growth: &Growth<'_>,
    candidates: &[u32],
    sizes: &[u32],
    block_max: usize,
) -> (Vec<u32>, usize) {
    let (mut block, mut listed) = (Vec::new(), 0);
    for centre in candidates {
        let more = sizes[*centre as usize] as usize;
        if block.len() == block_max || (!block.is_empty() && listed + more > LISTED_MAX) {
            break;
        }
        if !growth.is_taken[*centre as usize] {
            block.push(*centre);
            listed += more;
        }
    }
    (block, listed)
}

/// The rows of the corpus that each centre of a block is similar to, itself left out, in no order.
fn look_up(
    growth: &Growth<'_>,
    block: &[u32],
    corpus: &Corpus<'_>,
    threshold: f32,
    host: &dyn Host,
) -> Result<Vec<Vec<u32>>> {
    let lists = Mutex::new(vec![Vec::new(); block.len()]);
    let sink = |pairs: &[Pair]| {
        // A thread that panicked here has left whole rows behind, and the panic goes on.
        let mut lists = lists.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for pair in pairs {
            let row = corpus.row(pair.b);
            let centre = pair.a as usize;
            if row != block[centre] && !growth.is_taken[row as usize] {
                lists[centre].push(row);
            }
        }
        Ok(())
    };
    let centres = growth.vectors.select(block);
    neighbours::pairs_between(&centres, corpus.vectors(), threshold, &Quiet(host), &sink)?;
    Ok(lists.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// The rows that candidates are compared with: all, or a copy of those that were free.
struct Corpus<'a> {
    all: &'a UnitVectors,
    free: Option<Free<'a>>,
}

struct Free<'a> {
    rows: Vec<u32>,
    vectors: UnitVectors,
    _loan: Loan<'a>,
}

impl<'a> Corpus<'a> {
    fn all(all: &'a UnitVectors) -> Self {
        Self { all, free: None }
    }

    fn vectors(&self) -> &UnitVectors {
        self.free.as_ref().map_or(self.all, |free| &free.vectors)
    }

    /// The row that is at a place of the vectors.
    fn row(&self, place: u32) -> u32 {
        self.free.as_ref().map_or(place, |free| free.rows[place as usize])
    }

    /// Takes a copy of the rows that can still join a community, if they are at most half of these.
    /// A row that is similar to no other never can.
    fn shrink(&mut self, growth: &Growth<'_>, sizes: &[u32], host: &'a dyn Host) -> Result<()> {
        let can_join = |row: &u32| !growth.is_taken[*row as usize] && sizes[*row as usize] > 1;
        let now = self.vectors().rows();
        let left = (0..now as u32).filter(|place| can_join(&self.row(*place))).count();
        if left > now / 2 {
            return Ok(());
        }
        self.free = None;
        let bytes = left * (self.all.dimension() * size_of::<f32>() + size_of::<u32>());
        let loan = Loan::new(host, bytes)?;
        let rows: Vec<u32> = (0..self.all.rows() as u32).filter(can_join).collect();
        self.free = Some(Free { vectors: self.all.select(&rows), rows, _loan: loan });
        Ok(())
    }
}
