//! The world that outlives a process, and the life of one process in it.
//!
//! Every operation of a source, the store, the sink or a stage passes a gate. A life can be told to
//! fail at the n-th gate: by an error, or by dying, after which none of its operations comes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::oracle::{Case, Row};
use super::sim_sink::{Committed, SimSink};
use super::sim_source::SimSource;
use super::sim_stage::{SimRows, SimWindows};
use crate::options::PipelineOptions;
use crate::pipeline::{Pipeline, SourceInput, Summary, WindowPart, run};
use crate::source::EventTime;
use crate::state::{Query, Store};
use crate::{Error, Result, Status, Stop, StopSignal};

/// What happens at a gate.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trouble {
    /// The process dies.
    Crash,
    /// The operation fails with this.
    Fail(Error),
    /// The pipeline is asked to stop.
    Stop(Stop),
    /// The partitions of one source are reassigned.
    Reassign,
}

/// A small generator of random numbers (xorshift), for scripts that can be repeated.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }
}

/// What is there when no process runs.
#[derive(Default)]
pub(super) struct Durable {
    /// What was committed, in order.
    pub(super) committed: Vec<Committed>,
    /// The files of the store.
    pub(super) files: BTreeMap<String, Bytes>,
    /// Rows that sources gave out and that sinks were given, in all lives.
    pub(super) rows_given: u64,
    pub(super) rows_written: u64,
    /// The most rows that were on their way at one time.
    pub(super) rows_under_way_max: u64,
}

/// The world.
pub(super) struct World {
    pub(super) case: Case,
    durable: Mutex<Durable>,
}

impl World {
    pub(super) fn new(case: Case) -> Arc<Self> {
        Arc::new(Self { case, durable: Mutex::default() })
    }

    /// The same world, in which the sources are others.
    pub(super) fn with_case(&self, case: Case) -> Arc<Self> {
        Arc::new(Self { case, durable: Mutex::new(std::mem::take(&mut *self.durable())) })
    }

    pub(super) fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().expect("no panic in a lock")
    }

    /// The rows of all commits, as text, in order.
    pub(super) fn results(&self) -> Vec<String> {
        self.durable().committed.iter().flat_map(|commit| commit.rows.clone()).collect()
    }
}

/// One process.
pub(super) struct Life {
    pub(super) world: Arc<World>,
    trouble: Mutex<BTreeMap<u64, Trouble>>,
    passed: Mutex<u64>,
    random: Mutex<Random>,
    is_dead: AtomicBool,
    died: Notify,
    stop: watch::Sender<Stop>,
    pub(super) is_reassign_asked: AtomicBool,
    log: Mutex<Vec<&'static str>>,
}

/// How a life ended.
#[derive(Debug)]
pub(super) enum Fate {
    Died,
    Ended(Result<Summary>),
}

impl Life {
    /// A life in which the troubles happen at gates of these numbers, from 1.
    pub(super) fn new(
        world: &Arc<World>,
        seed: u64,
        trouble: impl IntoIterator<Item = (u64, Trouble)>,
    ) -> (Arc<Self>, StopSignal) {
        let (stop, signal) = StopSignal::channel();
        let life = Self {
            world: Arc::clone(world),
            trouble: Mutex::new(trouble.into_iter().collect()),
            passed: Mutex::new(0),
            random: Mutex::new(Random::new(seed)),
            is_dead: AtomicBool::new(false),
            died: Notify::new(),
            stop,
            is_reassign_asked: AtomicBool::new(false),
            log: Mutex::default(),
        };
        (Arc::new(life), signal)
    }

    /// Passes a gate: waits a random while, and meets the trouble that is set for it.
    pub(super) async fn gate(&self, name: &'static str) -> Result<()> {
        for _ in 0..self.random(4) {
            tokio::task::yield_now().await;
        }
        if self.is_dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let number = {
            let mut passed = self.passed.lock().expect("no panic in a lock");
            *passed += 1;
            *passed
        };
        self.log.lock().expect("no panic in a lock").push(name);
        let trouble = self.trouble.lock().expect("no panic in a lock").remove(&number);
        match trouble {
            None => Ok(()),
            Some(Trouble::Fail(error)) => Err(error),
            Some(Trouble::Crash) => {
                self.is_dead.store(true, Ordering::SeqCst);
                self.died.notify_one();
                std::future::pending().await
            }
            Some(Trouble::Stop(stop)) => {
                self.stop.send_replace(stop);
                Ok(())
            }
            Some(Trouble::Reassign) => {
                self.is_reassign_asked.store(true, Ordering::SeqCst);
                Ok(())
            }
        }
    }

    pub(super) fn random(&self, bound: u64) -> u64 {
        self.random.lock().expect("no panic in a lock").below(bound)
    }

    /// Asks the pipeline to stop.
    pub(super) fn stop(&self, stop: Stop) {
        self.stop.send_replace(stop);
    }

    /// The names of the gates that were passed.
    pub(super) fn log(&self) -> Vec<&'static str> {
        self.log.lock().expect("no panic in a lock").clone()
    }

    /// Runs the world's case until the pipeline ends or the process dies.
    pub(super) async fn live(self: &Arc<Self>, signal: StopSignal) -> Fate {
        self.live_with(signal, |_| {}).await
    }

    /// The same with a pipeline that is changed before it runs.
    pub(super) async fn live_with(
        self: &Arc<Self>,
        signal: StopSignal,
        change: impl FnOnce(&mut Pipeline),
    ) -> Fate {
        let (status, mut seen) = watch::channel(Status::default());
        let mut pipeline = self.pipeline();
        change(&mut pipeline);
        let mut running = Box::pin(run(pipeline, signal, status));
        let mut before = (0, None);
        loop {
            tokio::select! {
                biased;
                () = self.died.notified() => return Fate::Died,
                ended = &mut running => return Fate::Ended(ended),
                Ok(()) = seen.changed() => {
                    let now = seen.borrow_and_update().clone();
                    let now = (now.attempts, now.watermark_us);
                    assert!(now >= before, "the watermark went back");
                    before = now;
                }
            }
        }
    }

    fn source(self: &Arc<Self>, number: usize) -> SourceInput {
        SourceInput {
            name: format!("source {number}"),
            source: Box::new(SimSource::new(self, number)),
            event_time: EventTime::Column(2),
            delay_us: self.world.case.delay_us,
            windows: self.world.case.windows,
        }
    }

    fn pipeline(self: &Arc<Self>) -> Pipeline {
        let case = &self.world.case;
        let windows = case.windows.map(|kind| WindowPart {
            kind,
            keys: case.keys(),
            lateness_us: 0,
            early_us: None,
            stage: Box::new(SimWindows::new(self)),
        });
        Pipeline {
            name: "sim".into(),
            query: Query { fingerprint: case.describe(), description: case.describe() },
            sources: (0..case.sources).map(|number| self.source(number)).collect(),
            rows: Arc::new(SimRows::new(self)),
            windows,
            sink: Box::new(SimSink::new(self)),
            store: Arc::new(SimStore(Arc::clone(self))),
            options: options(),
            ignore_state: false,
        }
    }
}

/// Options that make much happen in little time. No partition is ever idle.
fn options() -> PipelineOptions {
    let mut options = PipelineOptions::default();
    for (key, value) in [
        ("batch_rows", "7"),
        ("linger", "0"),
        ("queue_rows", "20"),
        ("checkpoint_interval", "1 ms"),
        ("idle_timeout", "1 h"),
        ("retry_backoff_max", "0"),
        ("retries", "3"),
        ("row_tasks", "3"),
    ] {
        options.set(key, value).expect("a known option");
    }
    options
}

/// Runs a case from nothing to its end, and gives the names of the gates it passed.
pub(super) async fn undisturbed(case: &Case, seed: u64) -> (Arc<World>, Vec<&'static str>) {
    let world = World::new(case.clone());
    let (life, signal) = Life::new(&world, seed, []);
    match life.live(signal).await {
        Fate::Ended(Ok(_)) => (world, life.log()),
        fate => panic!("{}: {fate:?}", case.describe()),
    }
}

/// Files in the world.
struct SimStore(Arc<Life>);

#[async_trait]
impl Store for SimStore {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let [before, after] = match name.starts_with("committed-") {
            true => ["store.note", "store.note.done"],
            false => ["store.put", "store.put.done"],
        };
        self.0.gate(before).await?;
        self.0.world.durable().files.insert(name.to_string(), bytes);
        self.0.gate(after).await
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        self.0.gate("store.get").await?;
        Ok(self.0.world.durable().files.get(name).cloned())
    }

    async fn list(&self) -> Result<Vec<String>> {
        self.0.gate("store.list").await?;
        Ok(self.0.world.durable().files.keys().cloned().collect())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.0.gate("store.delete").await?;
        self.0.world.durable().files.remove(name);
        Ok(())
    }

    fn place(&self) -> String {
        "memory".into()
    }
}

/// The rows of each partition of a case.
pub(super) type Partitions = Vec<Vec<Row>>;
