//! Windows behind an exchange: several instances read the partitions, one has the windows, and the
//! results are those of one instance that does it all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::Notify;

use super::oracle::{Case, KINDS};
use super::sim_source::{SimSource, passing_trouble, schema};
use super::world::{Fate, Life, Random, Trouble, World};
use crate::stage::with_hidden_columns;
use crate::{
    Assignment, Delivery, Error, EventTime, Mark, Output, Partition, Passing, Progress, Rejected,
    Result, Sink, Source, SourceBatch, SourceEvent, SourceInput,
};

/// The topic between the pipelines.
#[derive(Default)]
struct Topic {
    entries: Mutex<Vec<Entry>>,
    /// By instance what it has committed.
    progress: Mutex<BTreeMap<usize, Progress>>,
    grown: Notify,
}

#[derive(Clone)]
enum Entry {
    Rows(RecordBatch),
    Marks(Vec<Mark>),
    Rejected(Vec<Rejected>),
}

/// Where an instance writes.
struct Writer {
    life: Arc<Life>,
    topic: Arc<Topic>,
    instance: usize,
    open: Vec<Entry>,
}

#[async_trait]
impl Sink for Writer {
    async fn recover(
        &mut self,
        _pipeline: &str,
        _assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        self.open.clear();
        self.life.gate("exchange.recover").await?;
        Ok(self.topic.progress.lock().expect("a lock").get(&self.instance).cloned())
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        self.life.gate("exchange.write").await?;
        self.open.push(match output {
            Output::Rows(rows) => Entry::Rows(rows.clone()),
            Output::Marks(marks) => Entry::Marks(marks.to_vec()),
            Output::Rejected(records) => Entry::Rejected(records.to_vec()),
            Output::Late(_) => unreachable!("nothing is late without windows"),
        });
        Ok(())
    }

    async fn commit(&mut self, progress: &Progress) -> Result<()> {
        self.life.gate("exchange.commit").await?;
        self.topic.entries.lock().expect("a lock").append(&mut self.open);
        self.topic.progress.lock().expect("a lock").insert(self.instance, progress.clone());
        self.topic.grown.notify_waiters();
        self.life.gate("exchange.committed").await
    }

    async fn abort(&mut self) -> Result<()> {
        self.open.clear();
        Ok(())
    }

    fn takes_rejected(&self) -> bool {
        true
    }

    fn takes_late(&self) -> bool {
        false
    }

    fn takes_marks(&self) -> bool {
        true
    }

    fn promise(&self) -> Delivery {
        Delivery::ExactlyOnce
    }
}

/// Where the pipeline with the windows reads.
struct Reader {
    life: Arc<Life>,
    topic: Arc<Topic>,
    next: usize,
}

#[async_trait]
impl Source for Reader {
    fn schema(&self) -> SchemaRef {
        with_hidden_columns(&schema())
    }

    async fn assigned(&mut self) -> Result<Assignment> {
        Ok(Assignment::whole(vec!["exchange/0".into()]))
    }

    async fn start(&mut self, positions: &BTreeMap<Partition, i64>) -> Result<()> {
        self.life.gate("source.start").await?;
        self.next = positions.get("exchange/0").copied().unwrap_or_default() as usize;
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        self.life.gate("source.next").await?;
        loop {
            let grown = self.topic.grown.notified();
            let entry = self.topic.entries.lock().expect("a lock").get(self.next).cloned();
            if let Some(entry) = entry {
                self.next += 1;
                return Ok(Some(SourceEvent::Batch(batch(entry, self.next as i64))));
            }
            grown.await;
        }
    }
}

fn batch(entry: Entry, next: i64) -> SourceBatch {
    let mut batch = SourceBatch {
        partition: "exchange/0".into(),
        rows: RecordBatch::new_empty(with_hidden_columns(&schema())),
        sequences: Vec::new(),
        rejected: Vec::new(),
        next,
        token: None,
        marks: Vec::new(),
        bytes: 10,
    };
    match entry {
        Entry::Rows(rows) => batch.rows = rows,
        Entry::Marks(marks) => batch.marks = marks,
        Entry::Rejected(records) => batch.rejected = records,
    }
    batch
}

/// Runs one of several instances that read, to its end.
async fn read(case: &Case, topic: &Arc<Topic>, instance: (usize, usize), seed: u64) {
    let (instance, instances) = instance;
    let world = World::new(case.clone());
    let (life, signal) = Life::new(&world, seed, troubles(seed));
    let (inner, topic) = (Arc::clone(&life), Arc::clone(topic));
    let fate = life.live_with(signal, |pipeline| {
        pipeline.sources[0].source = Box::new(SimSource::part(&inner, instance, instances));
        pipeline.windows = None;
        pipeline.sink = Box::new(Writer { life: inner, topic, instance, open: Vec::new() });
    });
    let fate = fate.await;
    assert!(matches!(fate, Fate::Ended(Ok(_))), "instance {instance}: {fate:?}");
}

/// Failures that pass, at random gates.
fn troubles(seed: u64) -> Vec<(u64, Trouble)> {
    let mut random = Random::new(seed);
    (0..2).map(|_| (1 + random.below(200), Trouble::Fail(passing_trouble()))).collect()
}

/// Runs the pipeline with the windows to its end, or until it dies.
async fn windows(
    world: &Arc<World>,
    topic: &Arc<Topic>,
    seed: u64,
    more: Vec<(u64, Trouble)>,
) -> Fate {
    let (life, signal) = Life::new(world, seed, troubles(seed).into_iter().chain(more));
    let (inner, topic) = (Arc::clone(&life), Arc::clone(topic));
    let fate = life.live_with(signal, |pipeline| {
        let reader = Reader { life: inner, topic, next: 0 };
        pipeline.sources = vec![SourceInput {
            name: "exchange".into(),
            source: Box::new(reader),
            event_time: EventTime::Marks,
            delay_us: 0,
            windows: None,
        }];
        pipeline.rows = Arc::new(Passing(with_hidden_columns(&schema())));
    });
    fate.await
}

#[tokio::test]
async fn windows_behind_an_exchange_see_what_all_instances_read() {
    for (seed, kind) in (0..60).zip(KINDS.into_iter().flatten().cycle()) {
        let mut case = Case::new(Some(kind), 3, 60, seed);
        case.partitions[1][3].is_poison = true;
        let world = World::new(case.clone());
        let topic = Arc::new(Topic::default());
        let reading = async {
            tokio::join!(
                read(&case, &topic, (0, 2), 2 * seed + 1000),
                read(&case, &topic, (1, 2), 2 * seed + 1001)
            )
        };
        let crash = [(10 + 3 * seed, Trouble::Crash)];
        let looking = async {
            loop {
                match windows(&world, &topic, seed, crash.to_vec()).await {
                    Fate::Ended(ended) => return ended,
                    Fate::Died => {}
                }
                if let Fate::Ended(ended) = windows(&world, &topic, seed + 500, Vec::new()).await {
                    return ended;
                }
            }
        };
        let (_, ended) = tokio::join!(reading, looking);
        let ended = ended.expect("complete");
        assert_eq!(ended.status.rows_late, 0, "seed {seed}");
        assert_eq!(world.results(), case.expected(), "seed {seed}");
        let rejected: Vec<String> =
            world.durable().committed.iter().flat_map(|c| c.rejected.clone()).collect();
        assert_eq!(rejected, case.rejected());
    }
}

#[tokio::test]
async fn an_exchange_of_unknown_partitions_is_refused() {
    let case = Case::new(KINDS[1], 2, 10, 1);
    let world = World::new(Case { is_whole: false, ..case });
    let (life, signal) = Life::new(&world, 1, []);
    let inner = Arc::clone(&life);
    let fate = life.live_with(signal, |pipeline| {
        pipeline.windows = None;
        let topic = Arc::default();
        pipeline.sink = Box::new(Writer { life: inner, topic, instance: 0, open: Vec::new() });
    });
    let Fate::Ended(Err(Error::Option(line))) = fate.await else { panic!("it is not refused") };
    assert!(
        line.contains("'source 0'") && line.contains("name every topic that it reads"),
        "{line}"
    );
}
