//! The rows of open windows: what comes in, which windows the watermark closes, and what a
//! checkpoint keeps of them.
//!
//! - *Invariant:* a row is kept once, however many windows it is in, until the last of them is
//!   done.
//! - *Invariant:* every row is handed out with each of its windows, or given back as late.
//! - *Invariant:* rows of a window are in the order of event time, then sequence, then partition,
//!   so what is handed out does not depend on the order in which rows came.
//! - *Invariant:* rows that are restored from a checkpoint go on as if nothing had happened; early
//!   panes alone are shown again.

use std::fmt;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;

use super::bins::{Bins, Key, no_key};
use super::held::Held;
use super::segment::{SavedWindows, Segment, SegmentRef};
use super::slots::{Hidden, RowRef, Slots, owned};
use super::{LENGTH_MAX_US, Window, WindowKind};
use crate::{ClosedWindow, Error, Pane, Result};

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
    held: Held,
    bins: Bins,
    /// How keys become bytes; `None` without keys.
    keys: Option<RowConverter>,
}

impl fmt::Debug for WindowRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, windows) = (self.rows(), self.windows());
        write!(f, "WindowRows {{ {rows} rows in {windows} windows of {:?} }}", self.spec.kind)
    }
}

impl WindowRows {
    /// No rows yet.
    ///
    /// # Errors
    /// [`Error::Option`] for windows, lateness or keys that can't be.
    pub fn new(spec: WindowSpec) -> Result<Self> {
        Self::at(spec, i64::MIN)
    }

    /// No rows yet, where windows have fired up to a watermark.
    fn at(spec: WindowSpec, closed_until_us: i64) -> Result<Self> {
        spec.kind.check()?;
        if !(0..=LENGTH_MAX_US).contains(&spec.lateness_us) {
            return Err(Error::Option(format!(
                "the lateness must be between 0 and 1000 years, got {} microseconds",
                spec.lateness_us
            )));
        }
        let keys = spec.key_converter()?;
        let held = Held::new(Slots::new(spec.schema.clone())?);
        let bins = Bins::new(spec.kind, spec.lateness_us, closed_until_us);
        Ok(Self { spec, held, bins, keys })
    }

    /// Takes rows in. Gives back those that are late, without the hidden columns. It takes all rows
    /// of the batch or, on an error, none.
    ///
    /// # Errors
    /// [`Error::Data`] for a time that can't be ([`WindowKind::check_row`]), [`Error::Memory`] over
    /// the limit, [`Error::Bug`] for another schema.
    pub fn insert(&mut self, rows: RecordBatch, watermark_us: i64) -> Result<Option<RecordBatch>> {
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let rows = RecordBatch::try_new(self.spec.schema.clone(), rows.columns().to_vec());
        let rows = rows.map_err(|error| Error::Bug(format!("rows before a window: {error}")))?;
        let rows = owned(rows)?;
        let bytes = self.held.slots.bytes_with(&rows);
        if bytes > self.spec.bytes_max {
            return Err(self.over_the_limit(bytes));
        }

        let times = Hidden::of(&rows)?.times;
        times.values().iter().try_for_each(|time_us| self.spec.kind.check_row(*time_us))?;

        let slot = self.held.add(rows)?;
        let watermark_us = watermark_us.max(self.bins.closed_until_us());
        let late = self.place(&self.held.slots.live(slot), watermark_us)?;
        if late.is_empty() {
            return Ok(None);
        }
        let batches = self.held.slots.gather(&late)?;
        self.release(&late);
        let schema = batches.first().map(RecordBatch::schema);
        let together = schema.map(|schema| arrow::compute::concat_batches(&schema, &batches));
        Ok(together.transpose()?)
    }

    fn over_the_limit(&self, bytes: usize) -> Error {
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        Error::Memory(format!(
            "the rows of {} open windows take {:.1} MiB, more than the limit of {:.1} MiB; raise the \
             memory limit, select fewer columns before the window, or make the windows or their \
             lateness shorter",
            self.windows().max(1),
            mib(bytes),
            mib(self.spec.bytes_max),
        ))
    }

    /// Puts rows, which are in slots already, into windows. Gives those that are late.
    fn place(&mut self, rows: &[RowRef], watermark_us: i64) -> Result<Vec<RowRef>> {
        let mut late = Vec::new();
        for of_slot in rows.chunk_by(|a, b| a.slot == b.slot) {
            let Some(slot) = of_slot.first().map(|row| row.slot) else { continue };
            let keys = match &self.keys {
                Some(converter) => {
                    let batch = self.held.slots.batch(slot)?.project(&self.spec.keys)?;
                    Some(converter.convert_columns(batch.columns())?)
                }
                None => None,
            };
            let (times, one_key) = (self.held.slots.times(slot)?, no_key());
            let placed = of_slot.iter().map(|reference| {
                let row = reference.row as usize;
                let key = keys.as_ref().map(|keys| Key::from(keys.row(row).as_ref()));
                (key.unwrap_or_else(|| one_key.clone()), times.value(row), *reference)
            });
            late.extend(self.bins.place(placed, watermark_us));
        }
        Ok(late)
    }

    /// The next window that the watermark makes fire, in the order in which a watermark that moves
    /// slowly would reach them: by end (by end + lateness for late panes), then start. Call it
    /// until it gives `None` (one window at a time, so that hops don't multiply the memory).
    /// `i64::MAX` closes all.
    ///
    /// A window fires on time when the watermark reaches its end. With a lateness it fires once
    /// more when the watermark reaches its end + lateness, with all its rows, if rows came in
    /// between.
    ///
    /// # Errors
    /// When rows can't be put together.
    pub fn close_next(&mut self, watermark_us: i64) -> Result<Option<ClosedWindow>> {
        let mut released = Vec::new();
        let due = self.bins.next_due(watermark_us, &mut released);
        self.release(&released);
        let Some((window, pane)) = due else { return Ok(None) };
        let closed = self.window(window, pane)?;
        let released = self.bins.fired(window);
        self.release(&released);
        Ok(Some(closed))
    }

    /// The next window that has not fired and has rows that no early pane has shown, with all its
    /// rows. Call it until it gives `None`.
    ///
    /// # Errors
    /// When rows can't be put together.
    pub fn early_next(&mut self) -> Result<Option<ClosedWindow>> {
        let Some(window) = self.bins.next_unshown() else { return Ok(None) };
        let shown = self.window(window, Pane::Early)?;
        self.bins.shown(window);
        Ok(Some(shown))
    }

    fn window(&mut self, window: Window, pane: Pane) -> Result<ClosedWindow> {
        let rows = self.bins.rows(window, &self.held.slots);
        let (rows, origins) = self.held.slots.gather_apart(&rows)?;
        Ok(ClosedWindow { window, pane, rows, origins })
    }

    fn release(&mut self, rows: &[RowRef]) {
        rows.iter().for_each(|row| self.held.slots.release(*row));
    }

    /// What epoch number `epoch` must keep: the rows that are new, and what the segments of earlier
    /// epochs still stand for. Call it when `close_next` has given `None`.
    ///
    /// # Errors
    /// When rows can't be put together or written down.
    pub fn barrier(&mut self, epoch: u64) -> Result<WindowCheckpoint> {
        let (segment, moves) = self.held.barrier(epoch)?;
        self.bins.follow(|row| moves.of(row), !moves.has_old);
        let (segments, live) = self.held.saved()?;
        let (closed_until_us, late) = (self.bins.closed_until_us(), self.bins.late());
        Ok(WindowCheckpoint {
            saved: SavedWindows { closed_until_us, late, segments, live },
            segment,
        })
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.held.slots.bytes()
    }

    /// How many rows are held.
    pub fn rows(&self) -> usize {
        self.held.slots.rows()
    }

    /// How many windows are open.
    pub fn windows(&self) -> usize {
        self.bins.windows()
    }
}

impl WindowSpec {
    fn key_converter(&self) -> Result<Option<RowConverter>> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        if !matches!(self.kind, WindowKind::Session { .. }) {
            return Err(Error::Option("only a session window is by key".into()));
        }
        let field = |column: &usize| {
            let field = self.schema.fields().get(*column);
            let field = field.map(|field| SortField::new(field.data_type().clone()));
            field.ok_or_else(|| Error::Bug(format!("a session's key is column {column}")))
        };
        let fields = self.keys.iter().map(field).collect::<Result<Vec<_>>>()?;
        let converter = RowConverter::new(fields);
        let converter =
            converter.map_err(|error| Error::Option(format!("a session's key: {error}")));
        converter.map(Some)
    }
}

/// The way from a checkpoint back to [`WindowRows`]: one segment after another, then `finish`.
pub(crate) struct Restoring<'a> {
    rows: WindowRows,
    saved: &'a SavedWindows,
    live: std::vec::IntoIter<Option<BooleanArray>>,
}

impl<'a> Restoring<'a> {
    pub(crate) fn new(spec: WindowSpec, saved: &'a SavedWindows) -> Result<Self> {
        let live = Held::saved_live(saved)?.into_iter();
        Ok(Self { rows: WindowRows::at(spec, saved.closed_until_us)?, saved, live })
    }

    /// The next of the saved segments. Rows that counted when they were saved are not late now.
    pub(crate) fn segment(&mut self, reference: &SegmentRef, bytes: &Bytes) -> Result<()> {
        let live = self.live.next().flatten();
        let rows = self.rows.held.restore(reference, bytes, live.as_ref())?;
        self.rows.place(&rows, i64::MIN).map(|_| ())
    }

    pub(crate) fn finish(mut self) -> Result<WindowRows> {
        if self.rows.bins.restore_late(&self.saved.late) {
            return Ok(self.rows);
        }
        let contradiction = "the state names late windows that have no rows";
        Err(Error::State(format!("{contradiction}; --ignore-state starts over")))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests;
