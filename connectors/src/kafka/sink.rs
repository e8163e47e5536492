//! A sink: results, late rows, dead letters and progress in one transaction.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sembla_runtime::{Assignment, Delivery, Error, Output, Progress, Rejected, Result, Sink};

use super::group::Group;
use super::options::{REJECTED, SINK_OPTIONS};
use super::probe;
use super::producer::OutRecord;
use super::records::{Played, Roles, origin_of};
use super::seat::Seat;
use super::settings::SinkSettings;
use crate::formats::{ENCODE_OPTIONS, Encoder, json_lines};
use crate::options::{OptionDef, Options};

/// Bytes of the headers of a letter beside the partition and the reason.
const ORIGIN_BYTES: usize = 256;

/// A sink that writes rows to a Kafka topic.
pub struct KafkaSink {
    options: Options,
    encoder: Encoder,
    roles: Roles,
    seat: Seat,
}

impl KafkaSink {
    /// All options of a sink.
    pub fn options() -> Vec<OptionDef> {
        SINK_OPTIONS.iter().chain(ENCODE_OPTIONS).copied().collect()
    }

    /// A sink for rows of a schema. `groups` has the consumer groups of the pipeline's sources, by
    /// source, for those that are Kafka's. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be, or don't fit the schema.
    pub fn new(
        schema: &SchemaRef,
        given: &[(String, String)],
        groups: BTreeMap<String, Group>,
    ) -> Result<Self> {
        Self::with(schema, &Options::read("a kafka sink", &Self::options(), given)?, groups)
    }

    /// The same with options that are read.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn with(
        schema: &SchemaRef,
        options: &Options,
        groups: BTreeMap<String, Group>,
    ) -> Result<Self> {
        let settings = SinkSettings::new(options)?;
        let encoder = Encoder::new(schema, options, &format!("{}-value", settings.topic))?;
        let roles = Roles {
            key: settings.key.clone(),
            headers: settings.headers.clone(),
            timestamp: settings.timestamp.clone(),
        };
        Played::new(&roles, &RecordBatch::new_empty(SchemaRef::clone(schema)))?;
        if !encoder.is_row_wise() && !roles.is_empty() {
            return Err(Error::Option(format!(
                "format '{}' puts many rows into a record, but key, headers and timestamp need one row per record",
                options.text("format")?
            )));
        }
        Ok(Self { options: options.clone(), encoder, roles, seat: Seat::new(settings, groups) })
    }

    /// How long a transaction may stay open; `None` where there are none. A pipeline's checkpoint
    /// interval must be well below it.
    pub fn transaction_timeout(&self) -> Option<Duration> {
        self.seat.settings.is_transactional.then_some(self.seat.settings.transaction_timeout)
    }

    /// What is wrong with its cluster and its topics, asked within about this time. Nothing is
    /// written or made.
    pub fn problems(&self, within: Duration) -> impl Future<Output = Vec<Error>> + Send + use<> {
        let settings = &self.seat.settings;
        let named = [
            ("topic", Some(&settings.topic)),
            ("dead_letter_topic", settings.dead_letter_topic.as_ref()),
            ("late_topic", settings.late_topic.as_ref()),
        ];
        let named = named.into_iter().filter_map(|(option, name)| Some((option, name?.clone())));
        let topics = if settings.creates_topics { Vec::new() } else { named.collect() };
        probe::check(settings.connection.clone(), topics, within)
    }

    async fn write_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        let payloads = self.encoder.encode(rows).await?;
        let played = Played::new(&self.roles, rows)?;
        let (topic, is_row_wise) = (self.seat.settings.topic.clone(), self.encoder.is_row_wise());
        let session = self.seat.session()?;
        let limits = session.limits(&topic);
        // All are checked before the first is sent, so that a row that can't be is found alone.
        let mut records = Vec::with_capacity(payloads.len());
        for (row, payload) in payloads.iter().enumerate() {
            let mut record =
                OutRecord { topic: &topic, value: Some(payload), ..OutRecord::default() };
            if is_row_wise {
                record.key = played.key(row);
                record.timestamp_ms = played.timestamp_ms(row);
                record.headers = played.headers(row)?;
            }
            limits.check(&record)?;
            records.push(record);
        }
        session.send_all(records).await
    }

    /// Late rows have the columns of the window's input, which no schema of the sink describes; so
    /// they are JSON.
    async fn write_late(&mut self, rows: &RecordBatch) -> Result<()> {
        let Some(topic) = self.seat.settings.late_topic.clone() else {
            return Err(Error::Bug("late rows come to a sink without late_topic".into()));
        };
        let lines = json_lines(rows)?;
        let played = Played::new(&self.roles.within(rows), rows)?;
        let session = self.seat.session()?;
        let limits = session.limits(&topic);
        let mut records = Vec::with_capacity(rows.num_rows());
        let lines = lines.split(|byte| *byte == b'\n');
        for (row, line) in lines.take(rows.num_rows()).enumerate() {
            let record = OutRecord {
                topic: &topic,
                value: Some(line),
                key: played.key(row),
                ..OutRecord::default()
            };
            limits.check(&record)?;
            records.push(record);
        }
        session.send_all(records).await
    }

    /// Letters have the time of their writing: the rejected record's own may be the reason why it
    /// was rejected, and is a header.
    async fn write_rejected(&mut self, rejected: &[Rejected]) -> Result<()> {
        let Some(topic) = self.seat.settings.dead_letter_topic.clone() else {
            return Err(Error::Bug(
                "rejected rows come to a sink without dead_letter_topic".into(),
            ));
        };
        let session = self.seat.session()?;
        let limits = session.limits(&topic);
        let letters = rejected.iter().map(|letter| {
            let key = letter.key.as_deref();
            let rest = key.map_or(0, <[u8]>::len) + letter.partition.len() + ORIGIN_BYTES;
            let (value, reason) = limits.cut(letter.payload.as_deref(), rest, &letter.reason);
            let headers = Some(origin_of(letter, &reason));
            OutRecord { topic: &topic, key, value, headers, ..OutRecord::default() }
        });
        session.send_all(letters.collect()).await
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn recover(
        &mut self,
        pipeline: &str,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        self.seat.recover(pipeline, assignment).await
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        let result = match output {
            Output::Rows(rows) => self.write_rows(rows).await,
            Output::Late(rows) => self.write_late(rows).await,
            Output::Rejected(rejected) => self.write_rejected(rejected).await,
            Output::Marks(_) => Err(Error::Bug("marks come to a sink of results".into())),
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
        self.seat.settings.dead_letter_topic.is_some()
    }

    fn takes_late(&self) -> bool {
        self.seat.settings.late_topic.is_some()
    }

    fn keeps_progress_apart(&self) -> bool {
        true
    }

    fn rejected_option(&self) -> Option<&'static str> {
        Some(REJECTED)
    }

    fn promise(&self) -> Delivery {
        match self.seat.settings.is_transactional {
            true => Delivery::ExactlyOnce,
            false => Delivery::AtLeastOnce,
        }
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("options", &self.options).finish_non_exhaustive()
    }
}
