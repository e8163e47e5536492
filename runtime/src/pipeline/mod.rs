//! A pipeline and how it runs: one attempt after another, each from committed progress, until all
//! sources have ended, it is stopped, or a failure is not worth another attempt.
//!
//! - *Invariant:* start, failure, being replaced, and reassigned partitions are one mechanism, the
//!   attempt.
//! - *Invariant:* a stop whose last checkpoint fails ends well, with the progress before it, and
//!   says so: nothing is lost, the rows since come again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tracing::Instrument;

use crate::attempt::{Attempt, Ended, Machine, MachineSource, MachineWindows};
use crate::options::PipelineOptions;
use crate::retry::{backoff, random};
use crate::source::EventTime;
use crate::state::{Query, Store};
use crate::status::{Phase, Reporter, Status};
use crate::stop::{Exhausted, Stop, StopSignal};
use crate::window::WindowKind;
use crate::{Error, Result, RowStage, Sink, Source, WindowStage};

/// After so many takeovers by others an instance that nothing else keeps apart from them ends.
const TAKEOVERS_MAX: usize = 2;
/// After this time without one, takeovers are counted again.
const TAKEOVERS_WITHIN: Duration = Duration::from_secs(600);

/// A source of a pipeline.
pub struct SourceInput {
    /// Its name, unique within the pipeline; progress is kept under it.
    pub name: String,
    /// Where its rows come from.
    pub source: Box<dyn Source>,
    /// Where the event time of its rows comes from.
    pub event_time: EventTime,
    /// How much later than the latest row another may come, in microseconds.
    pub delay_us: i64,
    /// The windows that its rows go into, in this pipeline or behind an exchange. A row that none
    /// of them can hold is rejected.
    pub windows: Option<WindowKind>,
}

/// The windows of a pipeline and what is done with them.
pub struct WindowPart {
    /// How rows are put into windows.
    pub kind: WindowKind,
    /// Of the row part's columns, those that are a session's key.
    pub keys: Vec<usize>,
    /// How long after its end a window still takes rows, in microseconds.
    pub lateness_us: i64,
    /// Time from one early result of open windows to the next, in microseconds of the clock on the
    /// wall; `None` for no early results.
    pub early_us: Option<u64>,
    /// What is done with a window.
    pub stage: Box<dyn WindowStage>,
}

/// One `INSERT INTO` a sink.
pub struct Pipeline {
    /// Its name, which progress and metrics carry.
    pub name: String,
    /// Which query it is, so that state of another one is rejected.
    pub query: Query,
    /// Where rows come from.
    pub sources: Vec<SourceInput>,
    /// The part of the query that treats rows by themselves.
    pub rows: Arc<dyn RowStage>,
    /// The part over windows; `None` when results of the row part go straight to the sink.
    pub windows: Option<WindowPart>,
    /// Where results go to.
    pub sink: Box<dyn Sink>,
    /// Where state is kept.
    pub store: Arc<dyn Store>,
    /// How it runs.
    pub options: PipelineOptions,
    /// Start over: neither the committed progress nor its state is taken up.
    pub ignore_state: bool,
}

/// How a pipeline ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All sources have ended, every window is closed, and all is committed.
    Complete,
    /// It was complete before it began.
    AlreadyComplete,
    /// It was stopped, and what had been read is committed.
    Drained,
    /// It was stopped; what was not committed comes again.
    Stopped,
}

/// What there is to say of a pipeline that ended well.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How it ended.
    pub end: End,
    /// Its last status.
    pub status: Status,
    /// Why the checkpoint of a stop failed, if it did. The progress before it stands.
    pub stop_failure: Option<Error>,
}

/// Runs a pipeline to its end. `status` always has how it is. When the future is dropped,
/// everything stops where it is, as with a crash, and what was not committed comes again.
///
/// # Errors
/// What can't be tried again, or failed too often in a row.
pub async fn run(
    pipeline: Pipeline,
    stop: StopSignal,
    status: watch::Sender<Status>,
) -> Result<Summary> {
    let span = tracing::info_span!("pipeline", name = pipeline.name);
    async {
        let reporter = Arc::new(Reporter::new(&pipeline.name, status.clone()));
        let mut machine = machine(pipeline, reporter)?;
        let ended = attempts(&mut machine, stop).await;
        if !matches!(ended, Ok((End::Complete | End::AlreadyComplete | End::Drained, None))) {
            give_up(&machine).await;
        }
        machine.reporter.phase(Phase::Ended);
        let (end, stop_failure) = ended?;
        Ok(Summary { end, status: status.borrow().clone(), stop_failure })
    }
    .instrument(span)
    .await
}

/// One attempt after another.
async fn attempts(machine: &mut Machine, mut stop: StopSignal) -> Result<(End, Option<Error>)> {
    let (mut number, mut failures) = (0_u64, 0);
    let mut takeovers = Takeovers::default();
    let began = tokio::time::Instant::now();
    loop {
        number += 1;
        match stop.current() {
            Stop::Run => {}
            Stop::Drain => return Ok((End::Drained, None)),
            Stop::Now => return Ok((End::Stopped, None)),
        }
        machine.reporter.begin();
        let commits = machine.reporter.commits();
        let mut hurry = stop.clone();
        let timeout = machine.options.stop_timeout;
        let attempt = Attempt::new(machine, stop.clone()).run();
        let ended = tokio::select! {
            biased;
            ended = attempt.instrument(tracing::info_span!("attempt", number)) => ended,
            exhausted = hurry.exhausted(timeout) => match exhausted {
                Exhausted::Now => return Ok((End::Stopped, None)),
                Exhausted::Overdue => Err(overdue(timeout)),
            },
        };
        let error = match ended {
            Ok(Ended::Complete) => return Ok((End::Complete, None)),
            Ok(Ended::AlreadyComplete) => return Ok((End::AlreadyComplete, None)),
            Ok(Ended::Drained) => return Ok((End::Drained, None)),
            Ok(Ended::Reassigned) => continue,
            Err(error) => error,
        };
        if stop.current() != Stop::Run {
            tracing::warn!("the last checkpoint failed, the one before it is valid: {error}");
            return Ok((End::Stopped, Some(error)));
        }
        if machine.reporter.commits() > commits {
            failures = 0;
        }
        failures += 1;
        // Where no group settles who reads, two instances would take over from each other for ever.
        if machine.is_uncoordinated() && matches!(error, Error::Replaced(_)) && takeovers.are_many()
        {
            return Err(taken_over(&machine.name, &error));
        }
        let may_help = error.is_transient() || error.is_fenced();
        if !may_help || failures > machine.options.retries {
            return Err(error);
        }
        let limit = machine.options.start_timeout;
        if !machine.reporter.has_run() && began.elapsed() >= limit {
            return Err(never_started(&error, limit));
        }
        let wait = backoff(failures, machine.options.retry_backoff_max, random());
        tracing::warn!("restarting in {} ms: {error}", wait.as_millis());
        machine.reporter.restart(&error);
        tokio::select! {
            biased;
            () = stop.requested() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// How often others have taken over lately.
#[derive(Debug, Default)]
struct Takeovers {
    count: usize,
    last: Option<tokio::time::Instant>,
}

impl Takeovers {
    /// Counts one more, and says whether that is too many.
    fn are_many(&mut self) -> bool {
        if self.last.is_none_or(|last| last.elapsed() > TAKEOVERS_WITHIN) {
            self.count = 0;
        }
        self.last = Some(tokio::time::Instant::now());
        self.count += 1;
        self.count >= TAKEOVERS_MAX
    }
}

/// Why a pipeline leaves the work to another instance.
fn taken_over(pipeline: &str, error: &Error) -> Error {
    Error::External(format!(
        "pipeline '{pipeline}' was taken over by another instance {TAKEOVERS_MAX} times, so this one ends; stop the other one, \
         or, if they are two pipelines, rename the sink, which names the pipeline ({error})"
    ))
}

/// Why a pipeline that has never run gives up.
fn never_started(error: &Error, limit: Duration) -> Error {
    Error::External(format!(
        "{error}; it could not start within {} s (option start_timeout)",
        limit.as_secs_f64()
    ))
}

fn overdue(timeout: Duration) -> Error {
    Error::External(format!(
        "what was read could not be processed and committed within {} s (option stop_timeout)",
        timeout.as_secs_f64()
    ))
}

/// Lets the sink drop what was not committed, so that it holds up nobody who reads it.
async fn give_up(machine: &Machine) {
    let abort = async { machine.sink.lock().await.abort().await };
    match tokio::time::timeout(machine.options.stop_timeout, abort).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("what was not committed is still in the sink: {error}"),
        Err(_) => tracing::warn!("the sink did not answer; what was not committed is still in it"),
    }
}

/// The pipeline, checked, in the form that attempts share.
fn machine(pipeline: Pipeline, reporter: Arc<Reporter>) -> Result<Machine> {
    for (number, source) in pipeline.sources.iter().enumerate() {
        let has_time = source.event_time != EventTime::None;
        if pipeline.windows.is_some() && !has_time {
            return Err(Error::Option(format!(
                "source '{0}' has no event time, which windows need; add WATERMARK FOR its timestamp",
                source.name
            )));
        }
        if pipeline.sources.iter().take(number).any(|other| other.name == source.name) {
            return Err(Error::Bug(format!("two sources have the name '{}'", source.name)));
        }
    }
    let windows = pipeline.windows.map(|part| MachineWindows {
        kind: part.kind,
        keys: part.keys,
        lateness_us: part.lateness_us,
        early: part.early_us.map(Duration::from_micros),
        stage: Arc::new(Mutex::new(part.stage)),
    });
    let sources = pipeline.sources.into_iter().map(|input| MachineSource {
        name: input.name,
        schema: input.source.schema(),
        max_ahead_us: input.source.max_ahead_us(),
        is_live: input.source.is_live(),
        source: Arc::new(Mutex::new(input.source)),
        event_time: input.event_time,
        delay_us: input.delay_us,
        windows: input.windows,
    });
    Ok(Machine {
        name: pipeline.name,
        query: pipeline.query,
        sources: sources.collect(),
        rows: pipeline.rows,
        windows,
        sink: Arc::new(Mutex::new(pipeline.sink)),
        store: pipeline.store,
        options: pipeline.options,
        ignore_state: pipeline.ignore_state,
        ignored_epoch: None,
        reporter,
    })
}

#[cfg(test)]
mod tests;
