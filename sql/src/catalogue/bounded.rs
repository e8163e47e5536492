//! A source that reads by itself, as a bounded table: the rows that it has when the query begins.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt;
use sembla_connectors::ReadMode;
use sembla_runtime::{Source, SourceEvent};

use super::source::SourceDef;
use crate::SqlError;

/// Plans the reading of a source, from where its options say to what is there now.
///
/// # Errors
/// Options that can't be.
pub(super) fn scan(
    source: &Arc<SourceDef>,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    open(source)?;
    let schema = source.schema();
    let rows = BoundedRows { source: Arc::clone(source), schema: Arc::clone(&schema) };
    let none = std::iter::empty();
    let scan =
        StreamingTableExec::try_new(schema, vec![Arc::new(rows)], projection, none, false, limit);
    Ok(Arc::new(scan?))
}

/// Opens a source for a query, which is no pipeline and has no name.
fn open(source: &SourceDef) -> Result<Box<dyn Source>, SqlError> {
    Ok(source.open("query", ReadMode::Bounded, None)?.source)
}

/// The rows of a source.
struct BoundedRows {
    source: Arc<SourceDef>,
    schema: SchemaRef,
}

impl fmt::Debug for BoundedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.name)
    }
}

impl PartitionStream for BoundedRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let source = Arc::clone(&self.source);
        let batches = futures::stream::once(async move {
            let mut opened = open(&source)?;
            let begun = async {
                opened.assigned().await?;
                opened.start(&Default::default()).await
            };
            begun.await.map_err(|error| source.error(error))?;
            let read = move |mut opened: Box<dyn Source>| {
                let source = Arc::clone(&source);
                async move {
                    let rows = next(&source, opened.as_mut()).await?;
                    Ok(rows.map(|rows| (rows, opened)))
                }
            };
            Ok::<_, DataFusionError>(futures::stream::try_unfold(opened, read))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches.try_flatten()))
    }
}

/// The next rows; `None` after the last ones. A record that can't be used ends the query, as a
/// value in a file does that doesn't fit.
async fn next(source: &SourceDef, opened: &mut dyn Source) -> Result<Option<RecordBatch>> {
    loop {
        match opened.next().await.map_err(|error| source.error(error))? {
            Some(SourceEvent::Batch(batch)) => {
                if let Some(record) = batch.rejected.first() {
                    let (partition, position) = (&record.partition, record.position);
                    return Err(SqlError::Data(format!(
                        "source '{}': record {position} of {partition}: {}",
                        source.name, record.reason
                    ))
                    .into());
                }
                return Ok(Some(batch.rows));
            }
            Some(SourceEvent::End(_) | SourceEvent::Reassign(_)) => {}
            None => return Ok(None),
        }
    }
}
