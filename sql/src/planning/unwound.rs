//! Panics of the engine while a query runs, as errors of that query.
//!
//! A library below may panic where a value is too long for its offsets, say. The session, its other
//! statements and the process go on.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::Stream;

use crate::SqlError;

/// The same stream, which gives an error and ends where it would panic.
pub(crate) fn unwound(stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    Box::pin(Unwound { schema: stream.schema(), stream: Some(stream) })
}

struct Unwound {
    schema: SchemaRef,
    /// `None` after a panic.
    stream: Option<SendableRecordBatchStream>,
}

impl Stream for Unwound {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        // What a panic leaves half done is the stream's own, which is not asked again.
        let poll = AssertUnwindSafe(|| stream.as_mut().poll_next(context));
        match std::panic::catch_unwind(poll) {
            Ok(next) => next,
            Err(panic) => {
                self.stream = None;
                Poll::Ready(Some(Err(failure(panic.as_ref()))))
            }
        }
    }
}

impl RecordBatchStream for Unwound {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

/// What a panic means to who has asked.
fn failure(panic: &(dyn Any + Send)) -> DataFusionError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.contains("offset overflow") || text.contains("capacity overflow") {
        return SqlError::Resources(format!(
            "a text or list of the query exceeds 2 GiB, the most that is possible ({text})"
        ))
        .into();
    }
    SqlError::Bug(format!("the query engine failed: {text}")).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::StreamExt;

    use super::*;

    async fn fails(says: &'static str) -> String {
        let schema = Arc::new(Schema::empty());
        let empty = RecordBatch::new_empty(SchemaRef::clone(&schema));
        let rows = async move { if says.is_empty() { Ok(empty) } else { panic!("{says}") } };
        let stream = RecordBatchStreamAdapter::new(schema, futures::stream::once(rows));
        let mut stream = unwound(Box::pin(stream));
        let error = stream.next().await.expect("an error").expect_err("an error");
        assert!(stream.next().await.is_none(), "it has ended");
        SqlError::from(error).to_string()
    }

    #[tokio::test]
    async fn a_panic_of_the_engine_is_an_error_of_the_query() {
        let line = fails("byte array offset overflow").await;
        assert!(line.contains("exceeds 2 GiB") && line.contains("offset overflow"), "{line}");
        let line = fails("index out of\nbounds").await;
        assert!(line.contains("the query engine failed: index out of bounds"), "{line}");
    }
}
