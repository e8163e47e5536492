//! Whole pipelines of rows: what of a topic, a group or a record they reject, and what they do not
//! lose by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use sembla_connectors::formats::{Column, schema_of};
use sembla_connectors::kafka::{KafkaSink, KafkaSource};
use sembla_runtime::state::{LocalStore, Query};
use sembla_runtime::{
    End, Error, EventTime, Pipeline, PipelineOptions, Result, SourceInput, Status, Stop,
    StopSignal, Summary, run,
};
use sembla_testing::{Broker, Record};
use tokio::sync::watch;

use crate::support::{SOURCE, json, options};

/// How long a test waits for results.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A pipeline between two topics, and where its state lies.
struct Copy<'a> {
    broker: &'a Broker,
    input: String,
    output: String,
    state: tempfile::TempDir,
    source_options: Vec<(String, String)>,
    sink_options: Vec<(String, String)>,
}

impl<'a> Copy<'a> {
    fn new(broker: &'a Broker) -> Self {
        let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
        let state = tempfile::tempdir().expect("a folder");
        Self { broker, input, output, state, source_options: Vec::new(), sink_options: Vec::new() }
    }

    fn columns() -> Vec<Column> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        vec![
            Column::new("id", DataType::Int64, true),
            Column::new("ts", time, true),
            Column::new("text", DataType::Utf8, true),
        ]
    }

    fn pipeline(&self, stops_at_end: bool, ignore_state: bool) -> Pipeline {
        self.pipeline_into(&self.output, stops_at_end, ignore_state)
    }

    /// The pipeline of the same name into a topic.
    fn pipeline_into(&self, topic: &str, stops_at_end: bool, ignore_state: bool) -> Pipeline {
        let servers = self.broker.servers();
        let mut given = options(&[
            ("topic", &self.input),
            ("bootstrap_servers", &servers),
            ("format", "json"),
            ("session_timeout", "2 s"),
            ("stop_at_end", if stops_at_end { "true" } else { "false" }),
        ]);
        given.extend(self.source_options.iter().cloned());
        let source = KafkaSource::new(&self.output, &Self::columns(), &given).expect("a source");
        let schema: SchemaRef = schema_of(&Self::columns());
        let mut given = options(&[("topic", topic), ("bootstrap_servers", &servers)]);
        given.extend(self.sink_options.iter().cloned());
        let groups = BTreeMap::from([(SOURCE.to_string(), source.group())]);
        let sink = KafkaSink::new(&schema, &given, groups).expect("a sink");
        let mut options = PipelineOptions::default();
        for (key, value) in [("checkpoint_interval", "300 ms"), ("retries", "2")] {
            options.set(key, value).expect("an option");
        }
        Pipeline {
            name: self.output.clone(),
            query: Query { fingerprint: "copy".into(), description: "copy".into() },
            sources: vec![SourceInput {
                name: SOURCE.into(),
                source: Box::new(source),
                event_time: EventTime::Column(1),
                delay_us: 0,
                windows: None,
            }],
            rows: Arc::new(WithoutHidden(schema)),
            windows: None,
            sink: Box::new(sink),
            store: Arc::new(LocalStore::open(self.state.path()).expect("a store")),
            options,
            ignore_state,
        }
    }

    /// Runs to the end of what is there.
    async fn to_end(&self) -> Result<Summary> {
        let (_stop, signal) = StopSignal::channel();
        let (status, _seen) = watch::channel(Status::default());
        run(self.pipeline(true, false), signal, status).await
    }

    /// The same, with what was committed ignored.
    async fn anew(&self) -> Result<Summary> {
        let (_stop, signal) = StopSignal::channel();
        let (status, _seen) = watch::channel(Status::default());
        run(self.pipeline(true, true), signal, status).await
    }

    fn produce(&self, ids: std::ops::Range<i64>) {
        let records: Vec<_> = ids.map(|id| Record::new(message(id, TIME_MS))).collect();
        self.broker.produce(&self.input, &records);
    }

    /// The ids of the results, sorted.
    fn ids(&self) -> Vec<i64> {
        let records = self.broker.read_committed(&self.output);
        let ids = records.iter().map(|record| json(&record.text())["id"].as_i64().expect("an id"));
        let mut ids: Vec<_> = ids.collect();
        ids.sort_unstable();
        ids
    }
}

/// A time in the past, so that nothing depends on the day.
const TIME_MS: i64 = 1_767_258_000_000;

fn message(id: i64, ts: i64) -> String {
    format!(r#"{{"id":{id},"ts":{ts},"text":"t"}}"#)
}

/// Rows as they are, without what the runtime has added.
struct WithoutHidden(SchemaRef);

#[async_trait::async_trait]
impl sembla_runtime::RowStage for WithoutHidden {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    async fn run(
        &self,
        _source: usize,
        rows: arrow::array::RecordBatch,
    ) -> Result<Vec<arrow::array::RecordBatch>> {
        let own: Vec<usize> = (0..self.0.fields().len()).collect();
        Ok(vec![rows.project(&own)?])
    }
}

fn line_of<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("refused").to_string()
}

/// Runs a pipeline that does not end until `is_done`, or until it ends by itself.
async fn while_running(copy: &Copy<'_>, meanwhile: impl AsyncFnOnce()) -> Result<Summary> {
    let (stop, signal) = StopSignal::channel();
    let (status, _seen) = watch::channel(Status::default());
    let running = tokio::spawn(run(copy.pipeline(false, false), signal, status));
    meanwhile().await;
    stop.send_replace(Stop::Drain);
    running.await.expect("it runs")
}

/// Waits for something that other tasks bring about.
async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !is_true() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_while_it_is_read_stops_by_name() {
    let broker = Broker::shared();
    let copy = Copy::new(broker);
    copy.produce(0..150);
    let (_stop, signal) = StopSignal::channel();
    let (status, _seen) = watch::channel(Status::default());
    let running = tokio::spawn(run(copy.pipeline(false, false), signal, status));
    until("the first topic is copied", || copy.ids().len() == 150).await;
    broker.create_anew(&copy.input, 1);
    copy.produce(1000..1300);
    let ended = tokio::time::timeout(TIMEOUT, running).await.expect("it stops").expect("it runs");
    let line = line_of(ended);
    assert!(line.contains(&format!("topic '{}'", copy.input)), "{line}");
    // The next start says what to do, or reads the new topic from its beginning.
    match copy.to_end().await {
        Ok(_) => {}
        Err(Error::State(line)) => {
            assert!(line.contains("deleted and created again"), "{line}");
            copy.anew().await.expect("it is read anew");
        }
        Err(other) => panic!("{other}"),
    }
    let mut ids = copy.ids();
    ids.dedup();
    assert_eq!(ids, (0..150).chain(1000..1300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_told_from_the_one_before() {
    let broker = Broker::shared();
    // Progress beside the offsets goes with the topic; progress in a topic of its own stays.
    for progress_topic in [None, Some(Broker::unique("progress"))] {
        let mut copy = Copy::new(broker);
        if let Some(topic) = &progress_topic {
            copy.sink_options = options(&[("progress_topic", topic)]);
        }
        copy.produce(0..50);
        copy.to_end().await.expect("copied");
        broker.create_anew(&copy.input, 1);
        copy.produce(1000..1100);
        if progress_topic.is_some() {
            let line = line_of(copy.to_end().await);
            assert!(line.contains("is not the one that was read up to position 50"), "{line}");
            copy.anew().await.expect("copied anew");
        } else {
            copy.to_end().await.expect("copied");
        }
        assert_eq!(copy.ids(), (0..50).chain(1000..1100).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_have_expired_are_missed() {
    let broker = Broker::shared();
    let copy = Copy::new(broker);
    copy.produce(0..20);
    while_running(&copy, async || {
        until("all is copied", || copy.ids().len() == 20).await;
    })
    .await
    .expect("drained");
    broker.delete_group(&copy.output);
    let line = line_of(copy.to_end().await);
    assert!(line.contains("has committed progress in partition"), "{line}");
    assert!(
        line.contains("committed offsets of the group") && line.contains("--ignore-state"),
        "{line}"
    );
    assert_eq!(copy.ids().len(), 20, "nothing is written twice");
    copy.anew().await.expect("as was asked for");
    assert_eq!(copy.ids().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_another_consumer_are_no_progress() {
    let broker = Broker::shared();
    let copy = Copy::new(broker);
    copy.produce(0..20);
    broker.commit_as_another(&copy.output, &copy.input, 0, 20);
    let line = line_of(copy.to_end().await);
    assert!(line.contains("is not progress of a pipeline"), "{line}");
    assert!(line.contains(&format!("group '{}'", copy.output)), "{line}");
    copy.anew().await.expect("read from the beginning");
    assert_eq!(copy.ids(), (0..20).collect::<Vec<_>>());
}

/// A bounded run is a way to catch up, so the next one begins where the last one has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_end_of_a_bounded_run_is_read_by_the_next() {
    let broker = Broker::shared();
    let mut copy = Copy::new(broker);
    copy.produce(0..20);
    assert_eq!(copy.to_end().await.expect("copied").end, End::Complete);
    assert_eq!(copy.to_end().await.expect("nothing new").end, End::AlreadyComplete);
    // Markers of a transaction have offsets, but they are nothing to read.
    broker.produce_openly(&copy.input, &[]).commit();
    assert_eq!(copy.to_end().await.expect("nothing new").end, End::AlreadyComplete);
    let records = [Record::new(message(20, TIME_MS)), Record::new(message(21, TIME_MS))];
    broker.produce_openly(&copy.input, &records).commit();
    assert_eq!(copy.to_end().await.expect("copied").end, End::Complete);
    assert_eq!(copy.ids(), (0..22).collect::<Vec<_>>());
    assert_eq!(copy.to_end().await.expect("nothing new").end, End::AlreadyComplete);
    // Records that were deleted before they were read are missed by name.
    copy.produce(30..40);
    broker.delete_before(&copy.input, 0, 28);
    let line = line_of(copy.to_end().await);
    assert!(line.contains("does not exist: the broker has 28 to"), "{line}");
    copy.source_options = options(&[("on_missing_offset", "earliest")]);
    copy.to_end().await.expect("copied");
    let ids = copy.ids();
    assert!(ids.len() > 22 && ids.ends_with(&[38, 39]), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_behind_an_open_transaction_is_read_once_it_has_ended() {
    let broker = Broker::shared();
    let copy = Copy::new(broker);
    copy.produce(0..5);
    let open = broker.produce_openly(&copy.input, &[Record::new(message(5, TIME_MS))]);
    copy.produce(6..10);
    copy.to_end().await.expect("copied");
    assert_eq!(copy.ids(), (0..5).collect::<Vec<_>>());
    open.commit();
    copy.to_end().await.expect("copied");
    assert_eq!(copy.ids(), (0..10).collect::<Vec<_>>());
}

/// They would share the partitions of the group, and each output would lack some rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_of_the_same_name_into_another_topic_is_refused() {
    let broker = Broker::shared();
    let copy = Copy::new(broker);
    copy.produce(0..20);
    copy.to_end().await.expect("copied");
    let name = copy.output.clone();
    let other = broker.topic("other", 1);
    let to_end = async |pipeline| {
        let (_stop, signal) = StopSignal::channel();
        let (status, _seen) = watch::channel(Status::default());
        run(pipeline, signal, status).await
    };
    copy.produce(20..30);
    let line = line_of(to_end(copy.pipeline_into(&other, true, false)).await);
    assert!(line.contains(&format!("writes to topic '{name}', but this one writes to '{other}'")));
    assert_eq!(broker.read_committed(&other).len(), 0);
    to_end(copy.pipeline_into(&other, true, true)).await.expect("as was asked for");
    assert_eq!(broker.read_committed(&other).len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_that_the_broker_does_not_allow_is_refused_at_once() {
    let broker = Broker::shared();
    let mut copy = Copy::new(broker);
    copy.sink_options = options(&[("transaction_timeout", "2 h")]);
    copy.produce(0..1);
    let error = copy.to_end().await.expect_err("refused");
    assert!(matches!(error, Error::Option(_)), "{error:?}");
    let line = error.to_string();
    assert!(line.contains("transaction_timeout") && line.contains("transaction.max.timeout.ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_written_whatever_its_time() {
    let broker = Broker::shared();
    let dead = broker.topic("dead", 1);
    let mut copy = Copy::new(broker);
    copy.sink_options = options(&[("dead_letter_topic", &dead)]);
    let far = TIME_MS * 1000;
    for (id, ts) in [(0, TIME_MS), (1, far), (2, TIME_MS), (3, -62_135_596_800_001), (4, TIME_MS)] {
        broker.produce(&copy.input, &[Record::new(message(id, ts))]);
    }
    let summary = copy.to_end().await.expect("copied");
    assert_eq!((summary.status.rows_out, summary.status.rows_rejected), (3, 2));
    assert_eq!(copy.ids(), [0, 2, 4]);
    let letters = broker.read_committed(&dead);
    let offsets: Vec<_> = letters.iter().map(|letter| letter.header_text("offset")).collect();
    assert_eq!(offsets, [Some("1".to_string()), Some("3".to_string())]);
    assert!(letters[0].header_text("reason").expect("a reason").contains("another unit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_topic_does_not_take_are_dead_letters() {
    let broker = Broker::shared();
    let mut copy = Copy::new(broker);
    copy.output = broker.topic_with("out", 1, &[("max.message.bytes", "2000")]);
    let dead = broker.topic_with("dead", 1, &[("max.message.bytes", "1500")]);
    copy.sink_options = options(&[("dead_letter_topic", &dead), ("timestamp", "ts")]);
    copy.source_options = options(&[("max_ahead", "none")]);
    let long = "x".repeat(5_000);
    let future = 4_102_444_800_000_i64;
    broker.produce(
        &copy.input,
        &[
            Record::new(message(0, TIME_MS)),
            Record::new(format!(r#"{{"id":1,"ts":{TIME_MS},"text":"{long}"}}"#)),
            Record::new(message(2, future)),
            Record::new(message(3, -1)),
            Record::new(message(4, TIME_MS)),
        ],
    );
    copy.to_end().await.expect("copied");
    assert_eq!(copy.ids(), [0, 4]);
    let letters = broker.read_committed(&dead);
    let reasons: Vec<_> =
        letters.iter().filter_map(|letter| letter.header_text("reason")).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(
        reasons[0].contains("max.message.bytes") && reasons[0].contains("the first"),
        "{reasons:?}"
    );
    assert!(reasons[1].contains("message.timestamp.after.max.ms"), "{reasons:?}");
    assert!(reasons[2].contains("before 1970"), "{reasons:?}");
    assert!(letters[1].text().contains(r#""id":2"#), "{letters:?}");
}
