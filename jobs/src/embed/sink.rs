//! Rows that go to a sink of a connector, such as a table of PostgreSQL, instead of a file.
//!
//! - *Invariant:* the sink's progress is the only record of how far a run is. A commit holds the
//!   rows since the last one together with the number of input rows that are done; a later start of
//!   the same work skips those.
//! - Rows that were not committed are kept until they are, so that a server that is away for a
//!   while costs no embedding again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use sembla_connectors::options::GivenOptions;
use sembla_connectors::{SinkConnector, SinkRequest, SourceHandles, sink_of_address};
use sembla_models::CancelToken;
use sembla_runtime::{Error, Output, Partition, Progress, Sink};
use sembla_sql::SqlError;
use tokio::runtime::Runtime;

use super::EmbedRequest;
use super::manifest::Manifest;
use super::stored::shown;
use crate::failure::{Failure, Result};
use crate::numbers::count;

/// Bytes of rows of a commit.
const COMMIT_BYTES: usize = 64 << 20;
/// A commit comes after this time.
const COMMIT_TIME: Duration = Duration::from_secs(30);
/// Tries to get back to a server that is away, and the longest wait between two: four minutes.
const TRIES_MAX: u32 = 16;
const WAIT_MAX: Duration = Duration::from_secs(20);
/// The wait before the second try; each is twice as long as the one before.
const WAIT_MIN: Duration = Duration::from_millis(250);
/// How often a wait looks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// The names in progress of what is read: one input of one partition.
const INPUT: &str = "input";
const ROWS: &str = "rows";

/// An output that is the address of a sink.
pub(super) struct SinkAddress {
    connector: &'static dyn SinkConnector,
    options: GivenOptions,
    /// The address as messages show it.
    pub(super) shown: String,
}

impl SinkAddress {
    /// The sink of an output; `None` for a file, a folder or the address of one.
    ///
    /// # Errors
    /// An address with options that can't be, and requests that only files can meet.
    pub(super) fn of(request: &EmbedRequest) -> Result<Option<Self>> {
        let address = request.output.to_string_lossy();
        let Some((connector, options)) = sink_of_address(&address, Vec::new()).map_err(failed)?
        else {
            return Ok(None);
        };
        let shown = shown(&request.output);
        let refused = |what: &str| Err(Failure::user(format!("{what}; {shown} is none")));
        if request.overwrite {
            return refused("--overwrite replaces files");
        }
        if request.only_new.is_some() {
            return refused("--only-new adds to a .parquet file or a folder of them");
        }
        connector.check(&options.read().map_err(Error::from).map_err(failed)?).map_err(failed)?;
        Ok(Some(Self { connector, options, shown }))
    }

    /// Opens the sink for rows of a schema and asks it how far an earlier start of the same work
    /// has come; `None` where that was finished.
    ///
    /// # Errors
    /// What the outside world says, and an unfinished run of other work whose rows would come
    /// twice.
    pub(super) fn open(
        self,
        schema: &SchemaRef,
        manifest: &Manifest,
        request: &EmbedRequest,
    ) -> Result<Option<SinkPlace>> {
        let options = self.options.read().map_err(Error::from).map_err(failed)?;
        let request_of_sink = SinkRequest {
            schema,
            options: &options,
            handles: SourceHandles::new(),
            checkpoint_interval: COMMIT_TIME,
        };
        let sink = self.connector.open(request_of_sink).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::other(format!("starting: {error}")))?;
        let pipeline = format!("embed:{}", manifest.name());
        let progress = Progress { pipeline, ..Progress::default() };
        let Self { shown, .. } = self;
        let (schema, part_rows) = (SchemaRef::clone(schema), request.part_rows);
        let mut place = SinkPlace { runtime, sink, schema, progress, shown, part_rows };
        let last = place.recover(&CancelToken::new())?;
        let Some(last) = last else { return Ok(Some(place.starting_at(0, 0, manifest))) };
        let is_same = last.state.as_deref() == Some(&manifest.work()) && last.doubt.is_none();
        let rows = rows_of(&last);
        if is_same && !request.restart {
            return Ok((!last.is_complete).then(|| place.starting_at(last.epoch, rows, manifest)));
        }
        let is_open = !last.is_complete && last.doubt.is_none() && rows > 0;
        if is_open && !request.restart && !self.connector.replaces(&options) {
            return Err(Failure::user(format!(
                "{} has {} rows of an unfinished run with another input, model or options; --restart writes all rows \
                 again, or name a key so that they are replaced (key=id)",
                place.shown,
                count(rows)
            )));
        }
        Ok(Some(place.starting_at(last.epoch, 0, manifest)))
    }
}

/// A sink that is open, and how far the work is.
pub(super) struct SinkPlace {
    runtime: Runtime,
    sink: Box<dyn Sink>,
    /// The columns of the rows.
    pub(super) schema: SchemaRef,
    /// The last commit.
    progress: Progress,
    pub(super) shown: String,
    /// Rows of a commit, if a number was asked for.
    part_rows: Option<usize>,
}

impl SinkPlace {
    /// Rows that are committed.
    pub(super) fn rows(&self) -> u64 {
        rows_of(&self.progress)
    }

    fn starting_at(mut self, epoch: u64, rows: u64, manifest: &Manifest) -> Self {
        self.progress = Progress { epoch, ..self.progress };
        self.progress.state = Some(manifest.work());
        self.progress.positions = positions(rows);
        self
    }

    /// The progress of the last commit, asked for until there is an answer.
    fn recover(&mut self, cancel: &CancelToken) -> Result<Option<Progress>> {
        let mut tries = 0;
        loop {
            let Self { runtime, sink, progress, .. } = self;
            match runtime.block_on(sink.recover(&progress.pipeline, &BTreeMap::new())) {
                Ok(last) => return Ok(last),
                Err(error) => wait(error, &mut tries, cancel)?,
            }
        }
    }

    fn write(&mut self, batch: &RecordBatch) -> sembla_runtime::Result<()> {
        self.runtime.block_on(self.sink.write(Output::Rows(batch)))
    }

    fn commit(&mut self, progress: &Progress) -> sembla_runtime::Result<()> {
        self.runtime.block_on(self.sink.commit(progress))
    }
}

/// Writes batches to a sink.
pub(super) struct SinkWriter<'a> {
    place: &'a mut SinkPlace,
    cancel: &'a CancelToken,
    /// What was written since the last commit.
    pending: Vec<RecordBatch>,
    since: Instant,
}

impl<'a> SinkWriter<'a> {
    /// Writes behind what is committed.
    pub(super) fn new(place: &'a mut SinkPlace, cancel: &'a CancelToken) -> Self {
        Self { place, cancel, pending: Vec::new(), since: Instant::now() }
    }

    /// Writes all batches. Where they end early, and `is_all` stays false, what has come is
    /// committed all the same.
    ///
    /// # Errors
    /// What the sink says for good, and a server that stays away.
    pub(super) fn write_all(
        mut self,
        batches: &Receiver<RecordBatch>,
        is_all: &AtomicBool,
    ) -> Result<()> {
        for batch in batches {
            self.write(&batch)?;
        }
        self.commit(is_all.load(Ordering::Acquire))
    }

    /// Writes a batch; commits when there is enough.
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.pending.is_empty() {
            self.since = Instant::now();
        }
        self.pending.push(batch.clone());
        if let Err(error) = self.place.write(batch) {
            self.again(error)?;
        }
        let rows = self.pending.iter().map(RecordBatch::num_rows).sum::<usize>();
        let bytes = self.pending.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        let is_full = match self.place.part_rows {
            Some(most) => rows >= most,
            None => bytes >= COMMIT_BYTES,
        };
        if is_full || self.since.elapsed() >= COMMIT_TIME {
            self.commit(false)?;
        }
        Ok(())
    }

    /// Commits what was written since the last commit; as the end of the work where it is.
    fn commit(&mut self, is_complete: bool) -> Result<()> {
        let pending: usize = self.pending.iter().map(RecordBatch::num_rows).sum();
        let rows = self.place.rows().saturating_add(pending as u64);
        let mut next = self.place.progress.clone();
        next.epoch += 1;
        next.positions = positions(rows);
        next.is_complete = is_complete;
        if pending == 0 && !is_complete {
            return Ok(());
        }
        while let Err(error) = self.place.commit(&next) {
            if self.again(error)? == Recovered::Committed {
                break;
            }
        }
        self.place.progress = next;
        self.pending.clear();
        Ok(())
    }

    /// Goes back to a sink that has failed: either the commit has been made after all, or what was
    /// not committed is written again.
    fn again(&mut self, error: Error) -> Result<Recovered> {
        let mut tries = 0;
        let mut error = error;
        loop {
            wait(error, &mut tries, self.cancel)?;
            let last = self.place.recover(self.cancel)?;
            let (epoch, before) = (last.map_or(0, |last| last.epoch), self.place.progress.epoch);
            if epoch == before + 1 {
                return Ok(Recovered::Committed);
            }
            if epoch != before {
                return Err(Failure::other(format!(
                    "another process has written commit {epoch} of the same work to {}; this one ends",
                    self.place.shown
                )));
            }
            match self.pending.iter().try_for_each(|batch| self.place.write(batch)) {
                Ok(()) => return Ok(Recovered::Written),
                Err(again) => error = again,
            }
        }
    }
}

/// How a sink was found that had failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recovered {
    /// The commit was made.
    Committed,
    /// What was not committed is written again.
    Written,
}

/// Says that the sink has failed and waits before the next try; the error itself where a wait can't
/// help or has not helped.
fn wait(error: Error, tries: &mut u32, cancel: &CancelToken) -> Result<()> {
    let may_help = error.is_transient() || matches!(error, Error::Fenced(_));
    if !may_help || *tries >= TRIES_MAX {
        return Err(failed(error));
    }
    let wait = WAIT_MIN.saturating_mul(1 << (*tries).min(16)).min(WAIT_MAX);
    *tries += 1;
    tracing::warn!("{error}; retrying in {:.1} s", wait.as_secs_f64());
    let until = Instant::now() + wait;
    while Instant::now() < until {
        cancel.check()?;
        std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

fn positions(rows: u64) -> BTreeMap<String, BTreeMap<Partition, i64>> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    BTreeMap::from([(INPUT.to_string(), BTreeMap::from([(Partition::from(ROWS), rows)]))])
}

/// The input rows that progress stands for.
fn rows_of(progress: &Progress) -> u64 {
    let rows = progress.positions.get(INPUT).and_then(|input| input.get(ROWS));
    rows.and_then(|rows| u64::try_from(*rows).ok()).unwrap_or_default()
}

fn failed(error: Error) -> Failure {
    SqlError::from(error).into()
}
