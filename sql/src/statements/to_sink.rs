//! Rows of a static query into a sink, without a pipeline: `INSERT INTO sink SELECT …` where the
//! query reads no stream, and `COPY … TO` the address of a sink.
//!
//! - *Invariant:* a sink with atomic commits gets all rows in one, so a statement that fails has
//!   written nothing. Others get a commit after each part, and a statement that is run again
//!   writes the same rows under the same keys.
//! - A statement always writes all of its rows: progress fences off another process that runs the
//!   same statement at the same time, and says nothing of what is to be skipped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::sql::parser::{CopyToSource, CopyToStatement, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::Value;
use futures::StreamExt;
use sembla_connectors::{SourceHandles, sink_of_address};
use sembla_readers::files::store::shown;
use sembla_runtime::{Delivery, Output, Progress, Sink};

use super::Outcome;
use crate::catalogue::SinkDef;
use crate::engine::Connection;
use crate::query::QueryScope;
use crate::streams::as_declared;
use crate::{SqlError, planning};

/// Bytes of rows between two commits of a sink whose commits are not atomic.
const COMMIT_BYTES: usize = 64 << 20;

/// `COPY … TO 'ADDRESS'`, where the address is that of a sink.
pub(crate) struct CopyToSink {
    query: String,
    sink: SinkDef,
}

/// What a statement copies to a sink, if it does.
///
/// # Errors
/// [`SqlError::Statement`] for options and clauses that the sink does not take.
pub(crate) fn copy_of(statement: &DfStatement) -> Result<Option<CopyToSink>, SqlError> {
    if let DfStatement::Explain(explain) = statement
        && let Some(copy) = copy_of(&explain.statement)?
    {
        return Err(SqlError::Statement(format!(
            "COPY TO '{}': a COPY into a store has no plan of its own; EXPLAIN its query",
            copy.sink.name
        )));
    }
    let DfStatement::CopyTo(copy) = statement else { return Ok(None) };
    let CopyToStatement { source, target, partitioned_by, stored_as, options } = copy;
    let name = shown(target);
    let failed = |why: String| SqlError::Statement(format!("COPY TO '{name}': {why}"));
    let given = options.iter().map(|(key, value)| Ok((key.to_lowercase(), text_of(value)?)));
    let given = given.collect::<Result<Vec<_>, String>>();
    let found = sink_of_address(target, given.clone().unwrap_or_default());
    let Some((kind, options)) = found.map_err(|error| failed(error.to_string()))? else {
        return Ok(None);
    };
    given.map_err(failed)?;
    if stored_as.is_some() || !partitioned_by.is_empty() {
        return Err(failed("a store takes no STORED AS and no PARTITIONED BY".into()));
    }
    let query = match source {
        CopyToSource::Relation(table) => format!("SELECT * FROM {table}"),
        CopyToSource::Query(query) => query.to_string(),
    };
    let sink = SinkDef { name, connector: "address", kind, schema: None, options };
    sink.check()?;
    Ok(Some(CopyToSink { query, sink }))
}

/// The text of an option's value.
fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Ok(text.clone()),
        Value::Number(number, _) => Ok(number.clone()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        other => Err(format!("the value of an option must be a text or a number, got {other}")),
    }
}

impl CopyToSink {
    /// Writes the rows.
    ///
    /// # Errors
    /// What the query and the sink say.
    pub(crate) async fn execute(self, connection: &Connection) -> Result<Outcome, SqlError> {
        let frame = planning::query(connection, &self.query).await?;
        let rows = write(frame, &self.sink).await?;
        Ok(Outcome::Done(format!("{} written to {}", super::counted(rows), self.sink.name)))
    }
}

/// Writes the rows of a query to a sink, and says how many there were.
///
/// # Errors
/// What the query and the sink say.
pub(crate) async fn write(frame: DataFrame, sink: &SinkDef) -> Result<usize, SqlError> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let context = Arc::new(frame.task_ctx());
    let cancel = QueryScope::of(context.session_config().options()).cancel;
    let name = name_of(&frame, sink);
    let opened = sink.open(&schema, SourceHandles::new(), Duration::ZERO)?;
    let plan = planning::physical(frame).await?;
    let mut writer = Writer::begin(opened, name).await.map_err(|error| sink.error(error))?;
    let mut rows = planning::run(plan, context)?;
    while let Some(batch) = rows.next().await {
        cancel.check()?;
        let batch = match batch.map_err(SqlError::from).and_then(|b| as_declared(&schema, &b)) {
            Ok(batch) => batch,
            Err(error) => return Err(writer.give_up(error).await),
        };
        if let Err(error) = writer.write(&batch).await {
            return Err(writer.give_up(sink.error(error)).await);
        }
    }
    writer.finish().await.map_err(|error| sink.error(error))
}

/// The name under which progress is kept: the same for the same statement into the same sink.
fn name_of(frame: &DataFrame, sink: &SinkDef) -> String {
    let plan = frame.logical_plan().display_indent().to_string();
    let hash = blake3::hash(format!("{}\n{plan}", sink.name).as_bytes()).to_hex();
    format!("insert:{}", hash.chars().take(16).collect::<String>())
}

/// A sink that takes rows.
struct Writer {
    sink: Box<dyn Sink>,
    progress: Progress,
    is_atomic: bool,
    rows: usize,
    /// Bytes since the last commit.
    pending: usize,
}

impl Writer {
    async fn begin(mut sink: Box<dyn Sink>, pipeline: String) -> sembla_runtime::Result<Self> {
        let last = sink.recover(&pipeline, &BTreeMap::new()).await?;
        let epoch = last.map_or(0, |last| last.epoch);
        let progress = Progress { pipeline, epoch, ..Progress::default() };
        let is_atomic = sink.promise() == Delivery::ExactlyOnce;
        Ok(Self { sink, progress, is_atomic, rows: 0, pending: 0 })
    }

    async fn write(&mut self, batch: &RecordBatch) -> sembla_runtime::Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.sink.write(Output::Rows(batch)).await?;
        self.rows += batch.num_rows();
        self.pending += batch.get_array_memory_size();
        match !self.is_atomic && self.pending >= COMMIT_BYTES {
            true => self.commit(false).await,
            false => Ok(()),
        }
    }

    async fn commit(&mut self, is_complete: bool) -> sembla_runtime::Result<()> {
        self.progress.epoch += 1;
        self.progress.is_complete = is_complete;
        self.pending = 0;
        self.sink.commit(&self.progress).await
    }

    async fn finish(mut self) -> sembla_runtime::Result<usize> {
        self.commit(true).await?;
        Ok(self.rows)
    }

    /// Gives up what is not committed, because of an error, which is the one to tell.
    async fn give_up(mut self, error: SqlError) -> SqlError {
        if let Err(again) = self.sink.abort().await {
            tracing::debug!("giving up rows: {again}");
        }
        error
    }
}
