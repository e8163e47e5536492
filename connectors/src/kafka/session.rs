//! What a sink has between recovery and the next failure: a producer that has fenced off others,
//! the leases of its sources, and the committed progress.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use rdkafka::consumer::Consumer;
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::TopicPartitionList;
use sembla_runtime::{Assignment, Error, Partition, Progress, Result, failpoint};

use super::client::{ANSWER_TIMEOUT, ask, blocking, drop_in_background};
use super::group::{Group, Lease};
use super::limits::{Limits, TopicLimits, limits_of, smallest_batch};
use super::producer::{OutRecord, Producer};
use super::progress::{committed_of, note_of, offsets_of, progress_of, read_record};
use super::settings::SinkSettings;
use super::topics::{
    KEEPS_LAST_RECORDS, TAKES_LARGE_RECORDS, TopicSpec, create, partitions_of_topic,
    refuse_forgetful,
};
use crate::connector::shared_source;

/// Transactional ids that are taken over at the same time.
const TAKEOVERS_MAX: usize = 8;

/// What holds between `recover` and the next failure.
pub(super) struct Session {
    pub(super) producer: Producer,
    /// By source the right to commit, where the source is a group of this cluster.
    leases: BTreeMap<String, Arc<Lease>>,
    /// The topic of progress records; `None` where progress goes with the offsets.
    progress_topic: Option<String>,
    /// The topic of the results.
    topic: String,
    /// What the topics take.
    pub(super) limits: TopicLimits,
    /// The progress that is committed.
    pub(super) last: Option<Progress>,
    has_written: bool,
}

/// What a session is opened with.
pub(super) struct Opening<'a> {
    pub(super) settings: &'a SinkSettings,
    /// By source its consumer group.
    pub(super) groups: &'a BTreeMap<String, Group>,
}

impl Opening<'_> {
    /// Opens what a pipeline with these sources needs.
    pub(super) async fn open(
        &self,
        pipeline: &str,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Session> {
        let (leases, progress_topic) = self.leases(assignment).await?;
        let prefix = self.settings.transactional_id.as_deref().unwrap_or(pipeline);
        let ids = transactional_ids(prefix, &leases);
        let id = ids.first().map(String::as_str).filter(|_| self.settings.is_transactional);
        let mut producer = Producer::new(self.settings, id, None)?;
        self.check_topics(&producer, progress_topic.as_deref()).await?;
        let settings = self.settings;
        let mut topics = vec![settings.topic.as_str()];
        topics.extend(settings.late_topic.as_deref());
        topics.extend(settings.dead_letter_topic.as_deref());
        let limits = limits_of(settings, &topics).await;
        // What a topic takes is a batch, which is one record at least.
        if let Some(batch_bytes) = smallest_batch(&limits) {
            drop_in_background(std::mem::replace(
                &mut producer,
                Producer::new(settings, id, Some(batch_bytes))?,
            ));
        }
        if self.settings.is_transactional {
            producer.init().await?;
            self.take_over(ids.into_iter().skip(1)).await?;
        }
        let last = self.read_progress(pipeline, &leases, progress_topic.as_deref()).await?;
        let topic = settings.topic.clone();
        Ok(Session { producer, leases, progress_topic, topic, limits, last, has_written: false })
    }

    /// Aborts what others left open under ids that are ours now.
    async fn take_over(&self, ids: impl Iterator<Item = String>) -> Result<()> {
        let takeovers = ids.map(|id| {
            let settings = self.settings.clone();
            async move {
                let other = Producer::new(&settings, Some(&id), None)?;
                other.init().await?;
                drop_in_background(other);
                Ok(())
            }
        });
        // A list, because a stream of borrowed ids would not be `Send`.
        let takeovers: Vec<_> = takeovers.collect();
        stream::iter(takeovers).buffer_unordered(TAKEOVERS_MAX).try_collect().await
    }

    /// The leases of the sources that are groups of this cluster, and the topic of progress, where
    /// one is needed: for other sources, or on request.
    async fn leases(
        &self,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<(BTreeMap<String, Arc<Lease>>, Option<String>)> {
        let mut leases = BTreeMap::new();
        let probe = Producer::new(self.settings, None, None)?.inner();
        let explainer = Arc::clone(&self.settings.connection.explainer);
        let (here, probe) = blocking(move || {
            let cluster = ask(&explainer, |wait| probe.client().fetch_cluster_id(wait).ok_or(()));
            let unanswered = |()| explainer.unanswered("reading the cluster's metadata");
            Ok((cluster.map_err(unanswered)?, probe))
        })
        .await?;
        drop_in_background(probe);
        for (source, group) in self.groups {
            if !assignment.contains_key(source) {
                continue;
            }
            let consumer = group.consumer()?;
            let there =
                blocking(move || Ok(consumer.client().fetch_cluster_id(ANSWER_TIMEOUT))).await?;
            if there.as_ref() == Some(&here) {
                leases.insert(source.clone(), Arc::new(group.lease()?));
            }
        }
        let default = || format!("{}.progress", self.settings.topic);
        let topic = match &self.settings.progress_topic {
            Some(topic) => Some(topic.clone()),
            None => (leases.len() < assignment.len()).then(default),
        };
        // Without the group's generation nothing fences one instance off from another's partitions.
        match (shared_source(assignment), &topic) {
            (Some(source), Some(_)) => Err(Error::Option(format!(
                "source '{source}' is shared with another instance, but progress is in a separate topic; instances can share \
                 only sources in the sink's cluster, without progress_topic"
            ))),
            _ => Ok((leases, topic)),
        }
    }

    /// Makes or misses topics.
    async fn check_topics(&self, producer: &Producer, progress: Option<&str>) -> Result<()> {
        let settings = &self.settings;
        let spec = |name: &String, config: Vec<_>| TopicSpec {
            name: name.clone(),
            partitions: settings.partitions,
            replication: settings.replication,
            config,
        };
        // Dead letters may be larger than the records of any other topic.
        let mut wanted = vec![spec(&settings.topic, Vec::new())];
        wanted.extend(settings.late_topic.iter().map(|name| spec(name, Vec::new())));
        let large = vec![TAKES_LARGE_RECORDS];
        wanted.extend(settings.dead_letter_topic.iter().map(|name| spec(name, large.clone())));
        let progress = progress.map(|name| TopicSpec {
            partitions: 1,
            ..spec(&name.to_string(), vec![KEEPS_LAST_RECORDS])
        });
        wanted.extend(progress.clone());
        let (inner, explainer) = (producer.inner(), Arc::clone(&settings.connection.explainer));
        let missing = blocking(move || {
            let mut missing = Vec::new();
            for spec in wanted {
                if partitions_of_topic(inner.client(), &explainer, &spec.name)?.is_none() {
                    missing.push(spec);
                }
            }
            Ok(missing)
        })
        .await?;
        if let Some(kept) = progress.as_ref().filter(|progress| !missing.contains(progress)) {
            refuse_forgetful(&settings.connection, &kept.name).await?;
        }
        // The topic of progress is nobody's but ours.
        let is_ours = |spec: &TopicSpec| progress.as_ref() == Some(spec);
        match missing.iter().find(|spec| !settings.creates_topics && !is_ours(spec)) {
            Some(spec) => Err(Error::Option(format!(
                "topic '{}' does not exist on '{}'; create it, or set create_topics = 'true'",
                spec.name,
                settings.connection.explainer.servers()
            ))),
            None if missing.is_empty() => Ok(()),
            None => create(&settings.connection, &missing).await,
        }
    }

    async fn read_progress(
        &self,
        pipeline: &str,
        leases: &BTreeMap<String, Arc<Lease>>,
        topic: Option<&str>,
    ) -> Result<Option<Progress>> {
        if let Some(topic) = topic {
            let connection = self.settings.connection.clone();
            let (topic, pipeline) = (topic.to_string(), pipeline.to_string());
            return blocking(move || read_record(&connection, &topic, &pipeline)).await;
        }
        let mut committed = Vec::new();
        for (source, lease) in leases {
            let group = self.groups.get(source).ok_or(Error::Stopped)?;
            let (consumer, lease) = (group.consumer()?, Arc::clone(lease));
            let explainer = Arc::clone(&self.settings.connection.explainer);
            let list = blocking(move || {
                let mut wanted = TopicPartitionList::new();
                for partition in &lease.partitions {
                    wanted.add_partition(&partition.topic, partition.number);
                }
                consumer
                    .committed_offsets(wanted, ANSWER_TIMEOUT)
                    .map_err(|error| explainer.explain("reading committed offsets", &error))
            })
            .await?;
            committed.extend(committed_of(source, group.id(), &list));
        }
        progress_of(pipeline, &self.settings.topic, &committed)
    }
}

impl Session {
    /// Opens a transaction for what is written next.
    pub(super) fn begin(&mut self) -> Result<()> {
        if !self.producer.is_open() {
            self.producer.begin()?;
            failpoint::hit("kafka.begin")?;
        }
        self.has_written = true;
        Ok(())
    }

    /// Puts records into the transaction.
    pub(super) async fn send_all(&mut self, records: Vec<OutRecord<'_>>) -> Result<()> {
        self.begin()?;
        for record in records {
            self.producer.send(record).await?;
        }
        Ok(())
    }

    /// What a topic takes.
    pub(super) fn limits(&self, topic: &str) -> Limits {
        self.limits.get(topic).copied().unwrap_or_default()
    }

    /// Checks that the right to commit has not ended.
    pub(super) fn check(&self) -> Result<()> {
        self.leases.values().try_for_each(|lease| lease.check())
    }

    /// Gives up what was written since the last commit.
    pub(super) async fn abort(&mut self) -> Result<()> {
        self.has_written = false;
        self.producer.abort().await
    }

    /// Whether a commit would change nothing.
    fn is_settled(&self, progress: &Progress) -> bool {
        !self.has_written
            && self.last.as_ref().is_some_and(|last| {
                last.positions == progress.positions
                    && last.state == progress.state
                    && last.is_complete == progress.is_complete
            })
    }

    /// Makes what was written visible, together with the progress.
    pub(super) async fn commit(&mut self, progress: &Progress) -> Result<()> {
        if self.is_settled(progress) {
            return Ok(());
        }
        self.begin()?;
        match &self.progress_topic {
            None => {}
            Some(topic) => {
                let value = serde_json::to_vec(progress)
                    .map_err(|error| Error::Bug(format!("progress can't be written: {error}")))?;
                let record = OutRecord {
                    topic,
                    key: Some(progress.pipeline.as_bytes()),
                    value: Some(&value),
                    ..OutRecord::default()
                };
                self.producer.send(record).await?;
            }
        }
        let mut offsets = Vec::new();
        for (source, lease) in &self.leases {
            if let Some(positions) = progress.positions.get(source).filter(|p| !p.is_empty()) {
                let identities = progress.identities.get(source);
                let note = |partition: &Partition| match &self.progress_topic {
                    None => {
                        let id = identities.and_then(|all| all.get(&**partition));
                        note_of(progress, id, &self.topic)
                    }
                    Some(_) => Ok(String::new()),
                };
                offsets.push((offsets_of(positions, note)?, Arc::clone(lease)));
            }
        }
        if self.producer.is_transactional() {
            for (offsets, lease) in offsets.drain(..) {
                self.producer.add_offsets(offsets, lease).await?;
            }
            failpoint::hit("kafka.offsets")?;
        }
        failpoint::hit("kafka.commit.before")?;
        self.producer.commit().await?;
        // Without transactions results come first, so that none is missing.
        for (offsets, lease) in offsets {
            lease.commit(offsets).await?;
        }
        failpoint::hit("kafka.commit.after").map_err(|error| Error::Fenced(error.to_string()))?;
        self.last = Some(progress.clone());
        self.has_written = false;
        Ok(())
    }
}

/// The ids to take over, the own one first: one for each input partition, or the pipeline's.
fn transactional_ids(prefix: &str, leases: &BTreeMap<String, Arc<Lease>>) -> Vec<String> {
    let ids: Vec<String> = leases
        .iter()
        .flat_map(|(source, lease)| lease.partitions.iter().map(move |p| (source, p)))
        .map(|(source, partition)| format!("{prefix}/{source}/{}", partition.name()))
        .collect();
    if ids.is_empty() { vec![prefix.into()] } else { ids }
}
