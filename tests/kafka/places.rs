//! Where reading begins.

use std::collections::BTreeMap;

use sembla_runtime::{Partition, Source, SourceEvent};
use sembla_testing::{Broker, Record};

use crate::support::{Copier, numbered, results, sink, source, texts};

/// What a source reads from there to the end, by text.
async fn read(
    broker: &Broker,
    topic: &str,
    more: &[(&str, &str)],
    positions: &BTreeMap<Partition, i64>,
) -> Result<Vec<String>, sembla_runtime::Error> {
    let group = Broker::unique("group");
    let mut all = vec![("stop_at_end", "true"), ("group", group.as_str())];
    all.extend_from_slice(more);
    let mut source = source(broker, "places", topic, &all);
    source.assigned().await?;
    source.start(positions).await?;
    let (mut found, mut firsts) = (Vec::new(), BTreeMap::new());
    while let Some(event) = source.next().await? {
        let SourceEvent::Batch(batch) = event else { continue };
        let first = firsts.entry(batch.partition.clone()).or_insert(batch.next);
        assert!(*first <= batch.next, "the first batch tells the beginning");
        found.extend(texts(&batch.rows).into_iter().flatten());
    }
    found.sort();
    Ok(found)
}

/// A topic of two partitions with 10 records in each, one a second.
fn topic_of_twenty(broker: &Broker) -> String {
    let topic = broker.topic("in", 2);
    let records: Vec<_> = numbered(0..20)
        .iter()
        .enumerate()
        .map(|(row, text)| {
            let second = 1_700_000_000_000 + 1000 * (row / 2) as i64;
            Record::new(text).partition((row % 2) as i32).at(second)
        })
        .collect();
    broker.produce(&topic, &records);
    topic
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_the_beginning_the_end_a_time_or_offsets() {
    let broker = Broker::shared();
    let topic = topic_of_twenty(broker);
    let none = BTreeMap::new();
    for (start, first) in [
        ("earliest", 0),
        ("latest", 20),
        ("1700000005000", 10),
        ("2023-11-14T22:13:28Z", 16),
        ("1800000000000", 20),
    ] {
        let found = read(broker, &topic, &[("start", start)], &none).await.expect("read");
        assert_eq!(found, numbered(first..20), "start = '{start}'");
    }
    let offsets = format!("{topic}/0:9, {topic}/1:8");
    let found = read(broker, &topic, &[("start", &offsets)], &none).await.expect("read");
    assert_eq!(found, ["m000017", "m000018", "m000019"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_win_over_the_start_and_new_partitions_begin_at_their_beginning() {
    let broker = Broker::shared();
    let topic = topic_of_twenty(broker);
    let positions = BTreeMap::from([(format!("{topic}/0").into(), 8)]);
    let found = read(broker, &topic, &[("start", "latest")], &positions).await.expect("read");
    let is_left = |row: usize| row % 2 == 1 || row >= 16;
    let all = numbered(0..20).into_iter().enumerate();
    let expected: Vec<_> = all.filter(|(row, _)| is_left(*row)).map(|(_, text)| text).collect();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_gone_is_an_error_unless_it_may_be_missed() {
    let broker = Broker::shared();
    let topic = topic_of_twenty(broker);
    broker.delete_before(&topic, 0, 5);
    let positions =
        BTreeMap::from([(format!("{topic}/0").into(), 3), (format!("{topic}/1").into(), 10)]);
    let error = read(broker, &topic, &[], &positions).await.expect_err("refused").to_string();
    let line = format!("position 3 of {topic}/0 does not exist: the broker has 5 to 10; ");
    assert!(error.starts_with(&line) && error.contains("on_missing_offset"), "{error}");
    let more = [("on_missing_offset", "earliest")];
    let found = read(broker, &topic, &more, &positions).await.expect("read");
    assert_eq!(found, ["m000010", "m000012", "m000014", "m000016", "m000018"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_topics_are_one_source_by_list_and_by_pattern() {
    let broker = Broker::shared();
    let prefix = Broker::unique("many");
    let (one, two) = (broker.topic(&prefix, 1), broker.topic(&prefix, 2));
    broker.produce(&one, &[Record::new("1")]);
    broker.produce(&two, &[Record::new("2").partition(0), Record::new("3").partition(1)]);
    let none = BTreeMap::new();
    let list = format!("{one}, {two}");
    assert_eq!(read(broker, &list, &[], &none).await.expect("read"), ["1", "2", "3"]);
    let group = Broker::unique("group");
    let servers = broker.servers();
    let given = [
        ("topic_pattern", format!("{prefix}-.*")),
        ("bootstrap_servers", servers),
        ("format", "text".into()),
        ("group", group),
    ];
    let given = given.map(|(key, value)| (key.to_string(), value));
    let columns = crate::support::columns();
    let mut source =
        sembla_connectors::kafka::KafkaSource::new("p", &columns, &given).expect("source");
    let assignment = source.assigned().await.expect("assigned");
    assert_eq!((assignment.partitions.len(), assignment.is_whole()), (3, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_later_are_read_from_their_beginning() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    broker.produce(&input, &[Record::new("m000000")]);
    let more = [("start", "latest"), ("kafka.topic.metadata.refresh.interval.ms", "500")];
    let source = source(broker, &input, &input, &more);
    let sink = sink(broker, &output, &source, &[]);
    let mut copier = Copier::new(&input, source, sink);
    copier.begin().await.expect("begun");
    // The first event tells where reading began; so much is committed without any row.
    let Some(SourceEvent::Batch(first)) = copier.event().await.expect("event") else {
        panic!("no batch")
    };
    assert_eq!((first.rows.num_rows(), first.next), (0, 1));
    copier.write(&first).await.expect("written");
    copier.commit().await.expect("committed");
    broker.add_partitions(&input, 2);
    broker.produce(&input, &[Record::new("m000001").partition(1)]);
    loop {
        match copier.event().await.expect("event").expect("not the end") {
            SourceEvent::Batch(batch) if batch.rows.num_rows() > 0 => {
                copier.write(&batch).await.expect("written");
                copier.commit().await.expect("committed");
                break;
            }
            SourceEvent::Reassign(answer) => {
                answer.send(()).expect("asked for");
                copier.begin().await.expect("begun");
            }
            _ => {}
        }
    }
    assert_eq!(copier.assignment.partitions.len(), 2);
    assert_eq!(results(broker, &output), ["m000001"]);
}
