//! The tasks of an attempt: how they are tied together, and what happens when one of them ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use tracing::Instrument;

use super::{Machine, MachineSource, Start};
use crate::deliver::Deliver;
use crate::flow::{Flow, FlowStart};
use crate::ingest::{Ingest, IngestEdges, IngestSource, Intake, read};
use crate::message::{Counted, Last};
use crate::meters::{EdgeMeter, SourceMeter};
use crate::partitions::Partitions;
use crate::positions::Positions;
use crate::queue::{Bounds, bounded};
use crate::rejected::RejectedPlace;
use crate::rows::RowPart;
use crate::sink::Tokens;
use crate::source::EventTime;
use crate::status::Reporter;
use crate::stop::StopSignal;
use crate::{Error, Result, Sink};

/// How often the rate is measured.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the tasks until the last barrier is committed, and tells why it was the last.
///
/// # Errors
/// Whatever failed first.
pub(super) async fn run(
    machine: &Machine,
    start: Start,
    sink: OwnedMutexGuard<Box<dyn Sink>>,
    stop: &StopSignal,
) -> Result<Last> {
    let bounds =
        Bounds { rows_max: machine.options.queue_rows, bytes_max: machine.options.queue_bytes };
    let edge = |name| EdgeMeter::new(&machine.name, name);
    let (to_ingest, from_readers) = bounded(bounds, edge("read"));
    let (to_flow, from_ingest) = bounded(bounds, edge("rows"));
    let (to_sink, from_flow) = bounded(bounds, edge("write"));
    let (tell_done, done) = watch::channel(0);
    let (cancel, cancelled) = watch::channel(false);

    let mut tasks = JoinSet::new();
    let span = tracing::Span::current();
    for (number, source) in machine.sources.iter().enumerate() {
        let meter = SourceMeter::new(&machine.name, &source.name);
        let reporter = Arc::clone(&machine.reporter);
        let (source, output) = (Arc::clone(&source.source), to_ingest.clone());
        tasks.spawn(
            read(number, source, output, stop.clone(), meter, reporter).instrument(span.clone()),
        );
    }
    drop(to_ingest);

    let tells_marks = sink.takes_marks();
    let deliver = Deliver {
        pipeline: machine.name.clone(),
        input: from_flow,
        store: Arc::clone(&machine.store),
        reporter: Arc::clone(&machine.reporter),
        done: tell_done,
        cancelled,
        kept: start.state.into_iter().collect(),
        identities: start.identities,
        noted: start.noted,
        read: start.read,
        unwritable: 0,
        sink,
    };
    let flow = Flow {
        input: from_ingest,
        output: to_sink,
        reporter: Arc::clone(&machine.reporter),
        windows: start.windows,
        rejected_place: RejectedPlace::of(deliver.sink.as_ref()),
        takes_late: deliver.sink.takes_late(),
        is_changed: false,
        counted: Counted::default(),
        at: FlowStart {
            epoch: start.epoch,
            positions: start.positions.clone(),
            watermark_us: start.watermark_us,
        },
    };
    let edges = IngestEdges { input: from_readers, output: to_flow, done, tells_marks };
    let part = Arc::new(row_part(machine, start.partitions));
    let (reporter, sources) = (Arc::clone(&machine.reporter), ingest_sources(machine)?);
    let ingest = Ingest::new(sources, part, edges, reporter, &machine.options);
    let places = (start.positions, start.tokens);
    let ingest = ingest.resume(places, start.watermarks, start.watermark_us);
    tasks.spawn(ingest.run().instrument(span.clone()));
    tasks.spawn(flow.run().instrument(span.clone()));
    let delivery = tokio::spawn(deliver.run().instrument(span));
    supervise(tasks, delivery, cancel, machine).await
}

/// Lets all sources begin where the last commit has left them.
///
/// # Errors
/// What they say.
pub(super) async fn start_sources(
    machine: &Machine,
    positions: &Positions,
    tokens: &Tokens,
) -> Result<()> {
    let nowhere = BTreeMap::new();
    for source in &machine.sources {
        let at = positions.get(&source.name).unwrap_or(&nowhere);
        let own = tokens.get(&source.name).into_iter().flatten();
        let own = own.map(|(partition, token)| (partition.as_str().into(), token.clone()));
        let mut reader = source.source.lock().await;
        reader.recall(&own.collect());
        reader.start(at).await?;
    }
    Ok(())
}

fn row_part(machine: &Machine, partitions: Partitions) -> RowPart {
    let has_time = |source: &MachineSource| source.event_time != EventTime::None;
    let timed = machine.sources.iter().map(has_time).collect();
    RowPart { stage: Arc::clone(&machine.rows), partitions, timed }
}

fn ingest_sources(machine: &Machine) -> Result<Vec<IngestSource>> {
    let sources = machine.sources.iter().map(|source| {
        Ok(IngestSource {
            name: source.name.clone(),
            intake: match source.event_time {
                EventTime::Marks => Intake::marked(&source.name, &source.schema)?,
                EventTime::Column(_) | EventTime::None => {
                    let column = source.event_time.column();
                    Intake::new(&source.name, &source.schema, column)?.into_windows(source.windows)
                }
            },
            meter: SourceMeter::new(&machine.name, &source.name),
            is_live: source.is_live,
        })
    });
    sources.collect()
}

/// Waits for the delivery's end, or for the first failure, and then lets all tasks end.
async fn supervise(
    mut tasks: JoinSet<Result<()>>,
    mut delivery: JoinHandle<Result<Option<Last>>>,
    cancel: watch::Sender<bool>,
    machine: &Machine,
) -> Result<Last> {
    let mut rate = Rate::new(&machine.reporter);
    let mut is_delivering = true;
    let ended = loop {
        if tasks.is_empty() && !is_delivering {
            break Err(Error::Bug("the tasks of a pipeline ended without a last commit".into()));
        }
        tokio::select! {
            joined = tasks.join_next(), if !tasks.is_empty() => {
                if let Some(Err(error)) = joined.map(|joined| joined.map_err(panicked).flatten()) {
                    break Err(error);
                }
            }
            joined = &mut delivery, if is_delivering => {
                is_delivering = false;
                match joined.map_err(panicked).flatten() {
                    Ok(Some(last)) => break Ok(last),
                    Err(error) => break Err(error),
                    // A task before it has failed; it says why.
                    Ok(None) => {}
                }
            }
            () = tokio::time::sleep_until(rate.at) => rate.measure(),
        }
    };
    tasks.shutdown().await;
    if is_delivering {
        cancel.send_replace(true);
        if tokio::time::timeout(machine.options.stop_timeout, &mut delivery).await.is_err() {
            tracing::warn!("the sink did not answer and is abandoned");
            delivery.abort();
        }
    }
    ended
}

/// The measuring of rows per second.
struct Rate<'a> {
    reporter: &'a Reporter,
    rows_in: u64,
    at: Instant,
}

impl<'a> Rate<'a> {
    fn new(reporter: &'a Reporter) -> Self {
        Self { reporter, rows_in: reporter.rows_in_so_far(), at: Instant::now() + RATE_INTERVAL }
    }

    fn measure(&mut self) {
        let now = Instant::now();
        let time = RATE_INTERVAL + now.saturating_duration_since(self.at);
        self.rows_in = self.reporter.measure_rate(self.rows_in, time);
        self.at = now + RATE_INTERVAL;
    }
}

fn panicked(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Error::Bug(format!("a task panicked: {}", text.unwrap_or("it did not say why")))
        }
        Err(_) => Error::Stopped,
    }
}
