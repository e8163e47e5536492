//! A source, a sink, and the shortest pipeline between them: rows go on as they are.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use sembla_connectors::formats::{Column, Metadata, schema_of};
use sembla_connectors::kafka::{KafkaSink, KafkaSource};
use sembla_runtime::{
    Assignment, Output, Partition, Progress, Result, Sink, Source, SourceBatch, SourceEvent,
};
use sembla_testing::Broker;

/// The name under which the source is known in progress.
pub(crate) const SOURCE: &str = "messages";

/// How long a test waits for an event.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Options as statements give them.
pub(crate) fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// The payload as text, and all that comes with a record.
pub(crate) fn columns() -> Vec<Column> {
    let column = |name: &str, data_type: DataType| Column::new(name, data_type, true);
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    vec![
        column("text", DataType::Utf8),
        column("k", DataType::Utf8).from_metadata(Metadata::Key),
        column("at", time).from_metadata(Metadata::Timestamp),
        column("part", DataType::Int64).from_metadata(Metadata::Partition),
        column("place", DataType::Int64).from_metadata(Metadata::Offset),
        column("topic", DataType::Utf8).from_metadata(Metadata::Topic),
        column("h", DataType::Utf8).from_metadata(Metadata::Headers),
    ]
}

/// A source of text.
pub(crate) fn source(
    broker: &Broker,
    pipeline: &str,
    topic: &str,
    more: &[(&str, &str)],
) -> KafkaSource {
    let servers = broker.servers();
    let mut pairs = vec![
        ("topic", topic),
        ("bootstrap_servers", servers.as_str()),
        ("format", "text"),
        ("session_timeout", "2 s"),
    ];
    pairs.retain(|(key, _)| more.iter().all(|(other, _)| key != other));
    pairs.extend_from_slice(more);
    KafkaSource::new(pipeline, &columns(), &options(&pairs)).expect("a source")
}

/// A sink of JSON, which commits the offsets of a source.
pub(crate) fn sink(
    broker: &Broker,
    topic: &str,
    source: &KafkaSource,
    more: &[(&str, &str)],
) -> KafkaSink {
    let groups = BTreeMap::from([(SOURCE.to_string(), source.group())]);
    sink_of(broker, topic, groups, more).expect("a sink")
}

pub(crate) fn sink_of(
    broker: &Broker,
    topic: &str,
    groups: BTreeMap<String, sembla_connectors::kafka::Group>,
    more: &[(&str, &str)],
) -> Result<KafkaSink> {
    let servers = broker.servers();
    let mut pairs = vec![("topic", topic), ("bootstrap_servers", servers.as_str())];
    pairs.extend_from_slice(more);
    KafkaSink::new(&schema_of(&columns()), &options(&pairs), groups)
}

/// What one attempt of a pipeline knows.
pub(crate) struct Copier {
    pub(crate) pipeline: String,
    pub(crate) source: KafkaSource,
    pub(crate) sink: KafkaSink,
    pub(crate) progress: Progress,
    pub(crate) assignment: Assignment,
}

impl Copier {
    pub(crate) fn new(pipeline: &str, source: KafkaSource, sink: KafkaSink) -> Self {
        Self {
            pipeline: pipeline.into(),
            source,
            sink,
            progress: Progress::default(),
            assignment: Assignment::default(),
        }
    }

    /// The beginning of an attempt.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        self.assignment = self.source.assigned().await?;
        let assignment = BTreeMap::from([(SOURCE.to_string(), self.assignment.clone())]);
        let committed = self.sink.recover(&self.pipeline, &assignment).await?;
        self.progress = committed
            .unwrap_or_else(|| Progress { pipeline: self.pipeline.clone(), ..Progress::default() });
        let none = BTreeMap::new();
        let positions = self.progress.positions.get(SOURCE).unwrap_or(&none);
        self.source.start(positions).await
    }

    /// The next event, which must come.
    pub(crate) async fn event(&mut self) -> Result<Option<SourceEvent>> {
        tokio::time::timeout(TIMEOUT, self.source.next()).await.expect("an event in time")
    }

    /// Writes what a batch has, and takes note of where it ends.
    pub(crate) async fn write(&mut self, batch: &SourceBatch) -> Result<()> {
        if batch.rows.num_rows() > 0 {
            self.sink.write(Output::Rows(&batch.rows)).await?;
        }
        if !batch.rejected.is_empty() {
            self.sink.write(Output::Rejected(&batch.rejected)).await?;
        }
        let positions = self.progress.positions.entry(SOURCE.into()).or_default();
        positions.insert(Partition::clone(&batch.partition), batch.next);
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<()> {
        self.progress.epoch += 1;
        self.sink.commit(&self.progress).await
    }

    /// One attempt, with a commit after each batch, until the source ends.
    pub(crate) async fn copy(&mut self) -> Result<()> {
        self.begin().await?;
        loop {
            match self.event().await? {
                Some(SourceEvent::Batch(batch)) => {
                    self.write(&batch).await?;
                    self.commit().await?;
                }
                Some(SourceEvent::End(_)) => {}
                Some(SourceEvent::Reassign(answer)) => {
                    // Who asked may be gone.
                    let _ = answer.send(());
                    self.begin().await?;
                }
                None => return Ok(()),
            }
        }
    }

    /// Attempts until one is through, as a pipeline makes them.
    pub(crate) async fn copy_through_failures(&mut self) {
        for _ in 0..50 {
            match self.copy().await {
                Ok(()) => return,
                Err(error) if error.is_fenced() || error.is_transient() => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no attempt was through");
    }
}

/// The texts of a batch.
pub(crate) fn texts(rows: &RecordBatch) -> Vec<Option<String>> {
    let column = rows.column_by_name("text").expect("text").as_string::<i32>();
    column.iter().map(|text| text.map(String::from)).collect()
}

/// The texts in a topic of results, committed ones only, sorted.
pub(crate) fn results(broker: &Broker, topic: &str) -> Vec<String> {
    let mut texts: Vec<String> = broker
        .read_committed(topic)
        .iter()
        .map(|record| json(&record.text())["text"].as_str().unwrap_or("NULL").to_string())
        .collect();
    texts.sort();
    texts
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

/// Texts that say which they are, in an order that sorts.
pub(crate) fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("m{number:06}")).collect()
}
