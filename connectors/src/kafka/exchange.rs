//! The exchange: a topic of one partition between the pipelines that read a source together and
//! the one that has the windows.
//!
//! A record is a batch of rows as an Arrow stream, a list of marks, or a record that could not be
//! used; its header says which. The topic is made where it is missing, and is nobody else's.
//!
//! - *Invariant:* what one instance commits is in the topic in its order, so the marks of a
//!   partition are behind the rows that they are about.
//! - *Invariant:* a record of another origin, or of another query, is rejected by its place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use sembla_runtime::{
    Assignment, Delivery, Error, Mark, Output, Progress, Rejected, Result, Sink, SourceBatch,
};
use serde::{Deserialize, Serialize};

use super::client::{ANSWER_TIMEOUT, Reports, blocking};
use super::connector::groups;
use super::failure::Explainer;
use super::options::connection_of;
use super::producer::OutRecord;
use super::reader::size_of;
use super::seat::Seat;
use super::settings::{Connection, SinkSettings};
use super::sink::KafkaSink;
use super::source::KafkaSource;
use super::topics::{TAKES_LARGE_RECORDS, TopicSpec, create, partitions_of_topic};
use crate::connector::{Exchange, OpenSource, SourceHandles};
use crate::formats::{Origin, as_arrow_stream, read_arrow_stream};
use crate::options::{GivenOptions, Options};

/// The header of a record of an exchange.
const HEADER: &str = "sembla-exchange";

/// What a record is.
#[derive(Debug, Serialize, Deserialize)]
enum Note {
    /// Rows, in the payload.
    Rows,
    /// Marks. There is no payload.
    Marks(Vec<Mark>),
    /// A record that could not be used; key and payload are its own.
    Rejected { partition: String, position: i64, timestamp_us: Option<i64>, reason: String },
}

/// An exchange, to be connected to from both sides.
#[derive(Clone)]
pub struct KafkaExchange {
    topic: String,
    schema: SchemaRef,
    /// What was given to the source whose cluster it is at.
    given: Vec<(String, String)>,
}

impl KafkaExchange {
    /// An exchange of rows of a schema, hidden columns included, through the topic at the cluster
    /// that a source's options name.
    pub fn new(topic: &str, schema: &SchemaRef, source: &GivenOptions) -> Self {
        // Fields alone: metadata of a schema may differ from plan to plan.
        let schema = Arc::new(Schema::new(schema.fields().clone()));
        Self { topic: topic.into(), schema, given: connection_of(source) }
    }

    fn with_topic(&self) -> Vec<(String, String)> {
        let mut given = self.given.clone();
        given.push(("topic".into(), self.topic.clone()));
        given
    }

    fn settings(&self) -> Result<SinkSettings> {
        let options = Options::read("an exchange", &KafkaSink::options(), &self.with_topic())?;
        SinkSettings::new(&options)
    }
}

#[async_trait]
impl Exchange for KafkaExchange {
    fn describe(&self) -> String {
        format!("topic '{}' of one partition", self.topic)
    }

    fn sink(&self, handles: SourceHandles) -> Result<Box<dyn Sink>> {
        let seat = Seat::new(self.settings()?, groups(handles));
        Ok(Box::new(ExchangeSink { schema: SchemaRef::clone(&self.schema), seat }))
    }

    fn source(&self, pipeline: &str, start: Option<i64>) -> Result<OpenSource> {
        let mut given = self.with_topic();
        given.extend(start.map(|offset| ("start".into(), format!("{}/0:{offset}", self.topic))));
        let schema = SchemaRef::clone(&self.schema);
        KafkaSource::of_exchange(pipeline, schema, &given).map(OpenSource::from)
    }

    /// The offset after its last record; 0 where the topic is not there yet. Waits for the cluster.
    async fn end(&self) -> Result<i64> {
        let connection = self.settings()?.connection;
        let topic = self.topic.clone();
        let look = move || {
            let explainer = &connection.explainer;
            let consumer = looking(&connection)?;
            if !is_there(consumer.client(), explainer, &topic)? {
                return Ok(0);
            }
            let explain = |error| explainer.explain(&format!("looking into '{topic}'"), &error);
            Ok(consumer.fetch_watermarks(&topic, 0, ANSWER_TIMEOUT).map_err(explain)?.1)
        };
        blocking(look).await
    }
}

/// A client for questions about the topic of an exchange.
fn looking(connection: &Connection) -> Result<BaseConsumer<Reports>> {
    let explainer = &connection.explainer;
    connection
        .config()
        .create_with_context(Reports(Arc::clone(explainer)))
        .map_err(|error| explainer.explain("looking for the exchange", &error))
}

/// Whether the topic of an exchange is there.
///
/// # Errors
/// [`Error::Option`] where it has several partitions.
fn is_there<C: ClientContext>(
    client: &Client<C>,
    explainer: &Explainer,
    topic: &str,
) -> Result<bool> {
    match partitions_of_topic(client, explainer, topic)? {
        None => Ok(false),
        Some(1) => Ok(true),
        Some(many) => Err(Error::Option(format!(
            "topic '{topic}' must have one partition, so that windows see all rows, got {many}"
        ))),
    }
}

/// Makes the topic of an exchange where it is missing. Two who do so at once are both content.
pub(super) async fn make_topic(connection: &Connection, topic: &str) -> Result<()> {
    let (asking, name) = (connection.clone(), topic.to_string());
    let look = move || is_there(looking(&asking)?.client(), &asking.explainer, &name);
    if blocking(look).await? {
        return Ok(());
    }
    let spec = TopicSpec {
        name: topic.into(),
        partitions: 1,
        // As the brokers have it by default.
        replication: -1,
        config: vec![TAKES_LARGE_RECORDS],
    };
    create(connection, &[spec]).await
}

/// The writing end of an exchange.
pub struct ExchangeSink {
    schema: SchemaRef,
    seat: Seat,
}

impl ExchangeSink {
    /// Puts one record into the transaction.
    async fn put(&mut self, note: &Note, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        let note = serde_json::to_string(note)
            .map_err(|error| Error::Bug(format!("a note can't be written: {error}")))?;
        let headers = OwnedHeaders::new().insert(Header { key: HEADER, value: Some(&note) });
        let topic = self.seat.settings.topic.clone();
        let session = self.seat.session()?;
        session.begin()?;
        let record =
            OutRecord { topic: &topic, key, value, headers: Some(headers), ..OutRecord::default() };
        session.producer.send(record).await
    }

    async fn put_rejected(&mut self, rejected: &[Rejected]) -> Result<()> {
        for record in rejected {
            let note = Note::Rejected {
                partition: record.partition.to_string(),
                position: record.position,
                timestamp_us: record.timestamp_us,
                reason: record.reason.clone(),
            };
            self.put(&note, record.key.as_deref(), record.payload.as_deref()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for ExchangeSink {
    async fn recover(
        &mut self,
        pipeline: &str,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        make_topic(&self.seat.settings.connection, &self.seat.settings.topic).await?;
        self.seat.recover(pipeline, assignment).await
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        let result = match output {
            Output::Rows(rows) => {
                let bytes = as_arrow_stream(&self.schema, rows)?;
                self.put(&Note::Rows, None, Some(&bytes)).await
            }
            Output::Marks(marks) => self.put(&Note::Marks(marks.to_vec()), None, None).await,
            Output::Rejected(records) => self.put_rejected(records).await,
            Output::Late(_) => Err(Error::Bug("late rows come to an exchange".into())),
        };
        self.seat.written(result)
    }

    async fn commit(&mut self, progress: &Progress) -> Result<()> {
        self.seat.commit(progress).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.seat.abort().await
    }

    fn takes_rejected(&self) -> bool {
        true
    }

    fn takes_late(&self) -> bool {
        false
    }

    fn takes_marks(&self) -> bool {
        true
    }

    fn keeps_progress_apart(&self) -> bool {
        true
    }

    fn promise(&self) -> Delivery {
        Delivery::ExactlyOnce
    }
}

impl fmt::Debug for ExchangeSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeSink").field("topic", &self.seat.settings.topic).finish()
    }
}

/// Records of an exchange as one batch: rows, then marks and rejected records.
///
/// # Errors
/// [`Error::State`] for a record that is none of the exchange's.
pub(super) fn read(
    schema: &SchemaRef,
    origin: &Origin<'_>,
    messages: &[BorrowedMessage<'_>],
    next: i64,
) -> Result<SourceBatch> {
    let mut batch = SourceBatch {
        partition: Arc::clone(&origin.partition),
        rows: RecordBatch::new_empty(SchemaRef::clone(schema)),
        sequences: Vec::new(),
        rejected: Vec::new(),
        next,
        token: None,
        marks: Vec::new(),
        bytes: messages.iter().map(size_of).sum(),
    };
    let mut rows = Vec::new();
    for message in messages {
        let refused = |why: &str| {
            Error::State(format!(
                "record {} of topic '{}' {why}; --ignore-state skips it and reads the sources from the start",
                message.offset(),
                origin.topic
            ))
        };
        let headers = message.headers();
        let mut notes = headers.iter().flat_map(|all| all.iter().filter(|h| h.key == HEADER));
        let note = notes.next().and_then(|header| serde_json::from_slice(header.value?).ok());
        match note.ok_or_else(|| refused("is not a record of an exchange"))? {
            Note::Rows => rows.extend(
                rows_of(schema, message.payload().unwrap_or_default()).map_err(|e| refused(&e))?,
            ),
            Note::Marks(marks) => batch.marks.extend(marks),
            Note::Rejected { partition, position, timestamp_us, reason } => {
                batch.rejected.push(Rejected {
                    partition: partition.into(),
                    position,
                    timestamp_us,
                    key: message.key().map(Bytes::copy_from_slice),
                    payload: message.payload().map(Bytes::copy_from_slice),
                    reason,
                });
            }
        }
    }
    if !rows.is_empty() {
        batch.rows = concat_batches(schema, &rows)?;
    }
    Ok(batch)
}

/// The rows of a payload.
fn rows_of(schema: &SchemaRef, payload: &[u8]) -> std::result::Result<Vec<RecordBatch>, String> {
    let (found, batches) = read_arrow_stream(payload)?;
    if found.fields() != schema.fields() {
        return Err("has the rows of another query".into());
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field};
    use sembla_runtime::Standing;

    use super::*;

    fn rows(name: &str) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2]))]).expect("rows")
    }

    #[test]
    fn rows_come_back_and_those_of_another_query_are_refused() {
        let one = rows("a");
        let bytes = as_arrow_stream(&one.schema(), &one).expect("bytes");
        assert_eq!(rows_of(&one.schema(), &bytes).expect("rows"), std::slice::from_ref(&one));
        let line = rows_of(&rows("b").schema(), &bytes).expect_err("refused");
        assert_eq!(line, "has the rows of another query");
        for end in 0..bytes.len() - 8 {
            let torn = rows_of(&one.schema(), &bytes[..end]);
            assert!(torn.is_err() || torn.is_ok_and(|rows| rows.is_empty()), "{end}");
        }
    }

    #[test]
    fn notes_are_read_back() {
        let mark = Mark { partition: 65_537, watermark_us: i64::MIN, standing: Standing::Idle };
        let text = serde_json::to_string(&Note::Marks(vec![mark])).expect("JSON");
        let Ok(Note::Marks(marks)) = serde_json::from_str(&text) else { panic!("{text}") };
        assert_eq!(marks, [mark]);
    }
}
