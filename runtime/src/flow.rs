//! The task between the row part and the sink: it takes micro-batches in their order, keeps the
//! rows of open windows, runs the window part over those that close, and turns barriers into
//! commits.
//!
//! - *Invariant:* what leaves before a barrier is what its positions and its state stand for.
//! - *Invariant:* no rejected record is passed by when the sink has no place for it.
//! - The rows of a pipeline without windows just pass.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use tracing::Instrument;

use crate::message::{
    Barrier, Checkpoint, Commit, Counted, Delivery, Last, RowsStep, Snapshot, Step,
};
use crate::partitions::Partitions;
use crate::positions::Positions;
use crate::queue::{Receiver, Sender, Weight};
use crate::rejected::{RejectedPlace, WindowRowsGiven};
use crate::state::{Epoch, Query};
use crate::status::Reporter;
use crate::window::WindowRows;
use crate::{ClosedWindow, Error, Mark, Pane, Rejected, Result, WindowStage, failpoint};

/// A window stage as several attempts share it, one after another.
pub(crate) type SharedStage = Arc<Mutex<Box<dyn WindowStage>>>;

/// The windows of a pipeline while an attempt runs.
pub(crate) struct OpenWindows {
    pub(crate) rows: WindowRows,
    pub(crate) stage: OwnedMutexGuard<Box<dyn WindowStage>>,
    /// Time from one early result to the next.
    pub(crate) early: Option<Duration>,
    /// The names of input partitions; `None` where another pipeline has numbered them.
    pub(crate) partitions: Option<Partitions>,
    /// Who the state belongs to.
    pub(crate) pipeline: String,
    pub(crate) query: Query,
}

/// What a flow begins with.
pub(crate) struct FlowStart {
    /// The number of the last commit.
    pub(crate) epoch: u64,
    pub(crate) positions: Positions,
    pub(crate) watermark_us: i64,
}

/// The task.
pub(crate) struct Flow {
    pub(crate) input: Receiver<Step>,
    pub(crate) output: Sender<Delivery>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) windows: Option<OpenWindows>,
    pub(crate) at: FlowStart,
    /// Whether the sink has a place for rejected records and for late rows.
    pub(crate) rejected_place: RejectedPlace,
    pub(crate) takes_late: bool,
    /// Whether windows have changed since the last commit but by rows, which move positions.
    pub(crate) is_changed: bool,
    /// What was counted so far.
    pub(crate) counted: Counted,
}

impl Flow {
    /// Runs until the last barrier has passed, or a neighbour is gone.
    ///
    /// # Errors
    /// What the two parts of the query say, and [`Error::Data`] for a rejected record that the sink
    /// has no place for.
    pub(crate) async fn run(mut self) -> Result<()> {
        let early = self.windows.as_ref().and_then(|windows| windows.early);
        let mut early_at = early.map(|interval| Instant::now() + interval);
        loop {
            let step = tokio::select! {
                biased;
                () = sleep_until(early_at) => None,
                step = self.input.recv() => match step {
                    Some(step) => Some(step),
                    None => return Ok(()),
                },
            };
            match step {
                None => {
                    self.early_panes().await?;
                    early_at = early.map(|interval| Instant::now() + interval);
                }
                Some(Step::Rows(step)) => self.rows(step).await?,
                Some(Step::Watermark(watermark_us, marks)) => {
                    self.mark(marks).await;
                    self.advance(watermark_us).await?;
                }
                Some(Step::Barrier(barrier)) => {
                    let is_last = barrier.last.is_some();
                    self.barrier(barrier).await?;
                    if is_last {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn rows(&mut self, step: RowsStep) -> Result<()> {
        let mut rejected = step.rejected;
        if let Some(result) = step.result {
            let out = result.await.map_err(|_| Error::Bug("the row part panicked".into()))??;
            for batch in out.batches {
                self.take_in(batch).await?;
            }
            rejected.extend(out.rejected);
        }
        self.reject(rejected).await?;
        self.mark(step.marks).await;
        self.advance(step.watermark_us).await
    }

    /// Rows into their windows, or, where there are none, on to the sink.
    async fn take_in(&mut self, batch: RecordBatch) -> Result<()> {
        let Some(windows) = &mut self.windows else { return self.send_rows(batch).await };
        let Some(late) = windows.rows.insert(batch, self.at.watermark_us)? else { return Ok(()) };
        self.reporter.late(late.num_rows());
        self.counted.late += late.num_rows() as u64;
        if self.takes_late {
            let late = windows.stage.shown(late)?;
            let weight = Weight::of(&late);
            self.send(Delivery::Late(late), weight).await;
        }
        Ok(())
    }

    /// Marks on to the exchange. They are committed even if no position has moved.
    async fn mark(&mut self, marks: Vec<Mark>) {
        if !marks.is_empty() {
            self.is_changed = true;
            self.send(Delivery::Marks(marks), Weight::default()).await;
        }
    }

    async fn reject(&mut self, rejected: Vec<Rejected>) -> Result<()> {
        let Some(first) = rejected.first() else { return Ok(()) };
        self.reporter.rejected(rejected.len());
        self.counted.rejected += rejected.len() as u64;
        self.rejected_place.check(first)?;
        let held = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        let bytes = rejected.iter().map(|r| held(&r.payload) + held(&r.key) + r.reason.len()).sum();
        let weight = Weight { rows: rejected.len(), bytes };
        self.send(Delivery::Rejected(rejected), weight).await;
        Ok(())
    }

    /// Closes the windows that the watermark has passed.
    async fn advance(&mut self, watermark_us: i64) -> Result<()> {
        if watermark_us > self.at.watermark_us {
            self.is_changed = true;
            self.at.watermark_us = watermark_us;
            self.reporter.watermark(watermark_us);
        }
        let watermark_us = self.at.watermark_us;
        while let Some(windows) = &mut self.windows {
            let Some(closed) = windows.rows.close_next(watermark_us)? else { break };
            failpoint::hit("pipeline.window.close")?;
            self.reporter.meter.windows_closed.increment(1);
            self.run_stage(closed).await?;
        }
        if let Some(windows) = &self.windows {
            self.reporter.windows(windows.rows.windows(), windows.rows.bytes());
        }
        Ok(())
    }

    async fn early_panes(&mut self) -> Result<()> {
        while let Some(windows) = &mut self.windows {
            let Some(window) = windows.rows.early_next()? else { break };
            self.is_changed = true;
            self.run_stage(window).await?;
        }
        Ok(())
    }

    /// Runs the window part over a window.
    async fn run_stage(&mut self, mut closed: ClosedWindow) -> Result<()> {
        let Some(windows) = &mut self.windows else { return Ok(()) };
        let (window, pane) = (closed.window, closed.pane);
        let given = WindowRowsGiven {
            window,
            rows: closed.rows.clone(),
            origins: std::mem::take(&mut closed.origins),
        };
        let span = tracing::info_span!(
            "window",
            start_us = window.start_us,
            end_us = window.end_us,
            pane = pane.as_str(),
            rows = closed.rows.iter().map(RecordBatch::num_rows).sum::<usize>()
        );
        let began = Instant::now();
        let out = windows.stage.close(closed).instrument(span).await?;
        self.reporter.meter.window_stage.add(began.elapsed());
        let rejected = match pane {
            Pane::Early => Vec::new(),
            Pane::OnTime | Pane::Late => {
                let shown = |rows: RecordBatch| windows.stage.shown(rows);
                given.letters(&out.rejected, windows.partitions.as_ref(), shown)?
            }
        };
        for batch in out.batches {
            self.send_rows(batch).await?;
        }
        self.reject(rejected).await
    }

    async fn send_rows(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() > 0 {
            let weight = Weight::of(&batch);
            self.send(Delivery::Rows(batch), weight).await;
        }
        Ok(())
    }

    async fn barrier(&mut self, barrier: Barrier) -> Result<()> {
        let Barrier { number, positions, tokens, watermarks, rows_in, last } = barrier;
        self.counted.rows_in = rows_in;
        let is_complete = matches!(last, Some(Last::Complete));
        let mut commit = None;
        if self.is_changed || is_complete || positions != self.at.positions {
            let epoch = self.at.epoch + 1;
            let state = match &mut self.windows {
                None => None,
                Some(windows) => {
                    let kept = windows.rows.barrier(epoch)?;
                    let epoch = Epoch {
                        pipeline: windows.pipeline.clone(),
                        query: windows.query.clone(),
                        epoch,
                        positions: positions.clone(),
                        watermarks,
                        windows: vec![kept.saved],
                        tables: windows.stage.snapshot()?,
                    };
                    Some(Snapshot { epoch, segment: kept.segment })
                }
            };
            self.at.epoch = epoch;
            self.at.positions.clone_from(&positions);
            self.is_changed = false;
            commit = Some(Commit { epoch, positions, tokens, state });
        }
        let checkpoint = Checkpoint { number, last, counted: self.counted, commit };
        self.send(Delivery::Barrier(Box::new(checkpoint)), Weight::default()).await;
        Ok(())
    }

    /// Sends something to the sink. When its task is gone it has failed, and says why itself.
    async fn send(&mut self, delivery: Delivery, weight: Weight) {
        let _ = self.output.send(delivery, weight).await;
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
