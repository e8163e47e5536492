//! Ingest: what the sources say becomes micro-batches in the row part, watermarks and barriers.
//!
//! - *Invariant:* one way for all. Rows, rejected records, watermarks and barriers leave in one
//!   order, so a barrier's positions say exactly which rows are before it.
//! - *Invariant:* the watermark says nothing about rows that have not left: it is moved when a
//!   batch leaves, not when it comes.
//! - *Invariant:* a partition isn't taken for idle because ingest was held up and did not listen.
//! - At most one periodic barrier is on its way; the next one waits for its commit.

mod advice;
mod batcher;
mod clock;
mod intake;
mod marks;
mod reader;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::message::{Barrier, Input, Last, RowsStep, Step};
use crate::meters::SourceMeter;
use crate::options::PipelineOptions;
use crate::positions::Positions;
use crate::queue::{Receiver, Sender, Weight};
use crate::rows::RowPart;
use crate::sink::Tokens;
use crate::stage::HIDDEN_COLUMNS;
use crate::status::{Phase, Reporter};
use crate::watermark::{Ahead, Watermarks};
use crate::{Error, Mark, Result, SourceBatch, SourceEvent, failpoint};
use advice::clock_us;
use batcher::{Batcher, Limits, MicroBatch};
use clock::ListeningClock;
pub(crate) use intake::Intake;
use marks::ReportedMarks;
pub(crate) use reader::{SharedSource, read};

/// Bounds of the time between two looks at the clocks of partitions.
const TICK_MIN: Duration = Duration::from_millis(10);
const TICK_MAX: Duration = Duration::from_secs(1);

/// One source, as ingest knows it.
pub(crate) struct IngestSource {
    pub(crate) name: String,
    pub(crate) intake: Intake,
    pub(crate) meter: SourceMeter,
    /// Whether its rows are of the present.
    pub(crate) is_live: bool,
}

/// The edges of ingest.
pub(crate) struct IngestEdges {
    pub(crate) input: Receiver<Input>,
    pub(crate) output: Sender<Step>,
    /// The number of the last barrier that is done.
    pub(crate) done: watch::Receiver<u64>,
    /// Whether the sink is an exchange, which hears of each partition's event time.
    pub(crate) tells_marks: bool,
}

/// The task of ingest.
pub(crate) struct Ingest {
    sources: Vec<IngestSource>,
    rows: Arc<RowPart>,
    edges: IngestEdges,
    reporter: Arc<Reporter>,
    positions: Positions,
    tokens: Tokens,
    watermarks: Watermarks,
    /// The last watermark that was told.
    watermark_us: i64,
    reported: ReportedMarks,
    batcher: Batcher,
    /// Calls of the row part that may still begin.
    slots: Arc<Semaphore>,
    calls: JoinSet<()>,
    clock: ListeningClock,
    tick: Duration,
    checkpoint_interval: Duration,
    checkpoint_at: Instant,
    barriers: u64,
    /// Sources that are still read, and whether one of them was left before its end.
    reading: usize,
    has_left: bool,
}

/// What ingest goes on with.
enum Next {
    Slot(usize, OwnedSemaphorePermit),
    Input(Option<Input>),
    Time,
}

impl Ingest {
    /// Ingest from committed positions on. `watermarks` have the partitions assigned.
    pub(crate) fn new(
        sources: Vec<IngestSource>,
        rows: Arc<RowPart>,
        edges: IngestEdges,
        reporter: Arc<Reporter>,
        options: &PipelineOptions,
    ) -> Self {
        let limits = Limits {
            rows_max: options.batch_rows,
            bytes_max: options.batch_bytes,
            linger: options.linger,
        };
        let now = Instant::now();
        let tick = (options.idle_timeout / 8).clamp(TICK_MIN, TICK_MAX);
        Self {
            batcher: Batcher::new(limits, sources.len()),
            reading: sources.len(),
            sources,
            rows,
            edges,
            reporter,
            positions: Positions::new(),
            tokens: Tokens::new(),
            watermarks: Watermarks::new(Vec::new()),
            watermark_us: i64::MIN,
            reported: ReportedMarks::default(),
            slots: Arc::new(Semaphore::new(options.row_tasks)),
            calls: JoinSet::new(),
            clock: ListeningClock::new(now, tick),
            tick,
            checkpoint_interval: options.checkpoint_interval.max(Duration::from_millis(1)),
            checkpoint_at: now + options.checkpoint_interval,
            barriers: 0,
            has_left: false,
        }
    }

    /// Where it goes on. `watermark_us` is what the flow knows.
    pub(crate) fn resume(
        self,
        (positions, tokens): (Positions, Tokens),
        watermarks: Watermarks,
        watermark_us: i64,
    ) -> Self {
        Self { positions, tokens, watermarks, watermark_us, ..self }
    }

    /// Runs until the last barrier is sent, or a neighbour is gone.
    ///
    /// # Errors
    /// When a source gave what it may not give.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            self.clock.advance(Instant::now());
            self.on_time().await?;
            if self.has_heard_all() {
                return self.end(Last::Complete).await;
            }
            match self.next().await {
                Next::Slot(source, slot) => self.dispatch(source, slot).await?,
                Next::Time => {}
                Next::Input(Some(input)) => {
                    if let Some(answer) = self.take(input).await? {
                        return self.end(Last::Reassign(answer)).await;
                    }
                }
                Next::Input(None) if self.reading > 0 => return Ok(()),
                Next::Input(None) if self.has_left => {
                    failpoint::hit("pipeline.drain")?;
                    return self.end(Last::Drain).await;
                }
                Next::Input(None) => return self.end(Last::Complete).await,
            }
        }
    }

    /// Whether all comes from exchanges and every partition behind them has ended.
    fn has_heard_all(&self) -> bool {
        self.sources.iter().all(|source| source.intake.is_marked()) && self.watermarks.have_ended()
    }

    /// Waits for the next thing that can be done.
    async fn next(&mut self) -> Next {
        let now = Instant::now();
        let due = self.batcher.due(now);
        let wake_at = self.wake_at(now, due.is_some());
        let is_barrier_out = *self.edges.done.borrow_and_update() < self.barriers;
        let is_barrier_waiting = is_barrier_out && self.checkpoint_at <= now;
        let slots = Arc::clone(&self.slots);
        let next = tokio::select! {
            biased;
            // The semaphore is never closed.
            Ok(slot) = slots.acquire_owned(), if due.is_some() => {
                Next::Slot(due.unwrap_or_default(), slot)
            }
            _ = self.edges.done.changed(), if is_barrier_waiting => Next::Time,
            input = self.edges.input.recv(), if !self.batcher.is_full() => Next::Input(input),
            () = tokio::time::sleep_until(wake_at) => Next::Time,
        };
        if due.is_some() {
            self.clock.hold(now.elapsed());
        }
        next
    }

    /// When there is something to do even if nothing comes.
    fn wake_at(&self, now: Instant, is_due: bool) -> Instant {
        let linger = self.batcher.deadline().filter(|_| !is_due);
        let checkpoint = (self.checkpoint_at > now).then_some(self.checkpoint_at);
        let times = [Some(now + self.tick), linger, checkpoint];
        times.into_iter().flatten().min().unwrap_or(now)
    }

    /// What the clock asks for: idle partitions let the watermark go on, checkpoints are due.
    async fn on_time(&mut self) -> Result<()> {
        self.announce().await;
        let is_due = self.checkpoint_at <= Instant::now();
        if is_due && *self.edges.done.borrow() >= self.barriers {
            self.flush().await?;
            self.barrier(None).await?;
            self.checkpoint_at = Instant::now() + self.checkpoint_interval;
        }
        Ok(())
    }

    /// Takes in what a source said; the answer that it waits for when partitions are reassigned.
    async fn take(&mut self, input: Input) -> Result<Option<oneshot::Sender<()>>> {
        match input {
            Input::Event(source, SourceEvent::Batch(batch)) => self.accept(source, batch)?,
            Input::Event(_, SourceEvent::Reassign(answer)) => return Ok(Some(answer)),
            Input::Event(source, SourceEvent::End(partition)) => {
                // What it gave must leave first, or others' watermark would make it late.
                self.flush().await?;
                self.watermarks.end(source, &partition);
                self.announce().await;
            }
            Input::Finished(source) => {
                self.flush().await?;
                let rows = Arc::clone(&self.rows);
                for partition in rows.partitions.of(source) {
                    self.watermarks.end(source, partition);
                }
                self.reading -= 1;
                self.announce().await;
            }
            Input::Left => {
                self.reading -= 1;
                self.has_left = true;
                self.reporter.phase(Phase::Stopping);
            }
        }
        Ok(None)
    }

    fn accept(&mut self, source: usize, batch: SourceBatch) -> Result<()> {
        let known = self.sources.get(source);
        let known = known.ok_or_else(|| Error::Bug(format!("rows of source number {source}")))?;
        let number = self.rows.partitions.number(source, &batch.partition)?;
        let (rows, bytes) = (batch.rows.num_rows(), batch.bytes);
        let next = (batch.partition.clone(), batch.next);
        if let Some(token) = &batch.token {
            let tokens = self.tokens.entry(known.name.clone()).or_default();
            tokens.insert(batch.partition.to_string(), token.clone());
        }
        let piece = known.intake.accept(batch, number)?;
        known.meter.rows.increment(rows as u64);
        known.meter.bytes.increment(bytes as u64);
        known.meter.batches.increment(1);
        self.reporter.rows_in(rows);
        self.positions.entry(known.name.clone()).or_default().extend([next]);
        self.batcher.push(source, piece, Instant::now());
        Ok(())
    }

    /// Sends a batch of a source into the row part.
    async fn dispatch(&mut self, source: usize, slot: OwnedSemaphorePermit) -> Result<()> {
        while self.calls.try_join_next().is_some() {}
        let mut batch = self.batcher.take(source);
        let rejected = batch.take_rejected();
        let rows = self.gather(source, &batch)?;
        self.observe(source, &batch);
        let weight = Weight { rows: batch.row_count.max(1), bytes: batch.bytes };
        let result = rows.map(|rows| {
            let (tell, result) = oneshot::channel();
            let (part, reporter) = (Arc::clone(&self.rows), Arc::clone(&self.reporter));
            self.calls.spawn(async move {
                let began = Instant::now();
                let out = part.run(source, rows).await;
                reporter.meter.row_stage.add(began.elapsed());
                drop(slot);
                // Nobody listens once the attempt has ended.
                let _ = tell.send(out);
            });
            result
        });
        self.watermark_us = self.watermark_us.max(self.watermarks.combined(self.clock.now_ms()));
        let (watermark_us, marks) = (self.watermark_us, self.news());
        let step = RowsStep { result, rejected, watermark_us, marks };
        self.send(Step::Rows(step), weight).await;
        Ok(())
    }

    /// The rows of a batch as one; `None` if there are none.
    fn gather(&self, source: usize, batch: &MicroBatch) -> Result<Option<RecordBatch>> {
        let known = self.sources.get(source);
        let known = known.ok_or_else(|| Error::Bug(format!("rows of source number {source}")))?;
        let mut rows = batch.rows();
        match (rows.next(), rows.next()) {
            (None, _) => Ok(None),
            (Some(only), None) => Ok(Some(only.clone())),
            _ => {
                let all = concat_batches(known.intake.schema(), batch.rows());
                all.map(Some).map_err(|error| {
                    Error::Bug(format!("rows of source '{}' don't join: {error}", known.name))
                })
            }
        }
    }

    /// Moves the watermarks of the partitions that a batch has rows of.
    fn observe(&mut self, source: usize, batch: &MicroBatch) {
        for mark in batch.pieces.iter().flat_map(|piece| &piece.marks) {
            self.watermarks.mark(source, mark);
        }
        let Some(known) = self.sources.get(source) else { return };
        if !known.intake.has_event_time() {
            return;
        }
        let now_ms = self.clock.now_ms();
        let clock_us = known.is_live.then(clock_us);
        for piece in &batch.pieces {
            let [times, sequences, _] = HIDDEN_COLUMNS.map(|name| piece.rows.column_by_name(name));
            let times = times.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
            let sequences = sequences.and_then(|c| c.as_primitive_opt::<Int64Type>());
            let (Some(times), Some(sequences)) = (times, sequences) else { continue };
            let rows = times.values().iter().zip(sequences.values());
            let rows =
                rows.map(|(time_us, sequence)| Ahead { time_us: *time_us, sequence: *sequence });
            let partition = &piece.partition;
            advice::on_unit(&self.reporter, &known.name, partition, rows.clone());
            let ahead = self.watermarks.observe(source, partition, rows, now_ms, clock_us);
            if let Some(ahead) = ahead {
                advice::on_ahead(&self.reporter, &known.name, partition, ahead);
            }
        }
    }

    /// Sends all that has come into the row part.
    async fn flush(&mut self) -> Result<()> {
        while let Some(source) = self.batcher.oldest() {
            let began = Instant::now();
            let slot = Arc::clone(&self.slots).acquire_owned().await;
            let slot = slot.map_err(|_| Error::Bug("the row part is closed".into()))?;
            self.clock.hold(began.elapsed());
            self.dispatch(source, slot).await?;
        }
        Ok(())
    }

    /// Tells the watermark if it has moved, and what an exchange has to know.
    async fn announce(&mut self) {
        let watermark_us = self.watermarks.combined(self.clock.now_ms());
        let news = self.news();
        if watermark_us > self.watermark_us || !news.is_empty() {
            self.watermark_us = self.watermark_us.max(watermark_us);
            self.send(Step::Watermark(self.watermark_us, news), Weight::default()).await;
        }
    }

    /// What an exchange has not yet heard of event time.
    fn news(&mut self) -> Vec<Mark> {
        match self.edges.tells_marks {
            true => {
                self.reported.news(&self.rows.partitions, &self.watermarks, self.clock.now_ms())
            }
            false => Vec::new(),
        }
    }

    async fn barrier(&mut self, last: Option<Last>) -> Result<()> {
        failpoint::hit("pipeline.barrier")?;
        self.barriers += 1;
        let barrier = Barrier {
            number: self.barriers,
            positions: self.positions.clone(),
            tokens: self.tokens.clone(),
            watermarks: self.watermarks.snapshot(),
            rows_in: self.reporter.rows_in_so_far(),
            last,
        };
        self.send(Step::Barrier(barrier), Weight::default()).await;
        Ok(())
    }

    /// The last barrier. Stays until the row part has done what was sent.
    async fn end(mut self, last: Last) -> Result<()> {
        self.flush().await?;
        self.announce().await;
        self.barrier(Some(last)).await?;
        while self.calls.join_next().await.is_some() {}
        Ok(())
    }

    /// Sends a step on. When the next task is gone it has failed, and says why itself.
    async fn send(&mut self, step: Step, weight: Weight) {
        let began = Instant::now();
        let _ = self.edges.output.send(step, weight).await;
        self.clock.hold(began.elapsed());
    }
}
