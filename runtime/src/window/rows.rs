//! The rows of open windows.
//!
//! - *Invariant:* a row is kept once, however many windows it is in.
//! - *Invariant:* what is given out does not depend on the order in which rows came.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Window, WindowKind};
use crate::{ClosedWindow, Error, Result};

/// Which windows, over which rows.
#[derive(Clone, Debug)]
pub struct WindowSpec {
    /// How rows are put into windows.
    pub kind: WindowKind,
    /// The schema of what is inserted; its last columns are [`crate::stage::HIDDEN_COLUMNS`].
    pub schema: SchemaRef,
    /// The positions of the columns that are a session's key; empty for one key, and for windows
    /// that are not sessions. NULL is a key like others.
    pub keys: Vec<usize>,
    /// How long after its end a window still takes rows and then fires once more. 0 is not.
    pub lateness_us: i64,
    /// How many bytes of rows may be held.
    pub bytes_max: usize,
}

/// A file of rows that an epoch needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The name of its file.
    pub name: String,
    /// The length of its file.
    pub bytes: u64,
    /// The CRC-32 of its file.
    pub crc32: u32,
    /// How many rows are in it.
    pub rows: u64,
    /// How often its rows were put together with those of others.
    pub level: u32,
}

/// A segment that must be written before an epoch that names it.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What names it.
    pub reference: SegmentRef,
    /// The content of its file.
    pub bytes: Bytes,
}

/// What an epoch says about open windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedWindows {
    /// The watermark up to which windows have fired.
    pub closed_until_us: i64,
    /// Windows that have fired and got rows since, as (start, end).
    pub late: Vec<(i64, i64)>,
    /// The files that hold the rows, in order.
    pub segments: Vec<SegmentRef>,
    /// Which rows of the segments are no longer needed; a section of its own in the file.
    #[serde(skip)]
    pub dead: Bytes,
}

/// What a barrier hands out. If writing it fails, the same must be written again or the
/// [`WindowRows`] given up: they take the segment as written.
#[derive(Clone, Debug)]
pub struct WindowCheckpoint {
    /// What the epoch says.
    pub saved: SavedWindows,
    /// The rows that are new since the last barrier; `None` if there are none.
    pub segment: Option<Segment>,
}

/// The rows of open windows.
pub struct WindowRows {
    spec: WindowSpec,
}

impl WindowRows {
    /// No rows yet.
    ///
    /// # Errors
    /// [`Error::Option`] for windows, lateness or keys that can't be.
    pub fn new(spec: WindowSpec) -> Result<Self> {
        Ok(Self { spec })
    }

    /// Takes rows in. Gives back those that are late, without the hidden columns. It takes all rows
    /// of the batch or, on an error, none.
    ///
    /// # Errors
    /// [`Error::Data`] for a time that can't be ([`super::check_time`]), [`Error::Memory`] over the
    /// limit, [`Error::Bug`] for another schema.
    pub fn insert(&mut self, rows: RecordBatch, watermark_us: i64) -> Result<Option<RecordBatch>> {
        let _ = (rows, watermark_us, &self.spec);
        Err(Error::Bug("not there yet".into()))
    }

    /// The next window that the watermark makes fire, in the order in which a watermark that moves
    /// slowly would reach them: by end (by end + lateness for late panes), then start. Call it until
    /// it gives `None` (one window at a time, so that hops don't multiply the memory). `i64::MAX`
    /// closes all.
    ///
    /// # Errors
    /// When rows can't be put together.
    pub fn close_next(&mut self, watermark_us: i64) -> Result<Option<ClosedWindow>> {
        let _ = watermark_us;
        Ok(None)
    }

    /// The next window that has not fired and has rows that no early pane has shown, with all its
    /// rows. Call it until it gives `None`.
    ///
    /// # Errors
    /// When rows can't be put together.
    pub fn early_next(&mut self) -> Result<Option<ClosedWindow>> {
        Ok(None)
    }

    /// What epoch number `epoch` must keep. Call it when `close_next` has given `None`.
    ///
    /// # Errors
    /// When rows can't be put together.
    pub fn barrier(&mut self, epoch: u64) -> Result<WindowCheckpoint> {
        let _ = epoch;
        Err(Error::Bug("not there yet".into()))
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        0
    }

    /// How many rows are held.
    pub fn rows(&self) -> usize {
        0
    }

    /// How many windows are open.
    pub fn windows(&self) -> usize {
        let _: Option<Window> = None;
        0
    }
}
