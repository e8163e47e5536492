//! Micro-batches across the partitions of each source.
//!
//! A batch that has all the rows or bytes it may have leaves at once. A smaller one leaves when its
//! oldest row has waited for the linger. While the row part takes none, a batch goes on growing, up
//! to the limit: a trickle doesn't wait, and a flood is batched.
//!
//! - *Invariant:* the rows of a source leave in the order in which they came.
//! - *Absent:* clocks and tasks. The caller says what time it is.

use std::collections::VecDeque;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::time::Instant;

use super::intake::Piece;
use crate::Rejected;

/// What a batch may have, and how long it waits for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) linger: Duration,
}

/// Rows of one source on their way to the row part.
#[derive(Debug, Default)]
pub(crate) struct MicroBatch {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) row_count: usize,
    pub(crate) bytes: usize,
}

impl MicroBatch {
    /// The rejected records, which follow the rows.
    pub(crate) fn take_rejected(&mut self) -> Vec<Rejected> {
        self.pieces.iter_mut().flat_map(|piece| std::mem::take(&mut piece.rejected)).collect()
    }

    /// The rows of all pieces that have some.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &RecordBatch> {
        self.pieces.iter().map(|piece| &piece.rows).filter(|rows| rows.num_rows() > 0)
    }
}

#[derive(Debug, Default)]
struct Pending {
    pieces: VecDeque<(Instant, Piece)>,
    rows: usize,
    bytes: usize,
}

/// What has come and not left.
#[derive(Debug)]
pub(crate) struct Batcher {
    limits: Limits,
    sources: Vec<Pending>,
}

impl Batcher {
    /// Nothing yet, of so many sources.
    pub(crate) fn new(limits: Limits, sources: usize) -> Self {
        Self { limits, sources: (0..sources).map(|_| Pending::default()).collect() }
    }

    /// Takes in what came from a source. What is empty is left out.
    pub(crate) fn push(&mut self, source: usize, piece: Piece, now: Instant) {
        let is_empty = piece.rows.num_rows() == 0 && !piece.has_followers();
        if let (false, Some(pending)) = (is_empty, self.sources.get_mut(source)) {
            pending.rows += piece.rows.num_rows();
            pending.bytes += piece.bytes;
            pending.pieces.push_back((now, piece));
        }
    }

    /// Whether no more should be taken in before something has left.
    pub(crate) fn is_full(&self) -> bool {
        self.sources.iter().any(|pending| self.fills_batch(pending))
    }

    /// The source whose batch should leave now: a full one, else the one that waited longest.
    pub(crate) fn due(&self, now: Instant) -> Option<usize> {
        let full = self.sources.iter().position(|pending| self.fills_batch(pending));
        full.or_else(|| self.oldest().filter(|_| self.deadline().is_some_and(|at| at <= now)))
    }

    /// When the oldest row will have waited for the linger.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let oldest = self.sources.iter().filter_map(|pending| pending.pieces.front());
        oldest.map(|(came, _)| *came + self.limits.linger).min()
    }

    /// The source whose front has waited longest.
    pub(crate) fn oldest(&self) -> Option<usize> {
        let fronts = self.sources.iter().enumerate();
        let fronts =
            fronts.filter_map(|(source, p)| p.pieces.front().map(|(came, _)| (*came, source)));
        fronts.min().map(|(_, source)| source)
    }

    /// The next batch of a source: as much as the limits allow, and at least one row where there is
    /// one.
    pub(crate) fn take(&mut self, source: usize) -> MicroBatch {
        let mut batch = MicroBatch::default();
        let Some(pending) = self.sources.get_mut(source) else { return batch };
        while let Some((came, mut piece)) = pending.pieces.pop_front() {
            let rest = split(&mut piece, &batch, self.limits);
            let taken = piece.rows.num_rows();
            if taken > 0 || piece.has_followers() {
                pending.rows -= taken;
                pending.bytes -= piece.bytes;
                batch.row_count += taken;
                batch.bytes += piece.bytes;
                batch.pieces.push(piece);
            }
            if let Some(rest) = rest {
                pending.pieces.push_front((came, rest));
                break;
            }
        }
        batch
    }

    fn fills_batch(&self, pending: &Pending) -> bool {
        pending.rows >= self.limits.rows_max || pending.bytes >= self.limits.bytes_max
    }
}

/// Leaves in the piece what may join the batch, and gives back the rest of its rows with what
/// follows them. The bytes of a piece count as spread evenly over its rows.
fn split(piece: &mut Piece, batch: &MicroBatch, limits: Limits) -> Option<Piece> {
    let rows = piece.rows.num_rows();
    let per_row = (piece.bytes / rows.max(1)).max(1);
    let by_bytes = limits.bytes_max.saturating_sub(batch.bytes) / per_row;
    let by_rows = limits.rows_max.saturating_sub(batch.row_count);
    let least = usize::from(batch.row_count == 0);
    let taken = by_rows.min(by_bytes).max(least);
    if taken >= rows {
        return None;
    }
    let bytes = per_row.saturating_mul(taken).min(piece.bytes);
    let rest = Piece {
        partition: piece.partition.clone(),
        rows: piece.rows.slice(taken, rows - taken),
        rejected: std::mem::take(&mut piece.rejected),
        marks: std::mem::take(&mut piece.marks),
        bytes: piece.bytes - bytes,
    };
    piece.rows = piece.rows.slice(0, taken);
    piece.bytes = bytes;
    Some(rest)
}

#[cfg(test)]
mod tests;
