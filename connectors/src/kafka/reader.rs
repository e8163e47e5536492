//! The task that reads one partition: takes records from the partition's queue as they come, has
//! them decoded, and hands the rows on.
//!
//! - *Invariant:* it never waits for more records while it has some, and never holds more than a
//!   batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use sembla_runtime::{Error, Partition, Result, SourceBatch, SourceEvent};
use tokio::sync::{Notify, mpsc};

use super::consumer::Queue;
use super::exchange;
use super::failure::Explainer;
use super::positions::{Place, TopicPartition};
use crate::formats::{Decoder, Origin, RawRecord};

/// Records of a batch.
const BATCH_RECORDS_MAX: usize = 1024;

/// Bytes after which a batch is full.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// After this time a queue is looked at without being told to.
const LOOK: Duration = Duration::from_secs(1);

/// What a reader needs.
pub(super) struct Reader {
    partition: TopicPartition,
    name: Partition,
    queue: Queue,
    is_nonempty: Arc<Notify>,
    decoder: RecordReader,
    explainer: Arc<Explainer>,
    /// The offset after the last record that was taken.
    next: i64,
    /// Where the partition ends, in a bounded run.
    end: Option<i64>,
    caught_up: CaughtUp,
}

/// Whether a reader has all records that its partition has. The end that a broker tells is no
/// measure of it: transactions leave markers behind their records, which nobody is given.
#[derive(Clone, Debug)]
pub(super) struct CaughtUp(Arc<AtomicI64>);

impl CaughtUp {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(-1)))
    }

    /// The position after the last record, where that has been taken.
    pub(super) fn at(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|next| *next >= 0)
    }

    fn set(&self, at: Option<i64>) {
        self.0.store(at.unwrap_or(-1), Ordering::Relaxed);
    }
}

/// How records become rows.
pub(super) enum RecordReader {
    /// By a format.
    Rows(Box<Decoder>),
    /// As an exchange of rows of that schema has them.
    Exchange(SchemaRef),
}

/// Why no more records were taken.
enum Pause {
    /// The batch is full.
    Full,
    /// There are no more at the moment; whether the client said so of the partition.
    Empty { is_end: bool },
    /// There are no more for a bounded run.
    End,
    /// The client says so.
    Failed(KafkaError),
}

impl Reader {
    pub(super) fn new(
        partition: TopicPartition,
        mut queue: Queue,
        place: Place,
        is_bounded: bool,
        decoder: RecordReader,
        explainer: Arc<Explainer>,
        caught_up: CaughtUp,
    ) -> Self {
        let is_nonempty = Arc::new(Notify::new());
        let notify = Arc::clone(&is_nonempty);
        queue.set_nonempty_callback(move || notify.notify_one());
        Self {
            name: partition.name(),
            partition,
            queue,
            is_nonempty,
            decoder,
            explainer,
            next: place.next,
            end: is_bounded.then_some(place.end),
            caught_up,
        }
    }

    /// Reads until the end of a bounded run, or until nobody listens. The first event is a batch
    /// without rows that tells where reading began.
    pub(super) async fn run(mut self, events: mpsc::Sender<Result<SourceEvent>>) {
        let result = self.read(&events).await;
        // Nobody listens any more where sending fails; then the error interests nobody either.
        let _ = match result {
            Ok(true) => events.send(Ok(SourceEvent::End(self.name))).await,
            Ok(false) => Ok(()),
            Err(error) => events.send(Err(error)).await,
        };
    }

    /// Whether the end was reached.
    async fn read(&mut self, events: &mpsc::Sender<Result<SourceEvent>>) -> Result<bool> {
        let origin = Origin {
            partition: Arc::clone(&self.name),
            topic: &self.partition.topic,
            number: self.partition.number,
        };
        let first = decode(&mut self.decoder, &origin, &[], self.next).await?;
        if events.send(Ok(SourceEvent::Batch(first))).await.is_err() {
            return Ok(false);
        }
        loop {
            if self.end.is_some_and(|end| self.next >= end) {
                return Ok(true);
            }
            let (messages, pause) = take(&self.queue, self.end);
            if let Some(last) = messages.last() {
                self.next = last.offset() + 1;
                self.caught_up.set(None);
                let batch = decode(&mut self.decoder, &origin, &messages, self.next).await?;
                if events.send(Ok(SourceEvent::Batch(batch))).await.is_err() {
                    return Ok(false);
                }
            }
            drop(messages);
            match pause {
                Pause::Full => {}
                Pause::Empty { is_end } => {
                    if is_end {
                        self.caught_up.set(Some(self.next));
                    }
                    // Too early a look does no harm.
                    let _ = tokio::time::timeout(LOOK, self.is_nonempty.notified()).await;
                }
                Pause::End => return Ok(true),
                Pause::Failed(error) => return Err(self.explain(&error)),
            }
        }
    }

    fn explain(&self, error: &KafkaError) -> Error {
        if error.rdkafka_error_code() == Some(Code::AutoOffsetReset) {
            return Error::External(format!(
                "position {} of {} no longer exists: the broker has deleted it; if records may be \
                 missed, set on_missing_offset = 'earliest'",
                self.next, self.name
            ));
        }
        self.explainer.explain(&format!("reading {}", self.name), error)
    }
}

/// Takes the records that are there, up to a batch.
fn take(queue: &Queue, end: Option<i64>) -> (Vec<BorrowedMessage<'_>>, Pause) {
    let mut messages = Vec::new();
    let mut bytes = 0;
    let mut is_end = false;
    while messages.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
        match queue.poll(Duration::ZERO) {
            None => return (messages, Pause::Empty { is_end }),
            Some(Ok(message)) if end.is_some_and(|end| message.offset() >= end) => {
                return (messages, Pause::End);
            }
            Some(Ok(message)) => {
                bytes += size_of(&message);
                messages.push(message);
                is_end = false;
            }
            // Of a partition that goes on, the end is news to nobody.
            Some(Err(KafkaError::PartitionEOF(_))) if end.is_none() => is_end = true,
            Some(Err(KafkaError::PartitionEOF(_))) => return (messages, Pause::End),
            Some(Err(error)) => return (messages, Pause::Failed(error)),
        }
    }
    (messages, Pause::Full)
}

pub(super) fn size_of(message: &BorrowedMessage<'_>) -> usize {
    message.key_len() + message.payload_len()
}

/// Makes a batch of records; reading goes on at `next` after it.
async fn decode(
    reader: &mut RecordReader,
    origin: &Origin<'_>,
    messages: &[BorrowedMessage<'_>],
    next: i64,
) -> Result<SourceBatch> {
    let decoder = match reader {
        RecordReader::Exchange(schema) => return exchange::read(schema, origin, messages, next),
        RecordReader::Rows(decoder) => decoder,
    };
    let wants_headers = decoder.wants_headers();
    let records: Vec<RawRecord<'_>> =
        messages.iter().map(|message| record_of(message, wants_headers)).collect();
    let decoded = decoder.decode(origin, &records).await?;
    Ok(SourceBatch {
        partition: Arc::clone(&origin.partition),
        rows: decoded.rows,
        sequences: decoded.sequences,
        rejected: decoded.rejected,
        next,
        token: None,
        marks: Vec::new(),
        bytes: messages.iter().map(size_of).sum(),
    })
}

fn record_of<'a>(message: &'a BorrowedMessage<'_>, wants_headers: bool) -> RawRecord<'a> {
    let headers = message.headers().filter(|_| wants_headers);
    RawRecord {
        offset: message.offset(),
        timestamp_us: message.timestamp().to_millis().and_then(|ms| ms.checked_mul(1000)),
        key: message.key(),
        value: message.payload(),
        headers: headers.map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key, header.value)).collect()
        }),
    }
}
