//! Progress in Kafka: beside the committed offsets of a consumer group, or as a record of a
//! compacted topic.
//!
//! - *Invariant:* what is read back is what one commit wrote, or it is rejected; positions that
//!   another program has committed are no progress.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sembla_runtime::{Error, Partition, Progress, Result};
use serde::{Deserialize, Serialize};

use super::client::{ANSWER_TIMEOUT, Reports};
use super::positions::TopicPartition;
use super::settings::Connection;
use super::topics::partitions_of_topic;

/// The version of [`Note`].
const VERSION: u32 = 1;

/// Bytes of metadata that every broker accepts (`offset.metadata.max.bytes`).
const NOTE_BYTES_MAX: usize = 4096;

/// What rides in the metadata of a committed offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    v: u32,
    pipeline: String,
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    complete: bool,
    /// The id of the topic, so that another one of its name can be distinguished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// The topic that the results went to, so that another pipeline of this name can be
    /// distinguished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

/// The metadata for an offset of a commit, in a topic of that id, of results that went `to` a
/// topic.
///
/// # Errors
/// [`Error::Option`] when the names in it are too long.
pub(super) fn note_of(progress: &Progress, topic: Option<&String>, to: &str) -> Result<String> {
    let note = Note {
        v: VERSION,
        pipeline: progress.pipeline.clone(),
        epoch: progress.epoch,
        state: progress.state.clone(),
        complete: progress.is_complete,
        topic: topic.cloned(),
        to: Some(to.into()),
    };
    let text = serde_json::to_string(&note)
        .map_err(|error| Error::Bug(format!("progress can't be written: {error}")))?;
    if text.len() > NOTE_BYTES_MAX {
        return Err(Error::Option(format!(
            "the names of pipeline '{}' and its state take {} bytes, but Kafka keeps at most {NOTE_BYTES_MAX} with an offset; \
             set progress_topic",
            progress.pipeline,
            text.len()
        )));
    }
    Ok(text)
}

/// The offsets of a commit for one group, each with its metadata.
pub(super) fn offsets_of(
    positions: &BTreeMap<Partition, i64>,
    metadata: impl Fn(&Partition) -> Result<String>,
) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (name, position) in positions {
        let unfit = || Error::Bug(format!("'{name}' at {position} is not a Kafka position"));
        let partition = TopicPartition::parse(name).ok_or_else(unfit)?;
        let mut element = list.add_partition(&partition.topic, partition.number);
        element.set_offset(Offset::Offset(*position)).map_err(|_| unfit())?;
        element.set_metadata(metadata(name)?);
    }
    Ok(list)
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) source: String,
    pub(super) group: String,
    pub(super) partition: Partition,
    pub(super) offset: i64,
    pub(super) metadata: String,
}

/// What a list of committed offsets says of a source.
pub(super) fn committed_of(source: &str, group: &str, list: &TopicPartitionList) -> Vec<Committed> {
    let elements = list.elements();
    let committed = elements.iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some(Committed {
            source: source.into(),
            group: group.into(),
            partition: TopicPartition::new(element.topic(), element.partition()).name(),
            offset,
            metadata: element.metadata().into(),
        }),
        _ => None,
    });
    committed.collect()
}

/// The progress that committed offsets stand for, of a pipeline that writes `to` a topic; `None`
/// where there are none.
///
/// # Errors
/// [`Error::State`] when they belong to another pipeline, another version, or to states that
/// differ.
pub(super) fn progress_of(
    pipeline: &str,
    to: &str,
    committed: &[Committed],
) -> Result<Option<Progress>> {
    let mut progress = Progress { pipeline: pipeline.into(), ..Progress::default() };
    let mut notes = Vec::new();
    for offset in committed {
        let Committed { source, group, partition, offset: position, metadata } = offset;
        let positions = progress.positions.entry(source.clone()).or_default();
        positions.insert(Partition::clone(partition), *position);
        let Ok(note) = serde_json::from_str::<Note>(metadata) else {
            progress.doubt.get_or_insert_with(|| {
                format!(
                    "the committed offset {position} of {partition} in group '{group}' is not progress of \
                     a pipeline: another consumer has committed in that group, or a tool has; give the \
                     source another group, or start over with --ignore-state"
                )
            });
            continue;
        };
        if let Some(topic) = &note.topic {
            let identities = progress.identities.entry(source.clone()).or_default();
            identities.insert(partition.to_string(), topic.clone());
        }
        if note.v != VERSION {
            return Err(Error::State(format!(
                "the progress at {partition} has version {}, but this program reads version {VERSION}",
                note.v
            )));
        }
        if note.pipeline != pipeline {
            return Err(Error::State(format!(
                "the committed offset of {partition} is progress of pipeline '{}', not of '{pipeline}'; \
                 give the source another group",
                note.pipeline
            )));
        }
        if let Some(other) = note.to.as_deref().filter(|other| *other != to) {
            progress.doubt.get_or_insert_with(|| {
                format!(
                    "the committed offset {position} of {partition} in group '{group}' is progress of a pipeline '{pipeline}' \
                     that writes to topic '{other}', but this one writes to '{to}'; give the sink another name, or start over with \
                     --ignore-state once the other one has ended"
                )
            });
        }
        notes.push(note);
    }
    if let Some(last) = notes.iter().max_by_key(|note| note.epoch) {
        // After a rebalance partitions come from several instances, which have no state then.
        if let Some(other) = notes.iter().find(|note| note.state != last.state) {
            return Err(Error::State(format!(
                "the partitions of pipeline '{pipeline}' belong to the states {:?} and {:?}; one state \
                 must cover all",
                other.state, last.state
            )));
        }
        progress.epoch = last.epoch;
        progress.state.clone_from(&last.state);
        progress.is_complete = notes.len() == committed.len() && notes.iter().all(|n| n.complete);
    }
    Ok((!committed.is_empty()).then_some(progress))
}

/// Reads the last committed progress of a pipeline from a topic, from its beginning. Waits for the
/// cluster.
///
/// # Errors
/// [`Error::State`] when the record can't be read.
pub(super) fn read_record(
    connection: &Connection,
    topic: &str,
    pipeline: &str,
) -> Result<Option<Progress>> {
    let explainer = &connection.explainer;
    let what = format!("reading progress from topic '{topic}'");
    let explain = |error: KafkaError| explainer.explain(&what, &error);
    let consumer: BaseConsumer<Reports> = connection
        .config()
        .set("group.id", format!("{pipeline}.progress"))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .create_with_context(Reports(std::sync::Arc::clone(explainer)))
        .map_err(explain)?;
    let count = partitions_of_topic(consumer.client(), explainer, topic)?.unwrap_or(0);
    let mut list = TopicPartitionList::new();
    for number in 0..i32::try_from(count).unwrap_or(i32::MAX) {
        list.add_partition_offset(topic, number, Offset::Beginning).map_err(explain)?;
    }
    consumer.assign(&list).map_err(explain)?;
    let (mut open, mut last) = (count, None);
    let mut heard = Instant::now();
    while open > 0 {
        match consumer.poll(std::time::Duration::from_millis(100)) {
            Some(Ok(message)) if message.key() == Some(pipeline.as_bytes()) => {
                last = message.payload().map(<[u8]>::to_vec);
            }
            Some(Ok(_)) => {}
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) if explainer.explain(&what, &error).is_transient() => continue,
            Some(Err(error)) => return Err(explain(error)),
            None if heard.elapsed() < ANSWER_TIMEOUT => continue,
            None => return Err(explainer.unanswered(&what)),
        }
        heard = Instant::now();
    }
    let Some(bytes) = last else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::State(format!(
            "the progress of pipeline '{pipeline}' in topic '{topic}' can't be read: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(epoch: u64, state: Option<&str>) -> Progress {
        Progress {
            pipeline: "p".into(),
            epoch,
            state: state.map(String::from),
            ..Progress::default()
        }
    }

    fn committed(number: i32, offset: i64, metadata: &str) -> Committed {
        Committed {
            source: "s".into(),
            group: "g".into(),
            partition: TopicPartition::new("t", number).name(),
            offset,
            metadata: metadata.into(),
        }
    }

    #[test]
    fn what_a_commit_wrote_is_read_back() {
        let note = note_of(&progress(7, Some("epoch-7")), Some(&"an id".to_string()), "out")
            .expect("note");
        let read = progress_of("p", "out", &[committed(0, 5, &note), committed(1, 9, &note)]);
        let read = read.expect("progress").expect("some");
        assert_eq!((read.epoch, read.state.as_deref()), (7, Some("epoch-7")));
        assert_eq!(read.positions["s"], BTreeMap::from([("t/0".into(), 5), ("t/1".into(), 9)]));
        assert_eq!(read.identities["s"]["t/1"], "an id");
        assert_eq!(read.doubt, None);
        assert_eq!(progress_of("p", "out", &[]), Ok(None));
    }

    #[test]
    fn partitions_of_several_instances_have_several_epochs() {
        let (old, new) =
            (note_of(&progress(3, None), None, "out"), note_of(&progress(8, None), None, "out"));
        let list = [committed(0, 5, &old.expect("note")), committed(1, 9, &new.expect("note"))];
        assert_eq!(progress_of("p", "out", &list).expect("progress").expect("some").epoch, 8);
    }

    #[test]
    fn offsets_of_others_are_no_progress() {
        let note = note_of(&progress(7, None), None, "out").expect("note");
        for (first, second) in [("", ""), ("by hand", ""), (note.as_str(), "")] {
            let read = progress_of("p", "out", &[committed(0, 5, first), committed(1, 6, second)]);
            let read = read.expect("progress").expect("some");
            let doubt = read.doubt.expect("a doubt");
            assert!(doubt.contains("in group 'g' is not progress of a pipeline"), "{doubt}");
            assert!(doubt.contains("--ignore-state"), "{doubt}");
            assert_eq!(read.positions["s"].len(), 2);
        }
        let note = note_of(&progress(7, None), None, "out").expect("note");
        let error = progress_of("q", "out", &[committed(0, 5, &note)]).expect_err("refused");
        assert!(error.to_string().contains("progress of pipeline 'p', not of 'q'"), "{error}");
        let newer = note.replace("\"v\":1", "\"v\":2");
        let error = progress_of("p", "out", &[committed(0, 5, &newer)]).expect_err("refused");
        assert!(error.to_string().contains("version 2"), "{error}");
    }

    #[test]
    fn progress_into_another_topic_is_of_another_pipeline() {
        let note = note_of(&progress(7, None), None, "out").expect("note");
        let read = |to, note| progress_of("p", to, &[committed(0, 5, note)]);
        let doubt = read("elsewhere", &note).expect("progress").expect("some").doubt;
        let doubt = doubt.expect("a doubt");
        assert!(
            doubt.contains("writes to topic 'out', but this one writes to 'elsewhere'"),
            "{doubt}"
        );
        assert!(doubt.contains("give the sink another name"), "{doubt}");
        let older = note.replace(",\"to\":\"out\"", "");
        assert_ne!(older, note);
        assert_eq!(read("elsewhere", &older).expect("progress").expect("some").doubt, None);
    }

    #[test]
    fn states_that_differ_and_names_too_long_are_refused() {
        let one = note_of(&progress(7, Some("a")), None, "out").expect("note");
        let other = note_of(&progress(8, Some("b")), None, "out").expect("note");
        let error = progress_of("p", "out", &[committed(0, 1, &one), committed(1, 1, &other)]);
        assert!(error.expect_err("refused").to_string().contains("one state must cover all"));
        let long = progress(1, Some(&"x".repeat(5000)));
        assert!(
            note_of(&long, None, "out")
                .expect_err("refused")
                .to_string()
                .contains("set progress_topic")
        );
    }
}
