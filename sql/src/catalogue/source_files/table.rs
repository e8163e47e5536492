//! The files of a source in a query's plan.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt;
use sembla_connectors::files::SourceFiles;
use sembla_models::CancelToken;
use sembla_readers::Cancel;

use super::{FileColumns, FileRows};
use crate::SqlError;
use crate::catalogue::source::SourceDef;

/// A plan that reads columns of the files of a source, in their order.
pub(crate) fn plan(
    what: FileColumns,
    limit: Option<usize>,
    cancel: CancelToken,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = Arc::clone(what.schema());
    let partition = Arc::new(FilePartition { what, cancel, watch: None });
    Ok(Arc::new(StreamingTableExec::try_new(schema, vec![partition], None, [], false, limit)?))
}

/// A table of all columns of the files of a source in their order, with what is known of rows that
/// can't be read; see [`UNREADABLE`](super::UNREADABLE). With `watch` it never ends: it looks for
/// new files again and again, after so long.
pub(crate) fn with_unreadable(
    source: &Arc<SourceDef>,
    files: &SourceFiles,
    cancel: CancelToken,
) -> Result<StreamingTable> {
    let (what, watch) = (FileColumns::tolerant(source, files), files.watch);
    let schema = Arc::clone(what.schema());
    StreamingTable::try_new(schema, vec![Arc::new(FilePartition { what, cancel, watch })])
}

/// The files of a source, which are opened when they are read.
#[derive(Debug)]
struct FilePartition {
    what: FileColumns,
    cancel: CancelToken,
    watch: Option<Duration>,
}

/// Where reading is.
enum Reading {
    Closed(FileColumns, Cancel),
    Open(Box<FileRows>),
    /// All files that were there.
    Read(Box<FileRows>),
}

/// The next rows, if there are any.
fn step(reading: Reading) -> Result<(Option<RecordBatch>, Box<FileRows>), SqlError> {
    let mut rows = match reading {
        Reading::Closed(what, cancel) => Box::new(FileRows::open(what, cancel)?),
        Reading::Open(rows) => rows,
        Reading::Read(mut rows) => {
            rows.look_again()?;
            rows
        }
    };
    Ok((rows.next()?, rows))
}

impl PartitionStream for FilePartition {
    fn schema(&self) -> &SchemaRef {
        self.what.schema()
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let cancel = self.cancel.clone();
        let cancel = Cancel::new(move || cancel.is_cancelled());
        let closed = Reading::Closed(self.what.clone(), cancel);
        let watch = self.watch;
        let batches = futures::stream::try_unfold(closed, move |mut reading| async move {
            loop {
                // A thread is held for one batch at a time, so that readers that wait for each
                // other can't use up all of them.
                let step = tokio::task::spawn_blocking(move || step(reading));
                let step =
                    step.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)));
                let (batch, rows) = step??;
                match (batch, watch) {
                    (Some(batch), _) => return Ok(Some((batch, Reading::Open(rows)))),
                    (None, None) => return Ok(None),
                    (None, Some(interval)) => tokio::time::sleep(interval).await,
                }
                reading = Reading::Read(rows);
            }
        });
        let schema = Arc::clone(self.what.schema());
        Box::pin(RecordBatchStreamAdapter::new(schema, batches.into_stream()))
    }
}
