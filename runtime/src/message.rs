//! What travels between the tasks of a pipeline, always in the order of the rows it belongs to.

use arrow::array::RecordBatch;
use tokio::sync::oneshot;

use crate::positions::Positions;
use crate::rows::RowsOut;
use crate::sink::Tokens;
use crate::state::Epoch;
use crate::watermark::WatermarkState;
use crate::window::Segment;
use crate::{Mark, Rejected, Result, SourceEvent};

/// From the readers of sources to ingest.
pub(crate) enum Input {
    /// A source has something to say.
    Event(usize, SourceEvent),
    /// A source has no more rows, ever.
    Finished(usize),
    /// A source is no longer read, because the pipeline stops.
    Left,
}

/// From ingest to windows.
pub(crate) enum Step {
    /// A micro-batch, which may still be in the row part.
    Rows(RowsStep),
    /// The watermark has come to here, and partitions have moved: the latter for an exchange.
    Watermark(i64, Vec<Mark>),
    /// Everything before this belongs to one commit.
    Barrier(Barrier),
}

/// A micro-batch on its way.
pub(crate) struct RowsStep {
    /// Tells what the row part made of it. `None` where there were only rejected records.
    pub(crate) result: Option<oneshot::Receiver<Result<RowsOut>>>,
    /// Records that the source could not use.
    pub(crate) rejected: Vec<Rejected>,
    /// The watermark once its rows are taken in.
    pub(crate) watermark_us: i64,
    /// The marks of partitions that have moved, for an exchange.
    pub(crate) marks: Vec<Mark>,
}

/// A cut through the stream.
pub(crate) struct Barrier {
    /// Barriers of an attempt count from 1.
    pub(crate) number: u64,
    pub(crate) positions: Positions,
    pub(crate) tokens: Tokens,
    pub(crate) watermarks: WatermarkState,
    /// Rows that have come in before it.
    pub(crate) rows_in: u64,
    pub(crate) last: Option<Last>,
}

/// Why a barrier is the last of its attempt.
#[derive(Debug)]
pub(crate) enum Last {
    /// The pipeline stops.
    Drain,
    /// Partitions are reassigned; the answer is due after the commit.
    Reassign(oneshot::Sender<()>),
    /// All sources have ended.
    Complete,
}

/// From windows to the sink.
pub(crate) enum Delivery {
    /// Rows of the result.
    Rows(RecordBatch),
    /// Rows that were too late for their windows.
    Late(RecordBatch),
    /// Records that can't be used.
    Rejected(Vec<Rejected>),
    /// How far event time has come, for an exchange.
    Marks(Vec<Mark>),
    /// The end of a commit.
    Barrier(Box<Checkpoint>),
}

/// What was counted before a barrier: rows in since the process began, the others in this attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) rows_in: u64,
    pub(crate) late: u64,
    pub(crate) rejected: u64,
}

/// A barrier with all that a commit needs.
pub(crate) struct Checkpoint {
    /// The number of the barrier.
    pub(crate) number: u64,
    pub(crate) last: Option<Last>,
    /// What was counted before it.
    pub(crate) counted: Counted,
    /// `None` where nothing has changed since the last commit.
    pub(crate) commit: Option<Commit>,
}

/// What is to be committed.
pub(crate) struct Commit {
    pub(crate) epoch: u64,
    pub(crate) positions: Positions,
    pub(crate) tokens: Tokens,
    /// The state of a pipeline with windows.
    pub(crate) state: Option<Snapshot>,
}

/// A state that is to be written.
pub(crate) struct Snapshot {
    pub(crate) epoch: Epoch,
    pub(crate) segment: Option<Segment>,
}
