//! A producer, with or without transactions, whose failures say what to do next.
//!
//! - *Invariant:* after an error of kind [`Error::Fenced`] the producer is of no more use; what was
//!   not committed is gone or will be aborted by the next one with its transactional id.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::topic_partition_list::TopicPartitionList;
use sembla_runtime::{Error, Result};

use super::client::{self, ANSWER_TIMEOUT, blocking};
use super::failure::{Explainer, is_refusal};
use super::group::Lease;
use super::settings::SinkSettings;

/// How long a full queue is left alone before the next try.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(5);

/// How often the end of writing is looked for.
const WRITTEN_POLL: Duration = Duration::from_millis(1);

/// Waits until all records are written. The library's own wait shares its events with the
/// producer's thread, and learns up to a tenth of a second later that there are no more.
fn written(inner: &Inner, timeout: Duration) -> std::result::Result<(), KafkaError> {
    let until = Instant::now() + timeout;
    loop {
        match inner.flush(Duration::ZERO) {
            Err(KafkaError::Flush(Code::OperationTimedOut)) if Instant::now() < until => {
                std::thread::sleep(WRITTEN_POLL);
            }
            result => return result,
        }
    }
}

/// A record to be written.
#[derive(Debug, Default)]
pub(super) struct OutRecord<'a> {
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) headers: Option<OwnedHeaders>,
}

/// Keeps the first record that could not be delivered.
pub(super) struct Deliveries {
    explainer: Arc<Explainer>,
    failure: Mutex<Option<(String, KafkaError)>>,
}

impl Deliveries {
    fn failure(&self) -> Option<(String, KafkaError)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(&self.explainer, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.explainer.remember(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        // Records that an abort throws away are meant to be lost.
        let code = error.rdkafka_error_code();
        if matches!(code, Some(Code::PurgeQueue | Code::PurgeInflight)) {
            return;
        }
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| (message.topic().to_string(), error.clone()));
    }
}

type Inner = ThreadedProducer<Deliveries>;

/// A producer of one sink.
pub(super) struct Producer {
    inner: Arc<Inner>,
    explainer: Arc<Explainer>,
    is_transactional: bool,
    is_open: bool,
    deadline: Duration,
}

impl Producer {
    /// Makes a producer, with a transactional id or without transactions, whose batches have at
    /// most so many bytes.
    pub(super) fn new(
        settings: &SinkSettings,
        transactional_id: Option<&str>,
        batch_bytes_max: Option<usize>,
    ) -> Result<Self> {
        let explainer = Arc::clone(&settings.connection.explainer);
        let context = Deliveries { explainer: Arc::clone(&explainer), failure: Mutex::new(None) };
        let mut config = settings.config(transactional_id);
        if let Some(bytes) = batch_bytes_max {
            config.set("batch.size", bytes.to_string());
        }
        let inner: Inner = config
            .create_with_context(context)
            .map_err(|error| explainer.explain("making a producer", &error))?;
        Ok(Self {
            inner: Arc::new(inner),
            explainer,
            is_transactional: transactional_id.is_some(),
            is_open: false,
            deadline: settings.transaction_timeout.max(ANSWER_TIMEOUT),
        })
    }

    /// Fences off every other producer with this transactional id and aborts what it left open.
    pub(super) async fn init(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let explainer = Arc::clone(&self.explainer);
        let deadline = self.deadline;
        blocking(move || {
            let until = Instant::now() + deadline;
            loop {
                match inner.init_transactions(ANSWER_TIMEOUT) {
                    Err(KafkaError::Transaction(error))
                        if error.is_retriable() && Instant::now() < until => {}
                    result => {
                        let what = "taking over the transactional id";
                        return result.map_err(|error| explainer.explain(what, &error));
                    }
                }
            }
        })
        .await
    }

    /// Whether what is written becomes visible by a commit.
    pub(super) fn is_transactional(&self) -> bool {
        self.is_transactional
    }

    /// Whether something may have been written since the last commit.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Opens a transaction, unless one is open or there are none.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.is_transactional && !self.is_open {
            self.inner
                .begin_transaction()
                .map_err(|error| self.fate("beginning a transaction", &error))?;
        }
        self.is_open = true;
        Ok(())
    }

    /// Puts a record into the queue, and waits while that is full.
    pub(super) async fn send(&self, record: OutRecord<'_>) -> Result<()> {
        let mut next = BaseRecord::<[u8], [u8]>::to(record.topic);
        next.key = record.key;
        next.payload = record.value;
        next.timestamp = record.timestamp_ms;
        next.headers = record.headers;
        loop {
            match self.inner.send(next) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), record)) => {
                    next = record;
                    tokio::time::sleep(FULL_QUEUE_WAIT).await;
                }
                Err((error, _)) => {
                    return Err(self.fate(&format!("writing to '{}'", record.topic), &error));
                }
            }
        }
    }

    /// The first record that the broker rejected, as an error.
    pub(super) fn check(&self) -> Result<()> {
        match self.inner.context().failure() {
            Some((topic, error)) => Err(self.fate(&format!("writing to '{topic}'"), &error)),
            None => Ok(()),
        }
    }

    /// Adds offsets of a group to the transaction.
    pub(super) async fn add_offsets(
        &self,
        offsets: TopicPartitionList,
        lease: Arc<Lease>,
    ) -> Result<()> {
        self.retry("committing offsets", move |inner, timeout| {
            inner.send_offsets_to_transaction(&offsets, &lease.metadata, timeout)
        })
        .await
    }

    /// Makes everything visible, or nothing.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the outcome is nothing, or unknown.
    pub(super) async fn commit(&mut self) -> Result<()> {
        let result = if self.is_transactional {
            self.retry("committing", |inner, timeout| {
                written(inner, timeout)?;
                inner.commit_transaction(timeout)
            })
            .await
        } else {
            self.retry("writing", written).await
        };
        self.check()?;
        result?;
        self.is_open = false;
        Ok(())
    }

    /// Gives up what was written since the last commit; without transactions it stays.
    pub(super) async fn abort(&mut self) -> Result<()> {
        if self.is_transactional && self.is_open {
            // A broker refuses to abort what it has not heard of yet; so the queue goes out first.
            let _ = self.retry("writing", written).await;
            self.retry("aborting", |inner, timeout| inner.abort_transaction(timeout)).await?;
        }
        self.is_open = false;
        *self.inner.context().failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// The client, for questions about the cluster.
    pub(super) fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.inner)
    }

    /// Makes a call, again where the library says so, until the transaction would time out.
    async fn retry(
        &self,
        what: &'static str,
        call: impl Fn(&Inner, Duration) -> std::result::Result<(), KafkaError> + Send + 'static,
    ) -> Result<()> {
        let (inner, until) = (Arc::clone(&self.inner), Instant::now() + self.deadline);
        let result = blocking(move || {
            loop {
                match call(&inner, ANSWER_TIMEOUT) {
                    Err(KafkaError::Transaction(error))
                        if error.is_retriable() && Instant::now() < until => {}
                    Err(KafkaError::Flush(Code::OperationTimedOut)) if Instant::now() < until => {}
                    result => return Ok(result),
                }
            }
        })
        .await?;
        result.map_err(|error| self.fate(what, &error))
    }

    /// What an error means for the pipeline. In a transaction nothing that is rejected can be made
    /// good, so the answer is to begin again, unless that would fail for the same reason.
    fn fate(&self, what: &str, error: &KafkaError) -> Error {
        let explained = if let Some((code, text)) = self.inner.client().fatal_error() {
            let text = self.explainer.redact(&text);
            match self.explainer.explain_code(what, code, &text) {
                Error::External(line) if !is_refusal(code) => Error::Fenced(line),
                other => other,
            }
        } else if let Some((topic, failure)) = self.inner.context().failure() {
            // The transaction fails because a record did; the record's error says why.
            self.explainer.explain(&format!("writing to '{topic}'"), &failure)
        } else if error.rdkafka_error_code() == Some(Code::State) {
            Error::Fenced(format!("{what}: the transaction has failed"))
        } else {
            self.explainer.explain(what, error)
        };
        match explained {
            Error::Transient(line) if self.is_transactional => Error::Fenced(line),
            other => other,
        }
    }
}
