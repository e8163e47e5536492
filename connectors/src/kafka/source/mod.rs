//! Topics as a source.
//!
//! A thread serves the consumer group, a task reads each partition, and this puts together what
//! they say. An attempt of the pipeline is one lease of the group: what was read under a lease that
//! has ended is given up.

mod reading;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use rdkafka::consumer::Consumer;
use sembla_runtime::{Assignment, Error, Partition, Result, Source, SourceEvent, random};
use tokio::sync::watch;

use super::client::{ANSWER_TIMEOUT, blocking};
use super::consumer::ConsumerThread;
use super::exchange::make_topic;
use super::group::{Group, GroupConsumer, InGroup, Standing, revoked};
use super::identity::Ids;
use super::options::SOURCE_OPTIONS;
use super::positions::TopicPartition;
use super::probe;
use super::settings::{SourceSettings, Topics};
use super::topics::partitions_of_topics;
use crate::connector::ReadMode;
use crate::formats::{Column, DECODE_OPTIONS, Decoder, schema_of};
use crate::options::{OptionDef, Options};
use reading::Reading;

/// How often an instance that stands by looks whether it is its turn.
const STAND_BY_POLL: Duration = Duration::from_millis(500);

/// A source of the records of Kafka topics.
///
/// Dropping it leaves the consumer group, so that others need not wait for its session to end; that
/// takes some milliseconds.
pub struct KafkaSource {
    options: Options,
    settings: SourceSettings,
    records: Records,
    place: InGroup,
    group: Group,
    thread: Option<ConsumerThread>,
    /// What the topics are.
    ids: Ids,
    /// What `assigned` has told.
    given: Option<(u64, Vec<TopicPartition>)>,
    /// What `start` began.
    reading: Option<Reading>,
}

/// What the records are.
enum Records {
    /// Rows in a format.
    Rows(Vec<Column>),
    /// Rows of a pipeline's other half.
    Exchange(SchemaRef),
}

impl KafkaSource {
    /// All options of a source.
    pub fn options() -> Vec<OptionDef> {
        SOURCE_OPTIONS.iter().chain(DECODE_OPTIONS).copied().collect()
    }

    /// A source with these columns and options, for a pipeline of that name. Nothing is connected
    /// yet. While it is read, a partition holds up to `queue_rows` records or `queue_bytes`.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    pub fn new(pipeline: &str, columns: &[Column], given: &[(String, String)]) -> Result<Self> {
        Self::with(pipeline, columns, &Options::read("a kafka source", &Self::options(), given)?)
    }

    /// The same with options that are read.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    pub(super) fn with(pipeline: &str, columns: &[Column], options: &Options) -> Result<Self> {
        let settings = SourceSettings::new(pipeline, options)?;
        Decoder::new(columns, options)?;
        Ok(Self::of(options.clone(), settings, Records::Rows(columns.to_vec())))
    }

    /// The reading end of an exchange.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    pub(super) fn of_exchange(
        pipeline: &str,
        schema: SchemaRef,
        given: &[(String, String)],
    ) -> Result<Self> {
        let options = Options::read("an exchange", &Self::options(), given)?;
        let settings = SourceSettings::new(pipeline, &options)?;
        Ok(Self::of(options, settings, Records::Exchange(schema)))
    }

    fn of(options: Options, settings: SourceSettings, records: Records) -> Self {
        Self {
            group: Group::new(&settings.group),
            options,
            settings,
            records,
            place: InGroup::Shares,
            thread: None,
            ids: Ids::default(),
            given: None,
            reading: None,
        }
    }

    /// The same, read in another way.
    #[must_use]
    pub fn reading(mut self, mode: ReadMode) -> Self {
        self.place = match mode {
            ReadMode::Shared => InGroup::Shares,
            ReadMode::Alone => InGroup::Alone,
            ReadMode::Bounded => InGroup::Outside,
        };
        self.settings.stops_at_end |= mode == ReadMode::Bounded;
        self
    }

    /// What is wrong with its cluster and its topics, asked within about this time. Nothing is
    /// joined or read.
    pub fn problems(&self, within: Duration) -> impl Future<Output = Vec<Error>> + Send + use<> {
        let topics = match (&self.records, &self.settings.topics) {
            (Records::Rows(_), Topics::Named(names)) => {
                names.iter().map(|name| ("topic", name.clone())).collect()
            }
            _ => Vec::new(),
        };
        probe::check(self.settings.connection.clone(), topics, within)
    }

    /// The handle on its consumer group, for the sink.
    pub fn group(&self) -> Group {
        self.group.clone()
    }

    /// Joins the group, once. Topics that are named must be there.
    async fn join(&mut self) -> Result<()> {
        if self.thread.is_some() {
            return Ok(());
        }
        if let (Records::Exchange(_), Topics::Named(names)) = (&self.records, &self.settings.topics)
        {
            for name in names {
                make_topic(&self.settings.connection, name).await?;
            }
        }
        let explainer = &self.settings.connection.explainer;
        let (thread, consumer) = ConsumerThread::new(
            &self.settings.config(),
            explainer,
            self.settings.rebalance_timeout.mul_f64(0.9),
        )?;
        let partitions = self.partitions_in_all(&consumer).await?;
        match self.place {
            InGroup::Shares => {}
            InGroup::Alone => self.stand_by(&consumer).await?,
            InGroup::Outside => {
                let Some(partitions) = partitions else {
                    return Err(Error::Option(
                        "a static query needs topics by name; topic_pattern works only in pipelines".into(),
                    ));
                };
                thread.member.assign(partitions);
                self.thread = Some(thread);
                return Ok(());
            }
        }
        let names: Vec<&str> = match &self.settings.topics {
            Topics::Named(names) => names.iter().map(String::as_str).collect(),
            Topics::Matching(pattern) => vec![pattern],
        };
        consumer
            .subscribe(&names)
            .map_err(|error| explainer.explain("subscribing to topics", &error))?;
        self.group.join(Arc::clone(&thread.member), &consumer);
        self.thread = Some(thread);
        Ok(())
    }

    /// Leaves the group, so that another attempt joins again.
    async fn leave(&mut self) -> Result<()> {
        let thread = self.thread.take();
        let leave = move || {
            drop(thread);
            Ok(())
        };
        blocking(leave).await
    }

    /// Waits until the group has no member.
    async fn stand_by(&self, consumer: &Arc<GroupConsumer>) -> Result<()> {
        let mut is_told = false;
        while self.members(consumer).await? > 0 {
            if !is_told {
                tracing::warn!(
                    "another instance reads as group '{}'; this one stands by until it ends",
                    self.settings.group
                );
                is_told = true;
            }
            tokio::time::sleep(STAND_BY_POLL).await;
        }
        Ok(())
    }

    /// The partitions that other instances read; `None` where only they know.
    async fn others(
        &self,
        consumer: &Arc<GroupConsumer>,
        own: &[TopicPartition],
    ) -> Result<Option<Vec<Partition>>> {
        match self.partitions_in_all(consumer).await? {
            Some(all) => {
                let others = all.iter().filter(|partition| !own.contains(partition));
                Ok(Some(others.map(TopicPartition::name).collect()))
            }
            None => Ok((self.members(consumer).await? <= 1).then(Vec::new)),
        }
    }

    /// The partitions of the topics, whoever reads them; `None` for a pattern, whose matches only
    /// the group knows.
    async fn partitions_in_all(
        &self,
        consumer: &Arc<GroupConsumer>,
    ) -> Result<Option<Vec<TopicPartition>>> {
        let Topics::Named(names) = self.settings.topics.clone() else { return Ok(None) };
        let explainer = Arc::clone(&self.settings.connection.explainer);
        let consumer = Arc::clone(consumer);
        blocking(move || partitions_of_topics(consumer.client(), &explainer, &names).map(Some))
            .await
    }

    /// How many members the group has.
    async fn members(&self, consumer: &Arc<GroupConsumer>) -> Result<usize> {
        let explainer = Arc::clone(&self.settings.connection.explainer);
        let (consumer, group) = (Arc::clone(consumer), self.settings.group.clone());
        blocking(move || {
            let groups = consumer
                .fetch_group_list(Some(&group), ANSWER_TIMEOUT)
                .map_err(|error| explainer.explain("reading the members of the group", &error))?;
            Ok(groups.groups().iter().map(|group| group.members().len()).max().unwrap_or(0))
        })
        .await
    }

    /// Waits until the group has given partitions, and says under which lease.
    async fn wait_until_given(
        standing: &mut watch::Receiver<Standing>,
        sender: &watch::Sender<Standing>,
    ) -> Result<(u64, Vec<TopicPartition>)> {
        loop {
            // Whatever was read before is given up, so a revocation need not wait.
            sender.send_if_modified(|standing| {
                if let Standing::Revoking { answer, .. } = standing {
                    answer.take();
                }
                false
            });
            match &*standing.borrow_and_update() {
                Standing::Given { lease, partitions } => return Ok((*lease, partitions.clone())),
                Standing::Failed(error) => return Err(error.clone()),
                Standing::Waiting | Standing::Revoking { .. } => {}
            }
            standing.changed().await.map_err(|_| Error::Stopped)?;
        }
    }

    fn thread(&self) -> Result<&ConsumerThread> {
        self.thread.as_ref().ok_or_else(|| Error::Bug("the source has not joined its group".into()))
    }
}

#[async_trait]
impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        match &self.records {
            Records::Rows(columns) => schema_of(columns),
            Records::Exchange(schema) => SchemaRef::clone(schema),
        }
    }

    fn max_ahead_us(&self) -> Option<i64> {
        self.settings.max_ahead_us
    }

    fn is_live(&self) -> bool {
        true
    }

    async fn assigned(&mut self) -> Result<Assignment> {
        self.stop().await;
        let has_failed = |thread: &ConsumerThread| {
            matches!(*thread.member.standing.borrow(), Standing::Failed(_))
        };
        if self.thread.as_ref().is_some_and(has_failed) {
            self.leave().await?;
        }
        loop {
            self.join().await?;
            let thread = self.thread()?;
            let sender = &thread.member.standing;
            let (lease, partitions) =
                Self::wait_until_given(&mut sender.subscribe(), sender).await?;
            let consumer = thread.consumer.upgrade().ok_or(Error::Stopped)?;
            let others = self.others(&consumer, &partitions).await?;
            self.ids = Ids::of(&consumer, &self.settings, &partitions).await?;
            drop(consumer);
            let names = partitions.iter().map(TopicPartition::name).collect();
            let identities = self.ids.identities(&partitions);
            let assignment = Assignment { partitions: names, others, identities };
            if assignment.is_whole() || self.place != InGroup::Alone {
                self.given = Some((lease, partitions));
                return Ok(assignment);
            }
            // Two have joined at once. Both leave, and one of them will be the first.
            self.leave().await?;
            tokio::time::sleep(STAND_BY_POLL.mul_f64(1.0 + random())).await;
        }
    }

    async fn start(&mut self, positions: &BTreeMap<Partition, i64>) -> Result<()> {
        self.begin(positions, self.settings.stops_at_end).await
    }

    async fn unread(&mut self, positions: &BTreeMap<Partition, i64>) -> Result<Option<String>> {
        match &self.records {
            // What goes into an exchange comes from a source that is asked itself.
            Records::Exchange(_) => Ok(None),
            Records::Rows(_) => self.come_since(positions).await,
        }
    }

    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        let (lease, _) =
            self.given.as_ref().ok_or_else(|| Error::Bug("next comes after start".into()))?;
        let thread = self.thread.as_ref().ok_or(Error::Stopped)?;
        let reading =
            self.reading.as_mut().ok_or_else(|| Error::Bug("next comes after start".into()))?;
        // A position that is gone may be one of a topic that is another one now.
        if let Some(error) = reading.failed.clone() {
            self.ids.check(&thread.consumer, &self.settings).await?;
            return Err(error);
        }
        if reading.open == 0 {
            self.ids.check(&thread.consumer, &self.settings).await?;
            return Ok(None);
        }
        let sender = &thread.member.standing;
        let event = tokio::select! {
            biased;
            answer = revoked(sender, *lease) => {
                let answer = answer?;
                reading.tasks.abort_all();
                self.given = None;
                return Ok(Some(SourceEvent::Reassign(answer)));
            }
            event = reading.events.recv() => event,
        };
        let event =
            event.ok_or_else(|| Error::Bug("the readers of partitions have ended".into()))?;
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                reading.failed = Some(error.clone());
                self.ids.check(&thread.consumer, &self.settings).await?;
                return Err(error);
            }
        };
        match &event {
            SourceEvent::Batch(batch) => {
                if let Some((next, _)) = reading.next.get_mut(&batch.partition) {
                    *next = batch.next;
                }
            }
            SourceEvent::End(_) => reading.open -= 1,
            SourceEvent::Reassign(_) => {}
        }
        Ok(Some(event))
    }

    fn is_log(&self) -> bool {
        true
    }

    fn lag(&self) -> BTreeMap<Partition, i64> {
        let (Some(thread), Some(reading)) = (&self.thread, &self.reading) else {
            return BTreeMap::new();
        };
        let ends = thread.member.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter()
            .map(|(partition, end)| {
                let name = partition.name();
                let ahead = reading.next.get(&name).map_or(0, |(next, caught_up)| {
                    caught_up.at().unwrap_or(*end).saturating_sub(*next)
                });
                (name, ahead.max(0))
            })
            .collect()
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        // The readers hold the consumer; the thread waits for them before it leaves the group.
        self.reading = None;
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource")
            .field("options", &self.options)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
