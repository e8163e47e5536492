//! Where reading begins: by progress, else by the option `start`; and whether it is still there.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sembla_runtime::{Error, Partition, Result};

use super::client::ANSWER_TIMEOUT;
use super::failure::Explainer;

/// A partition of a topic. Its name in the runtime is `topic/number`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TopicPartition {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
}

impl TopicPartition {
    pub(super) fn new(topic: &str, number: i32) -> Self {
        Self { topic: topic.into(), number }
    }

    /// Its name in the runtime.
    pub(super) fn name(&self) -> Partition {
        format!("{}/{}", self.topic, self.number).into()
    }

    /// The partition that a name stands for; `None` where it is not one of Kafka.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (topic, number) = name.rsplit_once('/')?;
        Some(Self::new(topic, number.parse().ok()?))
    }
}

/// The partitions of a list of the library.
pub(super) fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let mut partitions: Vec<_> = list
        .elements()
        .iter()
        .map(|element| TopicPartition::new(element.topic(), element.partition()))
        .collect();
    partitions.sort_unstable();
    partitions
}

/// The option `start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    /// The first record of that time or later, in milliseconds since 1970.
    Time(i64),
    /// By name of the partition; others begin at their beginning.
    Offsets(BTreeMap<Partition, i64>),
}

impl Start {
    /// # Errors
    /// [`Error::Option`] with what it may be.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Some(time) = text.parse().ok().filter(|time| *time >= 0) {
            return Ok(Self::Time(time));
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Time(time.timestamp_millis()));
        }
        let offsets: Option<BTreeMap<_, _>> = text.split(',').map(offset_of).collect();
        offsets.map(Self::Offsets).ok_or_else(|| {
            Error::Option(format!(
                "start must be earliest, latest, a time ('2026-11-24T08:00:00Z' or milliseconds since 1970), or \
                 offsets ('messages/0:42, messages/1:7'), got '{text}'"
            ))
        })
    }
}

/// `messages/0:42`.
fn offset_of(text: &str) -> Option<(Partition, i64)> {
    let (name, offset) = text.trim().rsplit_once(':')?;
    let partition = TopicPartition::parse(name.trim())?;
    let offset = offset.trim().parse().ok().filter(|offset| *offset >= 0)?;
    Some((partition.name(), offset))
}

/// Where a partition begins, and what was there when that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The first record to read.
    pub(super) next: i64,
    /// The offset after the last record.
    pub(super) end: i64,
}

/// What decides where partitions begin.
pub(super) struct Places<'a, C: ConsumerContext> {
    pub(super) consumer: &'a BaseConsumer<C>,
    pub(super) explainer: &'a Explainer,
    pub(super) start: &'a Start,
    /// Whether the beginning is good enough where the wanted position is gone.
    pub(super) skips_missing: bool,
}

impl<C: ConsumerContext> Places<'_, C> {
    /// The places of partitions. One that is not in `positions` begins where `start` says, or at
    /// its beginning when there are positions of others: it is new then. Asks the cluster one or
    /// two questions a partition.
    ///
    /// # Errors
    /// [`Error::External`] when a position is not there any more.
    pub(super) fn find(
        &self,
        partitions: &[TopicPartition],
        positions: &BTreeMap<Partition, i64>,
    ) -> Result<BTreeMap<TopicPartition, Place>> {
        let times = match (positions.is_empty(), self.start) {
            (true, Start::Time(time)) => self.offsets_at(partitions, *time)?,
            _ => BTreeMap::new(),
        };
        let mut places = BTreeMap::new();
        for partition in partitions {
            let name = partition.name();
            let (low, high) = self
                .consumer
                .fetch_watermarks(&partition.topic, partition.number, ANSWER_TIMEOUT)
                .map_err(|error| self.explainer.explain(&format!("reading {name}"), &error))?;
            let wanted = match (positions.get(&name), self.start) {
                (Some(position), _) => *position,
                (None, _) if !positions.is_empty() => low,
                (None, Start::Earliest) => low,
                (None, Start::Latest) => high,
                (None, Start::Time(_)) => times.get(partition).copied().unwrap_or(high),
                (None, Start::Offsets(offsets)) => offsets.get(&name).copied().unwrap_or(low),
            };
            let next = self.existing(&name, wanted, low, high)?;
            places.insert(partition.clone(), Place { next, end: high });
        }
        Ok(places)
    }

    /// The wanted position, where the broker still has it.
    fn existing(&self, name: &str, wanted: i64, low: i64, high: i64) -> Result<i64> {
        if (low..=high).contains(&wanted) {
            return Ok(wanted);
        }
        if self.skips_missing {
            tracing::warn!("{name}: position {wanted} no longer exists; reading resumes at {low}");
            return Ok(low);
        }
        Err(Error::External(format!(
            "position {wanted} of {name} does not exist: the broker has {low} to {high}; if the records \
             between may be missed, set on_missing_offset = 'earliest'"
        )))
    }

    /// The first offset of that time or later, where there is one.
    fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        time_ms: i64,
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        let explain = |error| self.explainer.explain("looking for the start time", &error);
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(time_ms))
                .map_err(explain)?;
        }
        let found = self.consumer.offsets_for_times(list, ANSWER_TIMEOUT).map_err(explain)?;
        let offsets = found.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => {
                Some((TopicPartition::new(element.topic(), element.partition()), offset))
            }
            _ => None,
        });
        Ok(offsets.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_a_word_a_time_or_offsets() {
        assert_eq!(Start::parse(" earliest ").expect("start"), Start::Earliest);
        assert_eq!(Start::parse("latest").expect("start"), Start::Latest);
        assert_eq!(Start::parse("1700000000000").expect("start"), Start::Time(1_700_000_000_000));
        assert_eq!(Start::parse("1970-01-01T01:00:01+01:00").expect("start"), Start::Time(1000));
        let offsets = BTreeMap::from([("a/b/0".into(), 42), ("t/1".into(), 7)]);
        assert_eq!(Start::parse("a/b/0:42, t/1:7").expect("start"), Start::Offsets(offsets));
        for bad in ["", "yesterday", "t/0:-1", "-5", "t:1", "t/0:1,", "2026-11-24"] {
            let line = Start::parse(bad).expect_err(bad).to_string();
            assert!(line.contains("earliest, latest, a time"), "{line}");
        }
    }

    #[test]
    fn names_of_partitions_are_read_back() {
        let partition = TopicPartition::new("a/b", 3);
        assert_eq!(&*partition.name(), "a/b/3");
        assert_eq!(TopicPartition::parse("a/b/3"), Some(partition));
        assert_eq!(TopicPartition::parse("0"), None);
    }
}
