//! A source of files as a stream: its rows in the order of their times.
//!
//! Rows of equal time keep the order of the files, so every replay of the same files is the same.
//! Rows that can't be read have no time; they come first, and the replay rejects them one by one.
//! The sort spills to disk within the session's memory limit.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use futures::{StreamExt, TryStreamExt};
use sembla_connectors::files::SourceFiles;
use sembla_connectors::replay::{RowsFrom, unreadable};
use sembla_models::CancelToken;

use super::bound::one_partition;
use super::stages::runtime_error;
use crate::SqlError;
use crate::catalogue::SourceDef;
use crate::catalogue::source_files::UNREADABLE;
use crate::catalogue::source_files::table::with_unreadable;
use crate::query::QueryScope;

/// The columns that number rows: in the order of the files, and in that of the replay.
const FILE_ORDER: &str = "__sembla_file_order";
const REPLAY_ORDER: &str = "__sembla_replay_order";

/// How the rows of the files of a source are read, any number of times.
pub(super) fn rows_from(
    state: &SessionState,
    source: &Arc<SourceDef>,
    files: &SourceFiles,
) -> RowsFrom {
    let state = one_partition(state);
    let (source, files) = (Arc::clone(source), files.clone());
    Arc::new(move |_skip| {
        let (state, source, files) = (state.clone(), Arc::clone(&source), files.clone());
        let opened = async move { numbered(&state, &source, &files).await };
        futures::stream::once(opened).try_flatten().boxed()
    })
}

/// The rows of a source with their numbers.
async fn numbered(
    state: &SessionState,
    source: &Arc<SourceDef>,
    files: &SourceFiles,
) -> sembla_runtime::Result<
    impl futures::Stream<Item = sembla_runtime::Result<RecordBatch>> + Send + use<>,
> {
    let time = source.watermark.as_ref().map(|watermark| watermark.column.clone());
    let cancel = QueryScope::of(state.config_options()).cancel;
    let plan = plan(source, time.filter(|_| !files.is_in_order), files, cancel);
    let rows = match plan {
        Ok(plan) => rows(state, &plan).await,
        Err(error) => Err(error),
    };
    let rows = rows.map_err(|error| runtime_error(&error))?;
    let schema = with_number(&source.schema());
    let mut next = 0;
    Ok(rows.map(move |batch| {
        let batch = batch.map_err(|error| runtime_error(&error.into()))?;
        let count = batch.num_rows() as i64;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(next..next + count));
        next += count;
        // The numbers come before what is known of unreadable rows.
        let own = schema.fields().len() - 2;
        let mut columns: Vec<ArrayRef> = batch.columns().iter().take(own + 1).cloned().collect();
        columns.insert(own, numbers);
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
    }))
}

async fn rows(
    state: &SessionState,
    plan: &LogicalPlan,
) -> Result<SendableRecordBatchStream, SqlError> {
    let plan = state.create_physical_plan(plan).await?;
    Ok(execute_stream(plan, state.task_ctx())?)
}

/// Reads the files, sorted by a column if one is given.
fn plan(
    source: &Arc<SourceDef>,
    time: Option<String>,
    files: &SourceFiles,
    cancel: CancelToken,
) -> Result<LogicalPlan, SqlError> {
    let table = with_unreadable(source, files, cancel)?;
    let read = LogicalPlanBuilder::scan("source", provider_as_source(Arc::new(table)), None)?;
    let Some(time) = time else { return Ok(read.build()?) };
    let by = |name: &str| Expr::Column(Column::new_unqualified(name)).sort(true, true);
    let numbered = read.window(vec![row_number().alias(FILE_ORDER)])?;
    Ok(numbered.sort(vec![by(&time), by(FILE_ORDER)])?.build()?)
}

/// The columns of the rows, NULLs allowed, then their numbers and what is known of unreadable ones.
fn with_number(schema: &SchemaRef) -> SchemaRef {
    let own = schema.fields().iter();
    let mut fields: Vec<Arc<Field>> =
        own.map(|field| Arc::new(field.as_ref().clone().with_nullable(true))).collect();
    fields.push(Arc::new(Field::new(REPLAY_ORDER, DataType::Int64, false)));
    fields.push(Arc::new(Field::new(UNREADABLE, unreadable(), true)));
    Arc::new(Schema::new(Fields::from(fields)))
}
