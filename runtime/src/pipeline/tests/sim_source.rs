//! A source of scripted partitions: batches of random sizes in random order of partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use tokio::sync::oneshot;

use super::oracle::Row;
use super::world::Life;
use crate::stage::TIME_TYPE;
use crate::{Assignment, Error, Partition, Result, Source, SourceBatch, SourceEvent};

/// Most rows of a batch.
const BATCH_ROWS_MAX: u64 = 6;

/// The source of a life.
pub(super) struct SimSource {
    life: Arc<Life>,
    /// The partitions that it reads, and those that other instances read.
    own: Vec<usize>,
    others: Option<Vec<usize>>,
    /// By partition that is its own: where it is, and whether its end was told.
    at: BTreeMap<usize, (usize, bool)>,
    /// What came back with the positions.
    tokens: BTreeMap<Partition, String>,
    answer: Option<oneshot::Receiver<()>>,
}

impl SimSource {
    /// Source number `number` of the case.
    pub(super) fn new(life: &Arc<Life>, number: usize) -> Self {
        let case = &life.world.case;
        let own = (number..case.partitions.len()).step_by(case.sources).collect();
        let others = case.is_whole.then(Vec::new);
        Self::with(life, own, others)
    }

    /// The only source of the case, as that instance of several reads it.
    pub(super) fn part(life: &Arc<Life>, instance: usize, instances: usize) -> Self {
        let all = 0..life.world.case.partitions.len();
        let (own, others) = all.partition(|partition| partition % instances == instance);
        let others = Some(others);
        Self::with(life, own, others)
    }

    fn with(life: &Arc<Life>, own: Vec<usize>, others: Option<Vec<usize>>) -> Self {
        let (at, tokens) = Default::default();
        Self { life: Arc::clone(life), own, others, at, tokens, answer: None }
    }

    /// The partitions that are its own.
    fn partitions(&self) -> impl Iterator<Item = usize> + use<> {
        self.own.clone().into_iter()
    }

    fn rows(&self, partition: usize) -> &[Row] {
        &self.life.world.case.partitions[partition]
    }

    /// The next batch of a partition, from which the position moves.
    fn batch(&mut self, partition: usize) -> SourceBatch {
        let from = self.at[&partition].0;
        let count = 1 + self.life.random(BATCH_ROWS_MAX) as usize;
        let until = self.rows(partition).len().min(from + count);
        let rows = &self.rows(partition)[from..until];
        let batch = SourceBatch {
            partition: name(partition),
            rows: batch(rows),
            sequences: (from as i64..until as i64).collect(),
            rejected: Vec::new(),
            next: until as i64,
            token: Some(token(until as i64)),
            marks: Vec::new(),
            bytes: rows.len() * 10,
        };
        self.at.insert(partition, (until, false));
        let mut durable = self.life.world.durable();
        durable.rows_given += (until - from) as u64;
        let under_way = durable.rows_given.saturating_sub(durable.rows_written);
        durable.rows_under_way_max = durable.rows_under_way_max.max(under_way);
        batch
    }
}

/// What is committed beside a position.
fn token(position: i64) -> String {
    format!("up to {position}")
}

pub(super) fn name(partition: usize) -> Partition {
    format!("p/{partition}").into()
}

/// The schema of the rows: `id`, `key`, `time`.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("key", DataType::Int64, false),
        Field::new("time", TIME_TYPE, false),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.id));
    let keys = Int64Array::from_iter_values(rows.iter().map(|row| row.key));
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.time_us));
    RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(keys), Arc::new(times)])
        .expect("columns of one length")
}

#[async_trait]
impl Source for SimSource {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    async fn assigned(&mut self) -> Result<Assignment> {
        if let Some(answer) = self.answer.take() {
            // Nothing that was read may still be on its way when partitions are reassigned.
            let _ = answer.await;
        }
        self.life.gate("source.assigned").await?;
        let partitions: Vec<_> = self.partitions().map(name).collect();
        let identity = self.life.world.case.identity.map(String::from);
        let identities = partitions.iter().filter_map(|p| Some((p.clone(), identity.clone()?)));
        let identities = identities.collect();
        let others = self.others.as_ref().map(|all| all.iter().map(|other| name(*other)).collect());
        Ok(Assignment { partitions, others, identities })
    }

    fn recall(&mut self, tokens: &BTreeMap<Partition, String>) {
        self.tokens.clone_from(tokens);
    }

    async fn start(&mut self, positions: &BTreeMap<Partition, i64>) -> Result<()> {
        self.life.gate("source.start").await?;
        for (partition, position) in positions.iter().filter(|(_, position)| **position > 0) {
            // Each comes back with the token that it was committed with.
            assert_eq!(self.tokens.get(partition), Some(&token(*position)), "{partition}");
        }
        let at = |partition| positions.get(&name(partition)).copied().unwrap_or_default();
        let all = self.partitions().map(|partition| (partition, (at(partition) as usize, false)));
        self.at = all.collect();
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        self.life.gate("source.next").await?;
        if self.life.is_reassign_asked.swap(false, Ordering::SeqCst) {
            let (sender, receiver) = oneshot::channel();
            self.answer = Some(receiver);
            return Ok(Some(SourceEvent::Reassign(sender)));
        }
        let open = self.partitions().filter(|partition| !self.at[partition].1);
        let has_rows = |partition: &usize| self.at[partition].0 < self.rows(*partition).len();
        let is_bounded = self.life.world.case.is_bounded;
        let choices: Vec<_> = open.filter(|p| is_bounded || has_rows(p)).collect();
        let Some(&partition) = choices.get(self.life.random(choices.len() as u64) as usize) else {
            if is_bounded {
                return Ok(None);
            }
            return std::future::pending().await;
        };
        if has_rows(&partition) {
            return Ok(Some(SourceEvent::Batch(self.batch(partition))));
        }
        self.at.entry(partition).and_modify(|at| at.1 = true);
        Ok(Some(SourceEvent::End(name(partition))))
    }

    fn lag(&self) -> BTreeMap<Partition, i64> {
        let ahead = self.at.iter();
        ahead.map(|(p, at)| (name(*p), (self.rows(*p).len() - at.0) as i64)).collect()
    }
}

/// The error that a life's gate gives where a test asks for one that may pass.
pub(super) fn passing_trouble() -> Error {
    Error::Transient("the network is away".into())
}
