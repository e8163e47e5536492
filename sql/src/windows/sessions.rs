//! Sessions over static rows. They depend on all rows of a key, so the input is read to its end
//! first; then each row comes with its session, in the order of the input.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;
use sembla_operators::host;
use sembla_runtime::window::{Window, sessions_of};

use super::rows::WithWindows;
use super::times::micros;
use crate::SqlError;
use crate::error::arrow_error;
use crate::query::QueryHost;

/// Bytes of a row beside its own: its time, its place in the order, and its session.
const BYTES_A_ROW: usize = size_of::<i64>() + size_of::<usize>() + size_of::<Window>();

/// What sessions are computed of.
#[derive(Clone)]
pub(super) struct Sessions {
    pub(super) input: Arc<dyn ExecutionPlan>,
    /// The position of the time.
    pub(super) time: usize,
    /// Its name, for messages.
    pub(super) time_name: String,
    /// The positions of the key.
    pub(super) keys: Vec<usize>,
    pub(super) gap_us: i64,
    pub(super) with_windows: WithWindows,
}

/// A batch with the time of each row.
struct Timed {
    rows: RecordBatch,
    times: Int64Array,
}

impl Sessions {
    /// Reads the input and gives each of its batches with the sessions of its rows. The memory is
    /// the host's until it is dropped.
    ///
    /// # Errors
    /// What the input says, a NULL in the time, [`SqlError::Resources`].
    pub(super) async fn compute(
        self,
        context: Arc<TaskContext>,
        host: Arc<QueryHost>,
    ) -> Result<Vec<RecordBatch>> {
        let partitions = self.input.output_partitioning().partition_count();
        let tasks: Vec<SpawnedTask<Result<Vec<Timed>>>> = (0..partitions)
            .map(|partition| {
                let (sessions, context, host) =
                    (self.clone(), Arc::clone(&context), Arc::clone(&host));
                SpawnedTask::spawn(async move { sessions.read(partition, context, &host).await })
            })
            .collect();
        let mut batches = Vec::new();
        for task in tasks {
            batches.extend(joined(task).await??);
        }
        let computing = SpawnedTask::spawn_blocking(move || self.with_sessions(batches, &host));
        Ok(joined(computing).await??)
    }

    async fn read(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
        host: &QueryHost,
    ) -> Result<Vec<Timed>> {
        let mut stream = self.input.execute(partition, context)?;
        let mut batches = Vec::new();
        while let Some(rows) = stream.next().await {
            let rows = rows?;
            host::check(host).map_err(SqlError::from)?;
            let time = rows.columns().get(self.time);
            let time = time.ok_or_else(|| DataFusionError::Internal("no time".into()))?;
            let times = micros("session", &self.time_name, time)?;
            host.keep(rows.get_array_memory_size() + rows.num_rows() * BYTES_A_ROW)?;
            batches.push(Timed { rows, times });
        }
        Ok(batches)
    }

    fn with_sessions(
        &self,
        batches: Vec<Timed>,
        host: &QueryHost,
    ) -> Result<Vec<RecordBatch>, SqlError> {
        let times: Vec<i64> =
            batches.iter().flat_map(|batch| batch.times.values().iter().copied()).collect();
        let windows = match self.keys.is_empty() {
            true => sessions_of(self.gap_us, &times, &vec![(); times.len()])?,
            false => {
                let keys = self.rows_of_keys(&batches, host)?;
                let keys: Vec<Row<'_>> = keys.iter().collect();
                sessions_of(self.gap_us, &times, &keys)?
            }
        };
        let mut rest = windows.as_slice();
        let mut results = Vec::with_capacity(batches.len());
        for Timed { rows, .. } in batches {
            host::check(host)?;
            let Some((own, after)) = rest.split_at_checked(rows.num_rows()) else {
                return Err(SqlError::Bug("a row has no session".into()));
            };
            results.push(self.with_windows.join(&rows, own)?);
            rest = after;
        }
        Ok(results)
    }

    /// The keys of all rows, comparable. NULL is a key like others.
    fn rows_of_keys(&self, batches: &[Timed], host: &QueryHost) -> Result<Rows, SqlError> {
        let schema = self.input.schema();
        let fields =
            self.keys.iter().map(|key| SortField::new(schema.field(*key).data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(|error| arrow_error(&error))?;
        let mut keys = converter.empty_rows(0, 0);
        for Timed { rows, .. } in batches {
            let columns: Vec<ArrayRef> =
                self.keys.iter().filter_map(|key| rows.columns().get(*key).cloned()).collect();
            let before = keys.size();
            converter.append(&mut keys, &columns).map_err(|error| arrow_error(&error))?;
            host.keep(keys.size() - before + rows.num_rows() * size_of::<Row<'_>>())?;
        }
        Ok(keys)
    }
}

async fn joined<T: 'static>(task: SpawnedTask<T>) -> Result<T> {
    task.join_unwind().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))
}
