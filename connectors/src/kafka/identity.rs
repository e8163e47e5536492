//! Whether the topics that are read are still the ones that they were: a topic that is deleted and
//! created again keeps its name, but its offsets count other records.
//!
//! - *Invariant:* the ids are those of the moment when partitions were given; progress carries
//!   them, and a source that finds others stops by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use sembla_runtime::{Error, Partition, Result, SourceEvent};
use tokio::sync::mpsc;

use super::client::{ANSWER_TIMEOUT, ask, blocking};
use super::group::GroupConsumer;
use super::positions::TopicPartition;
use super::settings::SourceSettings;
use super::topic_ids::topic_ids;

/// How often it is looked whether topics are still the same.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The ids of topics, by name. Topics whose ids are not known are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids(BTreeMap<String, String>);

impl Ids {
    /// Those of the topics of these partitions. Waits for the cluster.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub(super) async fn of(
        consumer: &Arc<GroupConsumer>,
        settings: &SourceSettings,
        partitions: &[TopicPartition],
    ) -> Result<Self> {
        let mut topics: Vec<String> = partitions.iter().map(|p| p.topic.to_string()).collect();
        topics.dedup();
        let (consumer, explainer) =
            (Arc::clone(consumer), Arc::clone(&settings.connection.explainer));
        blocking(move || {
            let ids = ask(&explainer, |wait| topic_ids(consumer.client(), &topics, wait));
            let ids = match ids {
                Ok(ids) => ids,
                Err(error) => match explainer.explain("reading the ids of topics", &error) {
                    error if error.is_transient() => return Err(error),
                    // A cluster that has no ids, or does not tell them to this user.
                    _ => BTreeMap::new(),
                },
            };
            let unknown: Vec<_> = topics.iter().filter(|topic| !ids.contains_key(*topic)).collect();
            if !unknown.is_empty() {
                tracing::debug!("the cluster does not report the ids of {unknown:?}");
            }
            Ok(Self(ids))
        })
        .await
    }

    /// What each of these partitions is.
    pub(super) fn identities(&self, partitions: &[TopicPartition]) -> BTreeMap<Partition, String> {
        let known = partitions.iter().filter_map(|partition| {
            Some((partition.name(), self.0.get(&*partition.topic)?.clone()))
        });
        known.collect()
    }

    /// Looks again and again, and says so when a topic is another one. Ends with the readers, who
    /// hold the other senders.
    pub(super) async fn watch(
        self,
        consumer: Weak<GroupConsumer>,
        settings: SourceSettings,
        events: mpsc::WeakSender<Result<SourceEvent>>,
    ) {
        while events.strong_count() > 0 {
            tokio::time::sleep(CHECK_INTERVAL).await;
            if let Err(error) = self.check(&consumer, &settings).await {
                if let Some(events) = events.upgrade() {
                    // Nobody listens any more where sending fails.
                    let _ = events.send(Err(error)).await;
                }
                return;
            }
        }
    }

    /// Checks that the topics are still the same. A cluster that doesn't answer is no news: the
    /// readers say so.
    ///
    /// # Errors
    /// [`Error::External`] for a topic that is another one.
    pub(super) async fn check(
        &self,
        consumer: &Weak<GroupConsumer>,
        settings: &SourceSettings,
    ) -> Result<()> {
        let Some(consumer) = consumer.upgrade().filter(|_| !self.0.is_empty()) else {
            return Ok(());
        };
        let topics: Vec<String> = self.0.keys().cloned().collect();
        let now = blocking(move || Ok(topic_ids(consumer.client(), &topics, ANSWER_TIMEOUT).ok()));
        let now = now.await?.unwrap_or_default();
        let other = self.0.iter().find(|(topic, id)| now.get(*topic).is_some_and(|now| now != *id));
        match other {
            None => Ok(()),
            Some((topic, _)) => Err(Error::External(format!(
                "topic '{topic}' at '{}' was deleted and created again while it was read, so positions in it mean other \
                 records; restart the pipeline to read the new topic, with --ignore-state if it asks for that",
                settings.connection.explainer.servers()
            ))),
        }
    }
}
