//! A table of PostgreSQL as a stream, by a column that says when a row was changed last.
//!
//! Rows are read in the order of that column and the key, from behind the last one on, again and
//! again. Where reading goes on is that pair, which is committed with the results; the position is
//! the number of rows so far.
//!
//! - *Invariant:* a row is given out once for each time of its change that a poll sees, also where
//!   many rows share one time.
//! - A transaction writes times from before its commit. So rows that are younger than the lag are
//!   left for later polls; what commits later than that, with an older time, is not seen.
//! - *Absent:* rows that were deleted, and changes between two polls but for the last one.

mod query;
mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sembla_runtime::{Assignment, Error, Partition, Result, Source, SourceEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::query::Place;
use self::rows::Reader;
use super::address::Address;
use super::names::TableName;
use super::options::{KEY, LAG, PASSWORD, POLL, TABLE, UPDATED_AT, URL};
use crate::formats::{Column, schema_of};
use crate::keys::names;
use crate::options::Options;

/// Batches that are read ahead.
const AHEAD: usize = 2;

/// What the options of a source say.
#[derive(Clone, Debug)]
pub(super) struct SourceSettings {
    address: Address,
    table: TableName,
    updated_at: String,
    key: Vec<String>,
    poll: Duration,
    lag: Duration,
}

impl SourceSettings {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Error::Option`] for what can't be.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let key = names(options, KEY)?;
        let updated_at = options.text(UPDATED_AT)?.to_string();
        if key.contains(&updated_at) {
            return Err(Error::Option(format!("{KEY} must be other columns than {UPDATED_AT}")));
        }
        let poll = options.duration(POLL)?;
        if poll.is_zero() {
            return Err(Error::Option(format!("{POLL} must be longer than 0 s")));
        }
        Ok(Self {
            address: Address::parse(options.text(URL)?, options.find_text(PASSWORD))?,
            table: TableName::parse(TABLE, options.text(TABLE)?)?,
            updated_at,
            key,
            poll,
            lag: options.duration(LAG)?,
        })
    }
}

/// A table as a source.
pub(super) struct PostgresSource {
    settings: SourceSettings,
    columns: Vec<Column>,
    schema: SchemaRef,
    /// The only partition, which has the name of the table.
    partition: Partition,
    /// Whether it ends with what is there now.
    is_bounded: bool,
    /// Where the last commit has left it, as text.
    token: Option<String>,
    reading: Option<Reading>,
}

/// A task that reads.
struct Reading {
    events: mpsc::Receiver<Result<SourceEvent>>,
    task: JoinHandle<()>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PostgresSource {
    /// A source of these columns. Nothing is connected yet.
    pub(super) fn new(settings: SourceSettings, columns: &[Column], is_bounded: bool) -> Self {
        let partition = Partition::from(settings.table.to_string());
        let schema = schema_of(columns);
        let (token, reading) = (None, None);
        Self { settings, columns: columns.to_vec(), schema, partition, is_bounded, token, reading }
    }

    /// Looks whether the table is as the options say.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) async fn probe(self) -> Result<()> {
        Reader::open(&self.settings, &self.columns, self.is_bounded).await.map(drop)
    }
}

#[async_trait]
impl Source for PostgresSource {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    async fn assigned(&mut self) -> Result<Assignment> {
        self.reading = None;
        Ok(Assignment::whole(vec![Partition::clone(&self.partition)]))
    }

    fn recall(&mut self, tokens: &BTreeMap<Partition, String>) {
        self.token = tokens.get(&self.partition).cloned();
    }

    async fn start(&mut self, positions: &BTreeMap<Partition, i64>) -> Result<()> {
        let position = positions.get(&self.partition).copied();
        let place = match (position, &self.token) {
            (None | Some(0), _) => None,
            (Some(_), Some(token)) => Some(Place::of_token(token)?),
            (Some(position), None) => {
                return Err(Error::State(format!(
                    "progress says that {position} rows of table {} were read, but not up to which time; start over with \
                     --ignore-state",
                    self.settings.table
                )));
            }
        };
        let reader = Reader::open(&self.settings, &self.columns, self.is_bounded).await?;
        let (sender, events) = mpsc::channel(AHEAD);
        let (partition, position) = (Partition::clone(&self.partition), position.unwrap_or(0));
        let task = tokio::spawn(reader.run(partition, position, place, sender));
        self.reading = Some(Reading { events, task });
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        let Some(reading) = &mut self.reading else {
            return Err(Error::Bug("a source is read before its start".into()));
        };
        reading.events.recv().await.transpose()
    }

    fn is_live(&self) -> bool {
        !self.is_bounded
    }

    fn is_log(&self) -> bool {
        true
    }
}
