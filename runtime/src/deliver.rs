//! The task of the sink: writes, and at a barrier makes the state durable and then commits results
//! and progress as one.
//!
//! - *Invariant:* state first, then the one commit that names it. What no commit names is garbage.
//! - *Invariant:* a call of the sink is never cut short by a failure elsewhere; what it does is
//!   done or failed when the next attempt asks for progress.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::Instant;
use tracing::Instrument;

use crate::message::{Checkpoint, Commit, Delivery, Last, Positions, Snapshot};
use crate::queue::Receiver;
use crate::state::{Store, WrittenEpoch, collect_garbage, write_epoch};
use crate::status::Reporter;
use crate::{Output, Progress, Result, Sink, failpoint};

/// A sink as several attempts share it, one after another.
pub(crate) type SharedSink = Arc<Mutex<Box<dyn Sink>>>;

/// The task.
pub(crate) struct Deliver {
    pub(crate) pipeline: String,
    pub(crate) input: Receiver<Delivery>,
    pub(crate) sink: OwnedMutexGuard<Box<dyn Sink>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) reporter: Arc<Reporter>,
    /// Where the number of each barrier that is done is told.
    pub(crate) done: watch::Sender<u64>,
    /// Told when the attempt ends before its last barrier.
    pub(crate) cancelled: watch::Receiver<bool>,
    /// The states that the last commits named, the latest last.
    pub(crate) kept: Vec<String>,
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
                    self.sink.write(Output::Rows(&rows)).await?;
                    self.reporter.rows_out(rows.num_rows());
                }
                Delivery::Late(rows) => self.sink.write(Output::Late(&rows)).await?,
                Delivery::Marks(marks) => self.sink.write(Output::Marks(&marks)).await?,
                Delivery::Rejected(records) => {
                    self.sink.write(Output::Rejected(&records)).await?;
                    self.reporter.meter.rows_dead_lettered.increment(records.len() as u64);
                }
                Delivery::Barrier(checkpoint) => {
                    let Checkpoint { number, last, commit } = *checkpoint;
                    if let Some(commit) = commit {
                        let span = tracing::info_span!("checkpoint", epoch = commit.epoch);
                        let is_complete = matches!(last, Some(Last::Complete));
                        self.checkpoint(commit, is_complete).instrument(span).await?;
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

    async fn checkpoint(&mut self, commit: Commit, is_complete: bool) -> Result<()> {
        let began = Instant::now();
        let Commit { epoch, positions, state } = commit;
        let state = match state {
            Some(snapshot) => Some(self.put(snapshot).await?),
            None => None,
        };
        let progress = progress(&self.pipeline, epoch, positions, state.as_ref(), is_complete);
        self.sink.commit(&progress).await?;
        self.reporter.checkpoint(Some(epoch));
        let meter = &self.reporter.meter;
        meter.checkpoints.increment(1);
        meter.checkpoint_seconds.record(began.elapsed().as_secs_f64());
        tracing::debug!(epoch, seconds = began.elapsed().as_secs_f64(), "committed");
        if let Some(state) = state {
            meter.checkpoint_bytes.set(state.bytes as f64);
            self.collect(state.name).await;
        }
        Ok(())
    }

    async fn put(&mut self, snapshot: Snapshot) -> Result<WrittenEpoch> {
        let segments: Vec<_> = snapshot.segment.into_iter().collect();
        write_epoch(self.store.as_ref(), &snapshot.epoch, &segments).await
    }

    /// Removes what only older commits needed. It can wait, so a failure is told and no more.
    async fn collect(&mut self, committed: String) {
        self.kept.push(committed);
        let old = self.kept.len().saturating_sub(STATES_KEPT);
        self.kept.drain(..old);
        let keep: Vec<_> = self.kept.iter().map(String::as_str).collect();
        if let Err(error) = collect_garbage(self.store.as_ref(), &keep).await {
            tracing::warn!("old state in {} stays: {error}", self.store.place());
        }
    }
}

/// States that are kept: that of the last commit and the one before.
const STATES_KEPT: usize = 2;

fn progress(
    pipeline: &str,
    epoch: u64,
    positions: Positions,
    state: Option<&WrittenEpoch>,
    is_complete: bool,
) -> Progress {
    Progress {
        pipeline: pipeline.to_string(),
        epoch,
        state: state.map(|state| state.name.clone()),
        positions,
        is_complete,
    }
}
