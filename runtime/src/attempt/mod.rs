//! One attempt to run a pipeline: from committed progress to an end, a failure, or partitions that
//! are reassigned.
//!
//! Partitions are assigned, the sink is recovered and says what is committed, the state that this
//! names is read, the sources begin there, and the tasks run: readers, ingest, flow, delivery.
//!
//! - *Invariant:* nothing survives an attempt but what is committed. Sources, sink and window stage
//!   are shared with the next one behind locks, which a task holds until it has really ended.

mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use futures::future::try_join_all;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::deliver::SharedSink;
use crate::flow::{OpenWindows, SharedStage};
use crate::ingest::SharedSource;
use crate::message::Last;
use crate::options::PipelineOptions;
use crate::partitions::Partitions;
use crate::positions::Positions;
use crate::sink::{Identities, Tokens};
use crate::source::EventTime;
use crate::state::{
    Epoch, Hold, Noted, NotedProgress, ProgressNote, Query, ReadNow, Store, lost_progress,
    read_epoch, refuse_lost_progress, restore_windows,
};
use crate::status::{Phase, Reporter};
use crate::stop::StopSignal;
use crate::watermark::{WatermarkRule, Watermarks};
use crate::window::{WindowKind, WindowRows, WindowSpec};
use crate::{Assignment, Error, Partition, Progress, Result, RowStage, Sink};

/// After this time without partitions an instance stands by.
const STAND_BY_AFTER: Duration = Duration::from_secs(3);

/// How long state that another process has is waited for: one that gives a stream over ends soon.
const HOLD_PATIENCE: Duration = Duration::from_secs(10);
const HOLD_POLL: Duration = Duration::from_millis(100);

/// A source, as attempts share it.
pub(crate) struct MachineSource {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) source: SharedSource,
    pub(crate) event_time: EventTime,
    pub(crate) windows: Option<WindowKind>,
    pub(crate) delay_us: i64,
    pub(crate) max_ahead_us: Option<i64>,
    pub(crate) is_live: bool,
}

/// The windows, as attempts share them.
pub(crate) struct MachineWindows {
    pub(crate) kind: WindowKind,
    pub(crate) keys: Vec<usize>,
    pub(crate) lateness_us: i64,
    pub(crate) early: Option<Duration>,
    pub(crate) stage: SharedStage,
}

/// A pipeline, as attempts share it.
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) query: Query,
    pub(crate) sources: Vec<MachineSource>,
    pub(crate) rows: Arc<dyn RowStage>,
    pub(crate) windows: Option<MachineWindows>,
    pub(crate) sink: SharedSink,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: PipelineOptions,
    pub(crate) ignore_state: bool,
    /// The epoch that was found and ignored at the first start.
    pub(crate) ignored_epoch: Option<u64>,
    pub(crate) reporter: Arc<Reporter>,
}

/// How an attempt ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Complete,
    AlreadyComplete,
    Drained,
    /// Partitions were reassigned.
    Reassigned,
}

/// Where an attempt begins.
struct Start {
    /// The number of the last commit.
    epoch: u64,
    /// The state that it named.
    state: Option<String>,
    positions: Positions,
    tokens: Tokens,
    partitions: Partitions,
    watermarks: Watermarks,
    /// The watermark that the state was made at.
    watermark_us: i64,
    windows: Option<OpenWindows>,
    /// What the input partitions are.
    identities: Identities,
    /// What is noted of earlier commits.
    noted: NotedProgress,
    /// What is read.
    read: ReadNow,
}

/// One attempt.
pub(crate) struct Attempt<'a> {
    machine: &'a mut Machine,
    stop: StopSignal,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(machine: &'a mut Machine, stop: StopSignal) -> Self {
        Self { machine, stop }
    }

    /// Runs it.
    ///
    /// # Errors
    /// Whatever failed first.
    pub(crate) async fn run(mut self) -> Result<Ended> {
        self.machine.reporter.phase(Phase::Starting);
        let Some(assignments) = self.assignments().await? else { return Ok(Ended::Drained) };
        self.check_whole(&assignments)?;
        let Some(_hold) = self.hold().await? else { return Ok(Ended::Drained) };
        let mut sink = Arc::clone(&self.machine.sink).lock_owned().await;
        self.check_known(sink.takes_marks(), &assignments)?;
        let Some(start) = self.recover(&mut sink, &assignments).await? else {
            return Ok(Ended::AlreadyComplete);
        };
        tasks::start_sources(self.machine, &start.positions, &start.tokens).await?;
        self.machine.reporter.phase(Phase::Running);
        tracing::info!(epoch = start.epoch, "running");
        match tasks::run(self.machine, start, sink, &self.stop).await? {
            Last::Complete => Ok(Ended::Complete),
            Last::Drain => Ok(Ended::Drained),
            Last::Reassign(answer) => {
                // A source that no longer waits for the answer is asked for partitions again
                // anyway.
                let _ = answer.send(());
                Ok(Ended::Reassigned)
            }
        }
    }

    /// The partitions of all sources, once there are some. `None` when it should stop before.
    async fn assignments(&mut self) -> Result<Option<Vec<Assignment>>> {
        let Self { machine, stop } = self;
        let mut waiting = Box::pin(assigned(&machine.sources));
        let mut is_standing_by = false;
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => return Ok(None),
                assignments = &mut waiting => return assignments.map(Some),
                () = tokio::time::sleep(STAND_BY_AFTER), if !is_standing_by => {
                    machine.reporter.phase(Phase::StandingBy);
                    is_standing_by = true;
                }
            }
        }
    }

    /// Waits a while until nobody else has the state. `None` when it should stop before.
    async fn hold(&mut self) -> Result<Option<Hold>> {
        if self.machine.windows.is_none() {
            return Ok(Some(Hold::default()));
        }
        let patience = Instant::now() + HOLD_PATIENCE;
        loop {
            if let Some(hold) = self.machine.store.hold().await? {
                return Ok(Some(hold));
            }
            if Instant::now() >= patience {
                return Err(Error::External(format!(
                    "the state in '{}' is used by another process; stop that process, or use another folder",
                    self.machine.store.place()
                )));
            }
            tokio::select! {
                biased;
                () = self.stop.requested() => return Ok(None),
                () = tokio::time::sleep(HOLD_POLL) => {}
            }
        }
    }

    /// A window must see all rows of its time.
    fn check_whole(&self, assignments: &[Assignment]) -> Result<()> {
        let sources = self.machine.sources.iter().zip(assignments);
        let part = sources.into_iter().find(|(_, assignment)| !assignment.is_whole());
        match part {
            Some((source, _)) if self.machine.windows.is_some() => Err(Error::Option(format!(
                "other instances read some partitions of source '{}', but a window must see all of \
                 them: stop the others, or let them share the work before the windows through an exchange",
                source.name
            ))),
            _ => Ok(()),
        }
    }

    /// Who has the windows must know all partitions.
    fn check_known(&self, takes_marks: bool, assignments: &[Assignment]) -> Result<()> {
        let mut sources = self.machine.sources.iter().zip(assignments);
        match sources.find(|(_, assignment)| takes_marks && assignment.others.is_none()) {
            Some((source, _)) => Err(Error::Option(format!(
                "source '{}' has partitions that only other instances know, so an exchange can't say when all have passed a \
                 window; name every topic that it reads",
                source.name
            ))),
            None => Ok(()),
        }
    }

    /// What is committed and the state of it. `None` when everything was complete.
    async fn recover(
        &mut self,
        sink: &mut OwnedMutexGuard<Box<dyn Sink>>,
        assignments: &[Assignment],
    ) -> Result<Option<Start>> {
        let machine = &mut *self.machine;
        let names = machine.sources.iter().map(|source| source.name.clone());
        let by_source = names.zip(assignments.iter().cloned()).collect();
        let found = sink.recover(&machine.name, &by_source).await?;
        let base = found.as_ref().map_or(0, |progress| progress.epoch);
        machine.reporter.resume(base);
        let is_ignored = machine.ignores(base);
        let progress = if is_ignored { None } else { found };
        if let Some(doubt) = progress.as_ref().and_then(|progress| progress.doubt.clone()) {
            return Err(Error::State(doubt));
        }
        let read = machine.read_now(assignments);
        refuse_other_partitions(progress.as_ref(), &read)?;
        let noted = ProgressNote::read_all(machine.store.as_ref()).await?;
        if !is_ignored && (machine.windows.is_some() || sink.keeps_progress_apart()) {
            machine.refuse_lost(&noted, progress.as_ref(), &read).await?;
        }
        let state = machine.read_state(progress.as_ref()).await?;
        if let Some(progress) = progress.as_ref().filter(|progress| progress.is_complete) {
            let unread = machine.unread(progress).await?;
            match unread.first() {
                None => return Ok(None),
                Some(_) if machine.reads_on(sink.takes_marks()).await => {}
                Some((source, what)) => return Err(unread_error(source, what)),
            }
        }
        let partitions = Partitions::new(assignments)?;
        let watermarks = machine.watermarks(&partitions, state.as_ref())?;
        let watermark_us = state.as_ref().map_or(i64::MIN, |state| state.watermarks.combined_us);
        let windows = machine.open_windows(state.as_ref(), &partitions).await?;
        let mut positions = progress.as_ref().map(|p| p.positions.clone()).unwrap_or_default();
        let mut tokens = progress.as_ref().map(|p| p.tokens.clone()).unwrap_or_default();
        for (source, assignment) in machine.sources.iter().zip(assignments) {
            if let (false, Some(at)) = (assignment.is_whole(), positions.get_mut(&source.name)) {
                // The others' progress is theirs to commit.
                at.retain(|partition, _| assignment.partitions.contains(partition));
                let at = tokens.entry(source.name.clone()).or_default();
                at.retain(|own, _| assignment.partitions.iter().any(|other| **other == **own));
            }
        }
        let (state, mut identities) = match progress {
            Some(progress) => (progress.state, progress.identities),
            None => (None, Identities::new()),
        };
        for (source, partitions) in &read {
            let known = partitions
                .iter()
                .filter_map(|(name, identity)| Some((name.to_string(), identity.clone()?)));
            identities.entry(source.clone()).or_default().extend(known);
        }
        identities.retain(|_, partitions| !partitions.is_empty());
        Ok(Some(Start {
            epoch: base,
            state,
            identities,
            noted,
            read,
            positions,
            tokens,
            partitions,
            watermarks,
            watermark_us,
            windows,
        }))
    }
}

/// The refusal to call a pipeline complete whose source has more by now.
fn unread_error(source: &str, what: &str) -> Error {
    Error::State(format!(
        "source '{source}' was read to its end by an earlier run, and since then {what}; --ignore-state reads all of it again \
         and adds to the existing results"
    ))
}

/// Rejects positions in partitions that others of their names have taken the place of.
fn refuse_other_partitions(progress: Option<&Progress>, read: &ReadNow) -> Result<()> {
    let Some(progress) = progress else { return Ok(()) };
    for (source, partitions) in read {
        let Some(known) = progress.identities.get(source) else { continue };
        let other = partitions.iter().find(|(name, now)| {
            let then = known.get::<str>(name);
            then.is_some_and(|then| now.as_ref().is_some_and(|now| now != then))
        });
        if let Some((name, _)) = other {
            let position = progress.positions.get(source).and_then(|all| all.get(name));
            return Err(Error::State(format!(
                "partition '{name}' of source '{source}' is not the one that was read up to position {}: its topic was deleted \
                 and created again under the same name; start over with --ignore-state to read the new one",
                position.copied().unwrap_or_default()
            )));
        }
    }
    Ok(())
}

impl Machine {
    /// By source what this instance reads, and what each partition is.
    fn read_now(&self, assignments: &[Assignment]) -> ReadNow {
        let sources = self.sources.iter().zip(assignments).map(|(source, given)| {
            let identity = |name: &Partition| given.identities.get(name).cloned();
            let all = given.partitions.iter().map(|name| (Partition::clone(name), identity(name)));
            (source.name.clone(), all.collect())
        });
        sources.collect()
    }

    /// Rejects to start over where there was progress that no longer exists.
    async fn refuse_lost(
        &self,
        noted: &NotedProgress,
        progress: Option<&Progress>,
        read: &ReadNow,
    ) -> Result<()> {
        let has_position = |source: &str, name: &Partition| {
            let positions = progress.and_then(|progress| progress.positions.get(source));
            positions.is_some_and(|positions| positions.contains_key(name))
        };
        for (source, partitions) in read {
            let lacking = partitions.iter().filter(|(name, _)| !has_position(source, name));
            for (name, identity) in lacking {
                match noted.find(source, name, identity.as_deref()) {
                    Noted::Never => {}
                    Noted::Same => {
                        return Err(lost_progress(self.store.as_ref(), &self.name, name));
                    }
                    Noted::Another => tracing::warn!(
                        "partition '{name}' of source '{source}' is not the same as before: its topic was deleted and created \
                         again, so it is read from where a new pipeline begins"
                    ),
                }
            }
        }
        match (progress, &self.windows) {
            (None, Some(_)) => refuse_lost_progress(self.store.as_ref(), &self.name).await,
            _ => Ok(()),
        }
    }

    /// Whether nothing but the sink keeps two instances apart: no source is shared in a group.
    pub(crate) fn is_uncoordinated(&self) -> bool {
        !self.sources.iter().any(|source| source.is_live)
    }

    /// Whether progress with that epoch is to be ignored: it is what was found at the first start,
    /// and nothing has been committed since.
    fn ignores(&mut self, epoch: u64) -> bool {
        let first = *self.ignored_epoch.get_or_insert(epoch);
        self.ignore_state && first == epoch
    }

    /// By source what has come since a pipeline was complete.
    async fn unread(&self, progress: &Progress) -> Result<Vec<(String, String)>> {
        let nowhere = BTreeMap::new();
        let mut unread = Vec::new();
        for source in &self.sources {
            let positions = progress.positions.get(&source.name).unwrap_or(&nowhere);
            if let Some(what) = source.source.lock().await.unread(positions).await? {
                unread.push((source.name.clone(), what));
            }
        }
        Ok(unread)
    }

    /// Whether a complete pipeline may read what has come since: its windows would all be closed,
    /// and behind an exchange they are another pipeline's.
    async fn reads_on(&self, takes_marks: bool) -> bool {
        if takes_marks || self.windows.is_some() {
            return false;
        }
        for source in &self.sources {
            if !source.source.lock().await.is_log() {
                return false;
            }
        }
        true
    }

    /// The state that the progress names.
    async fn read_state(&self, progress: Option<&Progress>) -> Result<Option<Epoch>> {
        let Some(progress) = progress else { return Ok(None) };
        let name = match (&progress.state, &self.windows) {
            (None, None) => return Ok(None),
            (Some(name), Some(_)) => name,
            (kept, _) => {
                let (was, is) = match kept {
                    Some(_) => ("had windows", "has none"),
                    None => ("had no windows", "has some"),
                };
                return Err(Error::State(format!(
                    "the committed progress of pipeline '{}' is of a query that {was}, but this one {is}; give the pipeline \
                     another name, or start over with --ignore-state",
                    self.name
                )));
            }
        };
        let epoch = read_epoch(self.store.as_ref(), name, &self.name, &self.query).await?;
        if epoch.positions != progress.positions {
            return Err(Error::State(format!(
                "state '{name}' in {} does not match the committed progress; restore the positions that were committed with it, \
                 or start over with --ignore-state",
                self.store.place()
            )));
        }
        Ok(Some(epoch))
    }

    fn watermarks(&self, partitions: &Partitions, state: Option<&Epoch>) -> Result<Watermarks> {
        let idle = u64::try_from(self.options.idle_timeout.as_millis()).ok();
        let rules = self.sources.iter().map(|source| WatermarkRule {
            delay_us: source.delay_us,
            // Who reads the rows first knows whether a partition is idle.
            idle_timeout_ms: idle.filter(|_| source.event_time != EventTime::Marks),
            max_ahead_us: source.max_ahead_us,
        });
        let mut watermarks = Watermarks::new(rules.collect());
        if let Some(state) = state {
            watermarks.restore(&state.watermarks)?;
        }
        for (number, source) in self.sources.iter().enumerate() {
            match source.event_time {
                EventTime::Marks => watermarks.resume(number),
                _ => watermarks.assign(number, partitions.of(number), 0),
            }
        }
        Ok(watermarks)
    }

    /// The open windows of the state, and the stage as it was.
    async fn open_windows(
        &self,
        state: Option<&Epoch>,
        partitions: &Partitions,
    ) -> Result<Option<OpenWindows>> {
        let Some(windows) = &self.windows else { return Ok(None) };
        let spec = WindowSpec {
            kind: windows.kind,
            schema: self.rows.schema(),
            keys: windows.keys.clone(),
            lateness_us: windows.lateness_us,
            bytes_max: self.options.memory_limit,
        };
        let rows = match state.map(|state| state.windows.as_slice()) {
            None => WindowRows::new(spec)?,
            Some([saved]) => restore_windows(self.store.as_ref(), spec, saved).await?,
            Some(saved) => {
                let count = saved.len();
                return Err(Error::State(format!("the state has {count} window operators, not 1")));
            }
        };
        let mut stage = Arc::clone(&windows.stage).lock_owned().await;
        stage.restore(state.map_or(&[], |state| state.tables.as_slice()))?;
        let has_marks = |source: &MachineSource| source.event_time == EventTime::Marks;
        let is_numbered_here = !self.sources.iter().any(has_marks);
        Ok(Some(OpenWindows {
            rows,
            stage,
            early: windows.early,
            partitions: is_numbered_here.then(|| partitions.clone()),
            pipeline: self.name.clone(),
            query: self.query.clone(),
        }))
    }
}

/// Waits until every source has partitions.
async fn assigned(sources: &[MachineSource]) -> Result<Vec<Assignment>> {
    try_join_all(sources.iter().map(async |source| source.source.lock().await.assigned().await))
        .await
}
