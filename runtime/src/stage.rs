//! The two parts of a query that a pipeline runs: that of rows, and that of closed windows. SQL
//! implements these traits with its plans.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// The names of the hidden columns that a row stage is given after the source's own and must hand
/// on as its last columns, in this order: the event time (`Timestamp(Microsecond, None)`), the
/// sequence (`Int64`) and the number of the partition (`Int32`). They settle windows and order.
pub const HIDDEN_COLUMNS: [&str; 3] = ["__sembla_time", "__sembla_sequence", "__sembla_partition"];

/// The type of event times.
pub const TIME_TYPE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The schema that a row stage is given for rows of a source with that schema: none of the hidden
/// columns is ever NULL. The time of a source without an event time is 0.
pub fn with_hidden_columns(source: &Schema) -> SchemaRef {
    let types = [TIME_TYPE, DataType::Int64, DataType::Int32];
    let hidden = HIDDEN_COLUMNS.into_iter().zip(types);
    let hidden = hidden.map(|(name, of)| Arc::new(Field::new(name, of, false)));
    let fields: Vec<_> = source.fields().iter().cloned().chain(hidden).collect();
    Arc::new(Schema::new_with_metadata(fields, source.metadata().clone()))
}

/// The part of a query below its window, or all of a query without one: filters, projections,
/// functions, joins with static tables. It treats each row by itself.
#[async_trait]
pub trait RowStage: Send + Sync {
    /// The schema of what comes out, hidden columns included where there is a window.
    fn schema(&self) -> SchemaRef;

    /// Rows of the source with that number, which may be of several partitions, through the plan.
    ///
    /// # Errors
    /// [`crate::Error::Data`] when a row can't be used; the caller halves the batch to find it.
    async fn run(&self, source: usize, rows: RecordBatch) -> Result<Vec<RecordBatch>>;
}

/// A window of event time, `[start, end)`, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Its end, which is not in it. First, so that windows are in the order in which they close.
    pub end_us: i64,
    /// Its first moment.
    pub start_us: i64,
}

/// Why a window gives its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// On request, before its end.
    Early,
    /// The watermark has passed its end.
    OnTime,
    /// Again, with rows that came within the allowed lateness.
    Late,
}

impl Pane {
    /// The word in the column `window_pane`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::OnTime => "on_time",
            Self::Late => "late",
        }
    }
}

/// A window with its rows, in the order of event time, then sequence, then partition.
#[derive(Clone, Debug)]
pub struct ClosedWindow {
    /// The window.
    pub window: Window,
    /// Why it comes.
    pub pane: Pane,
    /// Its rows as the row stage gave them, without the hidden columns.
    pub rows: Vec<RecordBatch>,
    /// The hidden columns of these rows, batch by batch.
    pub(crate) origins: Vec<RecordBatch>,
}

/// What a window stage makes of a window.
#[derive(Clone, Debug, Default)]
pub struct WindowOut {
    /// Rows of the result, in the stage's schema.
    pub batches: Vec<RecordBatch>,
    /// Rows of the window that can't be used and are in no result.
    pub rejected: Vec<RejectedRow>,
}

impl From<Vec<RecordBatch>> for WindowOut {
    fn from(batches: Vec<RecordBatch>) -> Self {
        Self { batches, rejected: Vec::new() }
    }
}

/// A row of a window that can't be used. The runtime makes a dead letter of it, with the row's own
/// partition, position and event time where `row` is known; without a place for dead letters it
/// stops the pipeline, as any rejected record does. What an early pane rejects is not reported: the
/// window comes again.
#[derive(Clone, Debug)]
pub struct RejectedRow {
    /// Its number among all rows of the window, counted through [`ClosedWindow::rows`] from 0;
    /// `None` where the stage can't tell which row it was.
    pub row: Option<usize>,
    /// The row as the stage has it: the letter's payload where `row` is `None`. Only the first row
    /// of the batch is looked at.
    pub content: Option<RecordBatch>,
    /// Why, in one line.
    pub reason: String,
}

/// A named piece of a stage's own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTable {
    /// Its name, unique within the stage.
    pub name: String,
    /// Its bytes, whose form and version are the stage's own.
    pub bytes: Bytes,
}

/// The part of a query above its window. It sees one closed window after another, in the order of
/// their ends, then their starts.
#[async_trait]
pub trait WindowStage: Send {
    /// The schema of what comes out.
    fn schema(&self) -> SchemaRef;

    /// Runs the plan over a window. An early pane must not change the state. A row that can't be
    /// used is given back as rejected, and the others give their result: an error ends the
    /// pipeline, since the same window comes again after each restart.
    ///
    /// # Errors
    /// What the plan says.
    async fn close(&mut self, window: ClosedWindow) -> Result<WindowOut>;

    /// Rows of the window's input as late rows and dead letters show them: with the columns that
    /// people know, under the names that these have in the query.
    ///
    /// # Errors
    /// When they can't be put together.
    fn shown(&self, rows: RecordBatch) -> Result<RecordBatch> {
        Ok(rows)
    }

    /// What the stage carries from window to window, to be kept with a commit.
    ///
    /// # Errors
    /// When the state can't be written down.
    fn snapshot(&self) -> Result<Vec<StateTable>>;

    /// Takes up what `snapshot` gave. No tables are the state before the first window.
    ///
    /// # Errors
    /// [`crate::Error::State`] when it is not of this stage or not whole.
    fn restore(&mut self, tables: &[StateTable]) -> Result<()>;
}
