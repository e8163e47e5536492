//! A source of Kafka at rest: the rows that its topics have when the query begins.

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
use sembla_connectors::kafka::KafkaSource;
use sembla_runtime::{Source as _, SourceEvent};

use super::source::{SourceColumn, SourceDef};
use crate::SqlError;

/// Plans the reading of a source's topics, from where `start` says to what is there now.
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
    let topics = Topics { source: Arc::clone(source), schema: Arc::clone(&schema) };
    let none = std::iter::empty();
    let scan =
        StreamingTableExec::try_new(schema, vec![Arc::new(topics)], projection, none, false, limit);
    Ok(Arc::new(scan?))
}

fn open(source: &SourceDef) -> Result<KafkaSource, SqlError> {
    let columns: Vec<_> = source.columns.iter().map(SourceColumn::column).collect();
    let opened = KafkaSource::at_rest(&columns, source.options.as_slice());
    opened.map_err(|error| SqlError::of("source", &source.name, error))
}

/// The topics of a source.
struct Topics {
    source: Arc<SourceDef>,
    schema: SchemaRef,
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.name)
    }
}

impl PartitionStream for Topics {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let source = Arc::clone(&self.source);
        let batches = futures::stream::once(async move {
            let mut topics = open(&source)?;
            let begun = async {
                topics.assigned().await?;
                topics.start(&Default::default()).await
            };
            begun.await.map_err(|error| SqlError::of("source", &source.name, error))?;
            let read = move |mut topics: KafkaSource| {
                let source = Arc::clone(&source);
                async move {
                    let rows = next(&source, &mut topics).await?;
                    Ok(rows.map(|rows| (rows, topics)))
                }
            };
            Ok::<_, DataFusionError>(futures::stream::try_unfold(topics, read))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches.try_flatten()))
    }
}

/// The next rows; `None` after the last ones. A record that can't be used ends the query, as a
/// value in a file does that doesn't fit.
async fn next(source: &SourceDef, topics: &mut KafkaSource) -> Result<Option<RecordBatch>> {
    loop {
        match topics.next().await.map_err(|error| SqlError::of("source", &source.name, error))? {
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
