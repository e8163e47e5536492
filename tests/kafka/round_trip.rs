//! What goes in comes out: payloads, keys, headers, times, tombstones, dead letters and late rows.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use sembla_connectors::formats::{Column, schema_of};
use sembla_connectors::kafka::{KafkaSink, KafkaSource};
use sembla_runtime::{Delivery, Output, Sink, Source, SourceEvent};
use sembla_testing::{Broker, Record};

use crate::support::{Copier, SOURCE, json, numbered, options, results, sink, source};

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_record_has_goes_around() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 2), broker.topic("out", 3));
    broker.produce(
        &input,
        &[
            Record::new("one").key("a").partition(0).at(1_000).header("x", "1").header("y", "2"),
            Record::tombstone().key("b").partition(0).at(2_000),
            Record::new("three").partition(1).at(3_000),
        ],
    );
    let source = source(broker, "around", &input, &[("stop_at_end", "true"), ("group", &input)]);
    let more = [("key", "k"), ("headers", "h"), ("timestamp", "at")];
    let sink = sink(broker, &output, &source, &more);
    assert_eq!(sink.promise(), Delivery::ExactlyOnce);
    let mut copier = Copier::new("around", source, sink);
    copier.copy().await.expect("copied");
    assert!(copier.assignment.is_whole());

    let mut records = broker.read_committed(&output);
    records.sort_by_key(|record| record.timestamp_ms);
    let [one, two, three] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(one.key.as_deref(), Some(&b"a"[..]));
    assert_eq!(one.timestamp_ms, Some(1_000));
    assert_eq!((one.header_text("x"), one.header_text("y")), (Some("1".into()), Some("2".into())));
    let row = json(&one.text());
    assert_eq!((&row["text"], &row["topic"]), (&"one".into(), &input.as_str().into()));
    assert_eq!((&row["part"], &row["place"]), (&0.into(), &0.into()));
    assert_eq!(row["at"], "1970-01-01T00:00:01Z");
    // A tombstone is a row whose text is NULL.
    assert_eq!((two.key.as_deref(), json(&two.text()).get("text")), (Some(&b"b"[..]), None));
    assert_eq!((three.key.as_deref(), three.timestamp_ms), (None, Some(3_000)));

    let (offset, note) = broker.committed(&input, &input, 0).expect("committed");
    assert_eq!((offset, &json(&note)["pipeline"]), (2, &"around".into()));
    assert!(copier.source.lag().values().all(|lag| *lag == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_used_are_dead_letters() {
    let broker = Broker::shared();
    let large = [("max.message.bytes", "20000000")];
    let (input, output) = (broker.topic_with("in", 1, &large), broker.topic("out", 1));
    let dead = Broker::unique("dead");
    let huge = format!("{{\"id\": 5, \"text\": \"{}\"}}", "x".repeat(10 << 20));
    broker.produce(
        &input,
        &[
            Record::new("no JSON").key("k1").at(7_000),
            Record::new(r#"{"id": 1, "text": "good"}"#),
            Record::new(r#"{"id": "x", "text": "wrong type"}"#),
            Record::new([0xff, 0xfe, 0x00]),
            Record::new(r#"{"id": 2, "text": null}"#),
            Record::new(&huge),
            Record::new(r#"{"text": "no id"}"#),
            Record::tombstone().key("gone"),
        ],
    );
    let servers = broker.servers();
    let columns =
        [Column::new("id", DataType::Int64, false), Column::new("text", DataType::Utf8, true)];
    let given =
        [("topic", input.as_str()), ("bootstrap_servers", &servers), ("stop_at_end", "true")];
    let source = KafkaSource::new(&input, &columns, &options(&given)).expect("source");
    let given = [
        ("topic", output.as_str()),
        ("bootstrap_servers", &servers),
        ("dead_letter_topic", &dead),
        ("create_topics", "true"),
    ];
    let groups = BTreeMap::from([(SOURCE.to_string(), source.group())]);
    let sink = KafkaSink::new(&schema_of(&columns), &options(&given), groups).expect("sink");
    assert!(sink.takes_rejected() && !sink.takes_late());
    let mut copier = Copier::new(&input, source, sink);
    copier.copy().await.expect("copied");

    let good: Vec<_> = broker.read_committed(&output).iter().map(Record::text).collect();
    assert_eq!(good, [r#"{"id":1,"text":"good"}"#, r#"{"id":2}"#]);
    let letters = broker.read_committed(&dead);
    let offsets: Vec<_> = letters.iter().map(|letter| letter.header_text("offset")).collect();
    assert_eq!(offsets, ["0", "2", "3", "5", "6", "7"].map(|offset| Some(offset.to_string())));
    let first = &letters[0];
    assert_eq!((first.text().as_str(), first.key.as_deref()), ("no JSON", Some(&b"k1"[..])));
    assert_eq!(first.header_text("topic"), Some(input.clone()));
    assert_eq!(first.header_text("partition").as_deref(), Some("0"));
    assert_eq!(first.header_text("timestamp").as_deref(), Some("7000"));
    assert!(letters.iter().all(|letter| letter.header_text("reason").is_some()));
    assert_eq!(letters[2].value.as_deref(), Some(&[0xff, 0xfe, 0x00][..]));
    assert_eq!(letters[3].value.as_ref().map(Vec::len), Some(huge.len()));
    assert_eq!(letters[5].value, None);
    let (offset, _) = broker.committed(&input, &input, 0).expect("committed");
    assert_eq!(offset, 8, "offsets go past dead letters");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_have_a_topic_of_their_own() {
    let broker = Broker::shared();
    let (input, output, late) =
        (broker.topic("in", 1), broker.topic("out", 1), broker.topic("late", 1));
    broker.produce(&input, &[Record::new("tardy").key("k")]);
    let source = source(broker, &input, &input, &[("stop_at_end", "true")]);
    let sink = sink(broker, &output, &source, &[("late_topic", &late), ("key", "k")]);
    assert!(sink.takes_late());
    let mut copier = Copier::new(&input, source, sink);
    copier.begin().await.expect("begun");
    while let Some(event) = copier.event().await.expect("event") {
        let SourceEvent::Batch(batch) = event else { continue };
        if batch.rows.num_rows() > 0 {
            copier.sink.write(Output::Late(&batch.rows)).await.expect("written");
        }
    }
    copier.commit().await.expect("committed");
    let records = broker.read_committed(&late);
    assert_eq!(records.len(), 1);
    assert_eq!(json(&records[0].text())["text"], "tardy");
    assert_eq!(records[0].key.as_deref(), Some(&b"k"[..]));
    assert!(broker.read_committed(&output).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_through_small_queues_all_arrive_once() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 4), broker.topic("out", 2));
    let sent = numbered(0..40_000);
    let records: Vec<_> = sent
        .iter()
        .enumerate()
        .map(|(row, text)| Record::new(text).partition((row % 4) as i32))
        .collect();
    broker.produce(&input, &records);
    let small = [("queue_rows", "100"), ("queue_bytes", "4 KiB"), ("stop_at_end", "true")];
    let source = source(broker, &input, &input, &small);
    let sink = sink(broker, &output, &source, &[("kafka.queue.buffering.max.messages", "50")]);
    let mut copier = Copier::new(&input, source, sink);
    copier.begin().await.expect("begun");
    let mut is_first = true;
    while let Some(event) = copier.event().await.expect("event") {
        let SourceEvent::Batch(batch) = event else { continue };
        let ordered = batch.sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        assert!(ordered, "offsets have no gaps");
        copier.write(&batch).await.expect("written");
        if std::mem::take(&mut is_first) {
            // Longer than the session: the group is served while nobody asks for rows.
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        }
    }
    copier.commit().await.expect("committed");
    assert_eq!(results(broker, &output), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_transactions_wrote_is_read_to_its_end() {
    let broker = Broker::shared();
    let (first, second) = (broker.topic("in", 1), broker.topic("between", 1));
    let third = broker.topic("out", 1);
    broker.produce(&first, &[Record::new("a"), Record::new("b")]);
    // The last offset of the topic between them is no record but the mark of a commit.
    for (from, to) in [(&first, &second), (&second, &third)] {
        let source = source(broker, from, from, &[("stop_at_end", "true")]);
        let sink = sink(broker, to, &source, &[]);
        Copier::new(from, source, sink).copy().await.expect("copied");
    }
    assert_eq!(broker.read_committed(&third).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_of_many_rows_a_record_writes_one_a_batch() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    broker.produce(&input, &[Record::new("a"), Record::new("b")]);
    let source = source(broker, &input, &input, &[("stop_at_end", "true")]);
    let sink = sink(broker, &output, &source, &[("format", "arrow")]);
    let mut copier = Copier::new(&input, source, sink);
    copier.copy().await.expect("copied");
    let rows: usize = broker
        .read_committed(&output)
        .iter()
        .flat_map(|record| {
            let bytes = std::io::Cursor::new(record.value.clone().expect("a payload"));
            let reader = arrow_ipc::reader::StreamReader::try_new(bytes, None).expect("a stream");
            reader.map(|rows| rows.expect("rows")).collect::<Vec<RecordBatch>>()
        })
        .map(|rows| rows.column(0).len())
        .sum();
    assert_eq!(rows, 2);
}
