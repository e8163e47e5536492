//! A pipeline with a source, a row stage and a sink of its own: numbers go in, their squares come
//! out, and the last commit says how far reading has come.
//!
//! ```text
//! cargo run --release -p sembla-runtime --example pipeline
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use sembla_runtime::state::{LocalStore, Query};
use sembla_runtime::stop::StopSignal;
use sembla_runtime::{
    Assignment, Delivery, Error, EventTime, Output, Partition, Pipeline, PipelineOptions, Progress,
    Result, RowStage, Sink, Source, SourceBatch, SourceEvent, SourceInput, Status, run,
};

fn numbers() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]))
}

/// A batch of numbers.
fn batch(values: impl Into<Int64Array>) -> Result<RecordBatch> {
    let columns = vec![Arc::new(values.into()) as ArrayRef];
    RecordBatch::try_new(numbers(), columns).map_err(|error| Error::Bug(error.to_string()))
}

/// Ten numbers in one partition.
struct Numbers {
    next: i64,
    has_ended: bool,
}

const END: i64 = 10;

#[async_trait]
impl Source for Numbers {
    fn schema(&self) -> SchemaRef {
        numbers()
    }

    async fn assigned(&mut self) -> Result<Assignment> {
        Ok(Assignment::whole(vec!["0".into()]))
    }

    // A restart begins where the last commit says.
    async fn start(&mut self, positions: &BTreeMap<Partition, i64>) -> Result<()> {
        self.next = positions.get("0").copied().unwrap_or(0);
        self.has_ended = false;
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        if self.has_ended {
            return Ok(None);
        }
        if self.next == END {
            self.has_ended = true;
            return Ok(Some(SourceEvent::End("0".into())));
        }
        let sequences: Vec<i64> = (self.next..END).collect();
        let rows = batch(sequences.clone())?;
        self.next = END;
        Ok(Some(SourceEvent::Batch(SourceBatch {
            partition: "0".into(),
            bytes: rows.get_array_memory_size(),
            rows,
            sequences,
            rejected: Vec::new(),
            next: END,
            token: None,
            marks: Vec::new(),
        })))
    }
}

/// Squares each number.
struct Squares;

#[async_trait]
impl RowStage for Squares {
    fn schema(&self) -> SchemaRef {
        numbers()
    }

    async fn run(&self, _source: usize, rows: RecordBatch) -> Result<Vec<RecordBatch>> {
        let squares: Int64Array =
            rows.column(0).as_primitive::<Int64Type>().unary(|number| number * number);
        Ok(vec![batch(squares)?])
    }
}

/// Prints rows when they are committed.
#[derive(Default)]
struct Print {
    uncommitted: Vec<i64>,
}

#[async_trait]
impl Sink for Print {
    async fn recover(
        &mut self,
        _pipeline: &str,
        _assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        Ok(None)
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        if let Output::Rows(rows) = output {
            self.uncommitted.extend(rows.column(0).as_primitive::<Int64Type>().values());
        }
        Ok(())
    }

    async fn commit(&mut self, progress: &Progress) -> Result<()> {
        println!(
            "commit {}: {:?}, then {:?}",
            progress.epoch, self.uncommitted, progress.positions
        );
        self.uncommitted.clear();
        Ok(())
    }

    async fn abort(&mut self) -> Result<()> {
        self.uncommitted.clear();
        Ok(())
    }

    fn takes_rejected(&self) -> bool {
        false
    }

    fn takes_late(&self) -> bool {
        false
    }

    fn promise(&self) -> Delivery {
        Delivery::AtLeastOnce
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join("sembla-example-state");
    let pipeline = Pipeline {
        name: "squares".into(),
        query: Query { fingerprint: "squares 1".into(), description: "squares".into() },
        sources: vec![SourceInput {
            name: "numbers".into(),
            source: Box::new(Numbers { next: 0, has_ended: false }),
            event_time: EventTime::None,
            delay_us: 0,
            windows: None,
        }],
        rows: Arc::new(Squares),
        windows: None,
        sink: Box::<Print>::default(),
        store: Arc::new(LocalStore::open(folder)?),
        options: PipelineOptions::default(),
        ignore_state: true,
    };
    let (_stop, signal) = StopSignal::channel();
    let (status, _) = tokio::sync::watch::channel(Status::default());
    let summary = run(pipeline, signal, status).await?;
    println!("{:?} after {} rows", summary.end, summary.status.rows_in);
    Ok(())
}
