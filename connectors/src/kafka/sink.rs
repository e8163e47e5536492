//! A sink: results, late rows, dead letters and progress in one transaction.
//!
//! - *Invariant:* nothing is written before the sink has recovered, and nothing is committed
//!   without the lease under which it was read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sembla_runtime::{Assignment, Error, Output, Progress, Rejected, Result, Sink, failpoint};

use super::client::let_go;
use super::group::Group;
use super::producer::OutRecord;
use super::records::{Played, Roles, origin_of};
use super::session::{Opening, Session};
use super::settings::{SINK_OPTIONS, SinkSettings};
use crate::formats::{ENCODE_OPTIONS, Encoder, json_lines};
use crate::options::{OptionDef, Options};

/// A sink that writes rows to a Kafka topic.
pub struct KafkaSink {
    options: Options,
    settings: SinkSettings,
    encoder: Encoder,
    roles: Roles,
    /// By source its consumer group.
    groups: BTreeMap<String, Group>,
    /// There from `recover` on, until a failure.
    session: Option<Session>,
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
        let options = Options::read("a kafka sink", &Self::options(), given)?;
        let settings = SinkSettings::new(&options)?;
        let encoder = Encoder::new(schema, &options, &format!("{}-value", settings.topic))?;
        let roles = Roles {
            key: settings.key.clone(),
            headers: settings.headers.clone(),
            timestamp: settings.timestamp.clone(),
        };
        Played::new(&roles, &RecordBatch::new_empty(SchemaRef::clone(schema)))?;
        if !encoder.is_row_wise() && !roles.is_empty() {
            return Err(Error::Option(format!(
                "format '{}' puts many rows into a record; key, headers and timestamp need one row each",
                options.text("format")?
            )));
        }
        Ok(Self { options, settings, encoder, roles, groups, session: None })
    }

    /// How long a transaction may stay open; `None` where there are none. A pipeline's checkpoint
    /// interval must be well below it.
    pub fn transaction_timeout(&self) -> Option<Duration> {
        self.settings.is_transactional.then_some(self.settings.transaction_timeout)
    }

    /// The session, if its right to commit has not ended.
    fn session(&mut self) -> Result<&mut Session> {
        let session = self.session.as_mut().ok_or_else(|| {
            Error::Fenced("the sink has failed before; the pipeline begins anew".into())
        })?;
        session.check()?;
        Ok(session)
    }

    /// Ends the session after an error that leaves nothing to go on with.
    fn ending<T>(&mut self, result: Result<T>) -> Result<T> {
        if matches!(result, Err(Error::Fenced(_))) {
            self.session = None;
        }
        result
    }

    async fn write_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        let payloads = self.encoder.encode(rows).await?;
        let played = Played::new(&self.roles, rows)?;
        let (topic, is_row_wise) = (self.settings.topic.clone(), self.encoder.is_row_wise());
        let session = self.session()?;
        session.begin()?;
        for (row, payload) in payloads.iter().enumerate() {
            let mut record =
                OutRecord { topic: &topic, value: Some(payload), ..OutRecord::default() };
            if is_row_wise {
                record.key = played.key(row);
                record.timestamp_ms = played.timestamp_ms(row);
                record.headers = played.headers(row)?;
            }
            session.producer.send(record).await?;
        }
        Ok(())
    }

    /// Late rows have the columns of the window's input, which no schema of the sink describes; so
    /// they are JSON.
    async fn write_late(&mut self, rows: &RecordBatch) -> Result<()> {
        let Some(topic) = self.settings.late_topic.clone() else {
            return Err(Error::Bug("late rows come to a sink without late_topic".into()));
        };
        let lines = json_lines(rows)?;
        let played = Played::new(&self.roles.within(rows), rows)?;
        let session = self.session()?;
        session.begin()?;
        let lines = lines.split(|byte| *byte == b'\n');
        for (row, line) in lines.take(rows.num_rows()).enumerate() {
            let record = OutRecord {
                topic: &topic,
                value: Some(line),
                key: played.key(row),
                ..OutRecord::default()
            };
            session.producer.send(record).await?;
        }
        Ok(())
    }

    async fn write_rejected(&mut self, rejected: &[Rejected]) -> Result<()> {
        let Some(topic) = self.settings.dead_letter_topic.clone() else {
            return Err(Error::Bug(
                "rejected rows come to a sink without dead_letter_topic".into(),
            ));
        };
        let session = self.session()?;
        session.begin()?;
        for letter in rejected {
            let record = OutRecord {
                topic: &topic,
                key: letter.key.as_deref(),
                value: letter.payload.as_deref(),
                timestamp_ms: letter.timestamp_us.map(|us| us.div_euclid(1000)),
                headers: Some(origin_of(letter)),
            };
            session.producer.send(record).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn recover(
        &mut self,
        pipeline: &str,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        if let Some(session) = self.session.take() {
            let_go(session);
        }
        let opening = Opening { settings: &self.settings, groups: &self.groups };
        let session = opening.open(pipeline, assignment).await?;
        let last = session.last.clone();
        self.session = Some(session);
        Ok(last)
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        let result = match output {
            Output::Rows(rows) => self.write_rows(rows).await,
            Output::Late(rows) => self.write_late(rows).await,
            Output::Rejected(rejected) => self.write_rejected(rejected).await,
        };
        let result = match (result, &self.session) {
            (Ok(()), Some(session)) => session.producer.check(),
            (result, _) => result,
        };
        failpoint::hit("kafka.produce")?;
        self.ending(result)
    }

    async fn commit(&mut self, progress: &Progress) -> Result<()> {
        let result = match self.session() {
            Ok(session) => session.commit(progress).await,
            Err(error) => Err(error),
        };
        self.ending(result)
    }

    async fn abort(&mut self) -> Result<()> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let result = session.abort().await;
        self.ending(result)
    }

    fn takes_rejected(&self) -> bool {
        self.settings.dead_letter_topic.is_some()
    }

    fn takes_late(&self) -> bool {
        self.settings.late_topic.is_some()
    }

    fn promise(&self) -> &'static str {
        if self.settings.is_transactional { "exactly once" } else { "at least once" }
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("options", &self.options).finish_non_exhaustive()
    }
}
