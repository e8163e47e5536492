//! The rows in memory and the segments that hold them on disk.
//!
//! - *Invariant:* what a barrier writes is in proportion to what is new. It writes at most one
//!   segment: the new rows, put together with those of segments of which little is still needed,
//!   and with those of segments of one size once there are [`FANOUT`] of them. So a row is written
//!   again only when three others have gone, or together with 15 times as many; and an epoch names
//!   few files.
//! - *Invariant:* rows that came in one batch keep their order, here and in segments.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{BooleanArray, RecordBatch};
use bytes::Bytes;

use super::segment::{SavedWindows, Segment, SegmentRef, decode_live, encode_live};
use super::slots::{RowRef, Slots, live_of, owned};
use crate::Result;

/// How many segments of one size there may be before they are put together. A size is a range of
/// numbers of rows in which the greatest is this many times the least.
const FANOUT: usize = 16;

/// A segment of which less than this part is still needed is rewritten.
const SPARSE: usize = 4;

pub(super) struct Held {
    pub(super) slots: Slots,
    /// Slots that no segment has yet, in the order in which they came.
    new: Vec<u32>,
    /// What is written down.
    saved: Vec<Saved>,
}

/// A segment and where its rows lie.
struct Saved {
    reference: SegmentRef,
    /// Its batches: the slot, which is empty once no row of it is needed, and the number of rows.
    parts: Vec<(u32, usize)>,
}

/// By slot, by row there: where it lies now.
#[derive(Default)]
pub(super) struct Moves {
    by_slot: HashMap<u32, Vec<RowRef>>,
    /// Whether rows that were written before have moved too.
    pub(super) has_old: bool,
}

impl Moves {
    /// Where a row lies now.
    pub(super) fn of(&self, reference: RowRef) -> RowRef {
        let moved = self.by_slot.get(&reference.slot);
        moved.and_then(|rows| rows.get(reference.row as usize)).copied().unwrap_or(reference)
    }
}

impl Held {
    pub(super) fn new(slots: Slots) -> Self {
        Self { slots, new: Vec::new(), saved: Vec::new() }
    }

    /// Takes rows in that no segment has. Gives their slot.
    pub(super) fn add(&mut self, rows: RecordBatch) -> Result<u32> {
        let slot = self.slots.put(rows)?;
        self.new.push(slot);
        Ok(slot)
    }

    /// Writes down what is new. Gives the segment, unless nothing is new, and where rows have
    /// moved.
    pub(super) fn barrier(&mut self, epoch: u64) -> Result<(Option<Segment>, Moves)> {
        self.drop_empty();
        let absorbed = self.absorbed();
        let old = absorbed.iter().flat_map(|&saved| self.saved[saved].parts.iter());
        let from: Vec<u32> = old.map(|(slot, _)| *slot).chain(self.new.iter().copied()).collect();
        let live: Vec<RowRef> = from.iter().flat_map(|slot| self.slots.live(*slot)).collect();
        if live.is_empty() {
            return Ok((None, Moves::default()));
        }

        let batches = self.slots.gather_whole(&live)?;
        let batches = batches.into_iter().map(owned).collect::<Result<Vec<_>>>()?;
        let schema = self.slots.schema();
        let segment = Segment::of(epoch, schema, &batches.iter().collect::<Vec<_>>())?;

        let mut number = 0..;
        self.saved.retain(|_| number.next().is_some_and(|number| !absorbed.contains(&number)));
        self.new.clear();
        let moved = self.take(segment.reference.clone(), batches)?;
        let mut moves = Moves { has_old: !absorbed.is_empty(), ..Moves::default() };
        let gone = RowRef { slot: u32::MAX, row: u32::MAX };
        for (old, new) in live.into_iter().zip(moved) {
            let rows = moves.by_slot.entry(old.slot).or_default();
            rows.resize(old.row as usize, gone);
            rows.push(new);
        }
        from.into_iter().for_each(|slot| self.slots.recycle(slot));
        Ok((Some(segment), moves))
    }

    /// Forgets segments and slots of which nothing is needed.
    fn drop_empty(&mut self) {
        let slots = &mut self.slots;
        self.new.retain(|slot| slots.is_held(*slot) || (slots.recycle(*slot), false).1);
        self.saved.retain(|saved| {
            let is_needed = saved.parts.iter().any(|(slot, _)| slots.is_held(*slot));
            if !is_needed {
                saved.parts.iter().for_each(|(slot, _)| slots.recycle(*slot));
            }
            is_needed
        });
    }

    /// The segments that the next one takes in, by their places in `saved`.
    fn absorbed(&self) -> BTreeSet<usize> {
        let live = |saved: &Saved| {
            saved.parts.iter().map(|(slot, _)| self.slots.live_rows(*slot)).sum::<usize>()
        };
        let sizes: Vec<usize> = self.saved.iter().map(live).collect();
        let is_sparse =
            |saved: usize| sizes[saved] * SPARSE < self.saved[saved].reference.rows as usize;
        let mut absorbed: BTreeSet<usize> =
            (0..sizes.len()).filter(|&saved| is_sparse(saved)).collect();

        let new: usize = self.new.iter().map(|slot| self.slots.live_rows(*slot)).sum();
        let mut total = new + absorbed.iter().map(|&saved| sizes[saved]).sum::<usize>();
        let mut tier = 0;
        while total > 0 && tier <= tier_of(total) {
            let alike = |saved: &usize| !absorbed.contains(saved) && tier_of(sizes[*saved]) == tier;
            let alike: Vec<usize> = (0..sizes.len()).filter(alike).collect();
            if alike.len() >= FANOUT - 1 {
                total += alike.iter().map(|&saved| sizes[saved]).sum::<usize>();
                absorbed.extend(alike);
            }
            tier += 1;
        }
        absorbed
    }

    /// Takes in what a segment holds. Gives references to its rows, in order.
    fn take(&mut self, reference: SegmentRef, batches: Vec<RecordBatch>) -> Result<Vec<RowRef>> {
        let (mut parts, mut references) = (Vec::new(), Vec::new());
        for batch in batches {
            let rows = batch.num_rows();
            let slot = self.slots.put(batch)?;
            parts.push((slot, rows));
            references.extend((0..rows).map(|row| RowRef { slot, row: row as u32 }));
        }
        self.saved.push(Saved { reference, parts });
        Ok(references)
    }

    /// What an epoch says about the rows: the segments, and which of their rows still count.
    pub(super) fn saved(&self) -> Result<(Vec<SegmentRef>, Bytes)> {
        let live = |saved: &Saved| live_of(&self.slots, &saved.parts);
        let live: Vec<Option<BooleanArray>> = self.saved.iter().map(live).collect();
        let segments = self.saved.iter().map(|saved| saved.reference.clone()).collect();
        Ok((segments, encode_live(&live)?))
    }

    /// Which rows of the saved segments still count, segment by segment.
    pub(super) fn saved_live(saved: &SavedWindows) -> Result<Vec<Option<BooleanArray>>> {
        let rows: Vec<usize> = saved.segments.iter().map(|segment| segment.rows as usize).collect();
        decode_live(&saved.live, &rows)
    }

    /// Takes in a segment that was read. Gives the slots that hold its rows; those that don't count
    /// are released.
    pub(super) fn restore(
        &mut self,
        reference: &SegmentRef,
        bytes: &Bytes,
        live: Option<&BooleanArray>,
    ) -> Result<Vec<RowRef>> {
        let batches = reference.decode(bytes, self.slots.schema())?.into_iter().map(owned);
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let mut references = self.take(reference.clone(), batches)?;
        if let Some(live) = live {
            let mut number = 0..;
            references.retain(|reference| {
                let counts = number.next().is_some_and(|n| n < live.len() && live.value(n));
                if !counts {
                    self.slots.release(*reference);
                }
                counts
            });
        }
        Ok(references)
    }
}

/// Segments of one tier are of about one size.
fn tier_of(rows: usize) -> u32 {
    rows.checked_ilog(FANOUT).unwrap_or(0)
}
