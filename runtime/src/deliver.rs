//! The task of the sink: writes, and at a barrier makes the state durable and then commits results
//! and progress as one.
//!
//! - *Invariant:* state first, then the one commit that names it. What no commit names is garbage.
//! - *Invariant:* a call of the sink is never cut short by a failure elsewhere; what it does is
//!   done or failed when the next attempt asks for progress.

use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::Instant;
use tracing::Instrument;

use crate::message::{Checkpoint, Commit, Counted, Delivery, Last, Snapshot};
use crate::queue::Receiver;
use crate::rejected::{RejectedPlace, unwritable_row};
use crate::sink::Identities;
use crate::state::{NotedProgress, ReadNow, Store, WrittenEpoch, collect_garbage, write_epoch};
use crate::status::Reporter;
use crate::{Error, Output, Progress, Result, Sink, failpoint};

/// A sink as several attempts share it, one after another.
pub(crate) type SharedSink = Arc<Mutex<Box<dyn Sink>>>;

/// The task.
pub(crate) struct Deliver {
    pub(crate) pipeline: String,
    pub(crate) input: Receiver<Delivery>,
    pub(crate) sink: OwnedMutexGuard<Box<dyn Sink>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) reporter: Arc<Reporter>,
    /// Where the number of each finished barrier is sent.
    pub(crate) done: watch::Sender<u64>,
    /// Told when the attempt ends before its last barrier.
    pub(crate) cancelled: watch::Receiver<bool>,
    /// The states that the last commits named, the latest last.
    pub(crate) kept: Vec<String>,
    /// What the input partitions are, for the progress.
    pub(crate) identities: Identities,
    /// What is noted of earlier commits, and what is read now.
    pub(crate) noted: NotedProgress,
    pub(crate) read: ReadNow,
    /// Rows that the sink has rejected.
    pub(crate) unwritable: u64,
}

impl Deliver {
    /// Runs until the last barrier is committed: why it was the last, and where it is. `None` when
    /// the attempt ended before.
    ///
    /// # Errors
    /// What sink and store say.
    pub(crate) async fn run(mut self) -> Result<Option<Last>> {
        let mut cancelled = self.cancelled.clone();
        loop {
            let delivery = tokio::select! {
                biased;
                _ = cancelled.wait_for(|is_cancelled| *is_cancelled) => return Ok(None),
                delivery = self.input.recv() => delivery,
            };
            let Some(delivery) = delivery else { return Ok(None) };
            match delivery {
                Delivery::Rows(rows) => {
                    failpoint::hit("sink.write")?;
                    let written = self.write(rows, Written::Result).await?;
                    self.reporter.rows_out(written);
                }
                Delivery::Late(rows) => {
                    self.write(rows, Written::Late).await?;
                }
                Delivery::Marks(marks) => self.sink.write(Output::Marks(&marks)).await?,
                Delivery::Rejected(records) => {
                    self.sink.write(Output::Rejected(&records)).await?;
                    self.reporter.meter.rows_dead_lettered.increment(records.len() as u64);
                }
                Delivery::Barrier(checkpoint) => {
                    let Checkpoint { number, last, counted, commit } = *checkpoint;
                    if let Some(commit) = commit {
                        let span = tracing::info_span!("checkpoint", epoch = commit.epoch);
                        let is_complete = matches!(last, Some(Last::Complete));
                        self.checkpoint(commit, counted, is_complete).instrument(span).await?;
                    } else {
                        self.reporter.checkpoint(None);
                    }
                    self.done.send_replace(number);
                    if last.is_some() {
                        return Ok(last);
                    }
                }
            }
        }
    }

    /// Writes rows and gives the number of those that were. A batch that the sink rejects with
    /// [`Error::Data`] is halved until the rows are found that are to blame; those become dead
    /// letters.
    async fn write(&mut self, rows: RecordBatch, what: Written) -> Result<usize> {
        let (mut parts, mut written) = (vec![rows], 0);
        while let Some(rows) = parts.pop() {
            let count = rows.num_rows();
            match self.sink.write(what.output(&rows)).await {
                Ok(()) => written += count,
                Err(Error::Data(reason)) if count <= 1 => {
                    let letter = unwritable_row(&rows, what.as_str(), &reason);
                    self.reporter.rejected(1);
                    self.unwritable += 1;
                    RejectedPlace::of(self.sink.as_ref()).check(&letter)?;
                    self.sink.write(Output::Rejected(&[letter])).await?;
                    self.reporter.meter.rows_dead_lettered.increment(1);
                }
                Err(Error::Data(_)) => {
                    let half = count / 2;
                    parts.push(rows.slice(half, count - half));
                    parts.push(rows.slice(0, half));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    async fn checkpoint(
        &mut self,
        commit: Commit,
        counted: Counted,
        is_complete: bool,
    ) -> Result<()> {
        let began = Instant::now();
        let Commit { epoch, positions, tokens, state } = commit;
        let state = match state {
            Some(snapshot) => Some(self.put(snapshot).await?),
            None => None,
        };
        let progress = Progress {
            pipeline: self.pipeline.clone(),
            epoch,
            state: state.as_ref().map(|state| state.name.clone()),
            positions,
            tokens,
            identities: self.identities.clone(),
            is_complete,
            doubt: None,
        };
        self.reporter.tries(epoch, counted, self.unwritable);
        self.sink.commit(&progress).await?;
        self.reporter.checkpoint(Some(epoch));
        let meter = &self.reporter.meter;
        meter.checkpoints.increment(1);
        meter.checkpoint_seconds.record(began.elapsed().as_secs_f64());
        tracing::debug!(epoch, seconds = began.elapsed().as_secs_f64(), "committed");
        self.take_note(&progress).await;
        let meter = &self.reporter.meter;
        if let Some(state) = state {
            meter.checkpoint_bytes.set(state.bytes as f64);
            self.collect(state.name).await;
        }
        Ok(())
    }

    /// Notes that there is progress, after the first commit of a partition. Without the note lost
    /// progress is not noticed, but nothing is wrong yet; so a failure is reported and the next
    /// commit tries again.
    async fn take_note(&mut self, progress: &Progress) {
        let missing = self.noted.missing(&self.pipeline, &self.read, &progress.positions);
        let Some(note) = missing else { return };
        match note.write(self.store.as_ref()).await {
            Ok(()) => self.noted.add(note),
            Err(error) => tracing::warn!(
                "could not write to {} that there is progress: {error}",
                self.store.place()
            ),
        }
    }

    async fn put(&mut self, snapshot: Snapshot) -> Result<WrittenEpoch> {
        let segments: Vec<_> = snapshot.segment.into_iter().collect();
        write_epoch(self.store.as_ref(), &snapshot.epoch, &segments).await
    }

    /// Removes what only older commits needed. It can wait, so a failure is only logged.
    async fn collect(&mut self, committed: String) {
        self.kept.push(committed);
        let old = self.kept.len().saturating_sub(STATES_KEPT);
        self.kept.drain(..old);
        let keep: Vec<_> = self.kept.iter().map(String::as_str).collect();
        if let Err(error) = collect_garbage(self.store.as_ref(), &keep).await {
            tracing::warn!("old state in {} could not be removed: {error}", self.store.place());
        }
    }
}

/// What rows for the sink are.
#[derive(Clone, Copy)]
enum Written {
    Result,
    Late,
}

impl Written {
    fn output(self, rows: &RecordBatch) -> Output<'_> {
        match self {
            Self::Result => Output::Rows(rows),
            Self::Late => Output::Late(rows),
        }
    }

    /// What dead letters call one that the sink can't write.
    fn as_str(self) -> &'static str {
        match self {
            Self::Result => "a row of the result",
            Self::Late => "a late row",
        }
    }
}

/// States that are kept: that of the last commit and the one before.
const STATES_KEPT: usize = 2;
