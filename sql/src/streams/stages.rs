//! The two parts of a query as the runtime runs them: the row part over micro-batches, the window
//! part over closed windows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::prelude::SessionConfig;
use sembla_runtime::{
    ClosedWindow, Error, RejectedRow, Result, RowStage, StateTable, WindowOut, WindowStage,
};

use super::bound::BoundPlan;
use super::feed::Feeds;
use super::static_tables::StaticTables;
use crate::SqlError;
use crate::query::Rejections;
use crate::relations::OnlineSlots;

/// Rows of one window that are looked for and rejected; with more of them the window fails.
const REJECTED_ROWS_MAX: usize = 100;

/// The row part of a query.
#[derive(Debug)]
pub(super) struct RowPart {
    plan: BoundPlan,
    /// Holds the memory of the tables that the plan reads.
    _tables: Arc<StaticTables>,
}

impl RowPart {
    pub(super) fn new(plan: BoundPlan, tables: Arc<StaticTables>) -> Self {
        Self { plan, _tables: tables }
    }
}

#[async_trait]
impl RowStage for RowPart {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema())
    }

    async fn run(&self, source: usize, rows: RecordBatch) -> Result<Vec<RecordBatch>> {
        let feeds = Feeds::only(source, vec![rows]);
        self.plan.run(feeds, |config| config).await.map_err(|error| runtime_error(&error))
    }
}

/// The window part of a query, with what online findings carry from window to window.
pub(super) struct WindowPart {
    plan: BoundPlan,
    /// What the plan reads: the row part's columns, the window's bounds, and its pane if asked for.
    input: SchemaRef,
    has_pane: bool,
    slots: Arc<OnlineSlots>,
    /// The names that the row part's columns have in the query.
    names: Vec<String>,
    /// The columns that late rows and dead letters are shown with, and their names.
    shown: Vec<(usize, String)>,
    /// Holds the memory of the tables that the plan reads.
    _tables: Arc<StaticTables>,
}

impl WindowPart {
    pub(super) fn new(
        plan: BoundPlan,
        input: SchemaRef,
        has_pane: bool,
        tables: Arc<StaticTables>,
    ) -> Self {
        let slots = Arc::new(OnlineSlots::new());
        let (names, shown) = (Vec::new(), Vec::new());
        Self { plan, input, has_pane, slots, names, shown, _tables: tables }
    }

    /// With the names that the row part's columns have in the query.
    pub(super) fn with_names(mut self, names: Vec<String>) -> Self {
        self.names = names;
        self
    }

    /// With the columns that late rows and dead letters are shown with.
    pub(super) fn with_shown(mut self, shown: Vec<(usize, String)>) -> Self {
        self.shown = shown;
        self
    }

    /// Runs the plan over rows of a window; `is_try` where only its success is of interest.
    async fn run(
        &self,
        window: &ClosedWindow,
        rows: Vec<RecordBatch>,
        is_try: bool,
    ) -> Result<WindowOut> {
        // Rows that come late are told of; what goes on to later windows has been settled on time.
        self.slots.set_early(is_try || window.pane != sembla_runtime::Pane::OnTime);
        let (slots, rejections) = (Arc::clone(&self.slots), Arc::new(Rejections::default()));
        let collector = Arc::clone(&rejections);
        let extend = |config: SessionConfig| config.with_extension(slots).with_extension(collector);
        let found = self.plan.run(Feeds::only(0, rows), extend).await;
        let batches = found.map_err(|error| runtime_error(&error))?;
        Ok(WindowOut { batches, rejected: rejections.trace(&window.rows, &self.names) })
    }

    /// Runs the plan over a window without the rows that it can't be run with. A row is to blame if
    /// the rows before it go through and fail together with it, which is found by halving: a row
    /// among n costs about log₂ n runs.
    async fn without_bad_rows(
        &self,
        window: &ClosedWindow,
        rows: &[RecordBatch],
    ) -> Result<WindowOut> {
        let all = concat_batches(&self.input, rows)?;
        let mut kept: Vec<u32> = (0..u32::try_from(all.num_rows()).unwrap_or(u32::MAX)).collect();
        let (mut rejected, mut fine) = (Vec::new(), 0);
        let steps = self.slots.steps();
        loop {
            let taken = |count: usize| -> Result<Vec<RecordBatch>> {
                let places = UInt32Array::from_iter_values(kept.iter().take(count).copied());
                Ok(vec![take_record_batch(&all, &places)?])
            };
            let mut reason = match self.run(window, taken(kept.len())?, false).await {
                Ok(mut out) => {
                    out.rejected.extend(rejected);
                    return Ok(out);
                }
                Err(Error::Data(reason))
                    if rejected.len() < REJECTED_ROWS_MAX && self.slots.steps() == steps =>
                {
                    reason
                }
                Err(error) => return Err(error),
            };
            let mut failing = kept.len();
            while failing - fine > 1 {
                let middle = fine + (failing - fine) / 2;
                match self.run(window, taken(middle)?, true).await {
                    Ok(_) => fine = middle,
                    Err(Error::Data(why)) => (failing, reason) = (middle, why),
                    Err(error) => return Err(error),
                }
            }
            if failing == fine {
                return Err(Error::Data(reason));
            }
            let row = Some(kept.remove(failing - 1) as usize);
            rejected.push(RejectedRow { row, content: None, reason });
        }
    }

    /// The rows of a window with its bounds.
    fn with_bounds(&self, closed: &ClosedWindow, rows: &RecordBatch) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let at = |time: i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_value(time, count))
        };
        let mut columns = rows.columns().to_vec();
        columns.extend([at(closed.window.start_us), at(closed.window.end_us)]);
        if self.has_pane {
            let pane = std::iter::repeat_n(closed.pane.as_str(), count);
            columns.push(Arc::new(StringArray::from_iter_values(pane)));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.input), columns)?)
    }
}

#[async_trait]
impl WindowStage for WindowPart {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema())
    }

    async fn close(&mut self, window: ClosedWindow) -> Result<WindowOut> {
        let rows = window.rows.iter().map(|rows| self.with_bounds(&window, rows));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let before = self.slots.steps();
        match self.run(&window, rows.clone(), false).await {
            Err(Error::Data(_)) if self.slots.steps() == before && !rows.is_empty() => {
                self.without_bad_rows(&window, &rows).await
            }
            result => result,
        }
    }

    fn shown(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if self.shown.is_empty() {
            return Ok(rows);
        }
        let columns = self.shown.iter().filter_map(|(position, name)| {
            let field = rows.schema_ref().fields().get(*position)?.as_ref().clone();
            Some((field.with_name(name), Arc::clone(rows.columns().get(*position)?)))
        });
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.unzip();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Arc::new(Schema::new(fields));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    fn snapshot(&self) -> Result<Vec<StateTable>> {
        let tables = self.slots.snapshot().into_iter();
        Ok(tables.map(|(name, bytes)| StateTable { name, bytes: bytes.into() }).collect())
    }

    fn restore(&mut self, tables: &[StateTable]) -> Result<()> {
        let tables: Vec<(String, Vec<u8>)> =
            tables.iter().map(|table| (table.name.clone(), table.bytes.to_vec())).collect();
        self.slots.restore(&tables);
        Ok(())
    }
}

/// What a failed plan means to the runtime: data that can't be used is looked for row by row, what
/// may pass is tried again.
pub(super) fn runtime_error(error: &SqlError) -> Error {
    let message = error.to_string();
    match error {
        SqlError::Data(_) => Error::Data(message),
        SqlError::Cancelled => Error::Stopped,
        SqlError::Resources(_) => Error::Memory(message),
        SqlError::Io(_) => Error::Transient(message),
        SqlError::Syntax(_) | SqlError::Statement(_) => Error::Option(message),
        SqlError::Model { fault: sembla_models::Fault::User, .. } => Error::Option(message),
        SqlError::Model { fault: sembla_models::Fault::External, .. } => Error::External(message),
        SqlError::Model { .. } | SqlError::Bug(_) => Error::Bug(message),
    }
}
