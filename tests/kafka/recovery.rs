//! After a kill, a fence or a lost broker the next attempt goes on from the last commit: a reader
//! of committed records sees each result once.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use arrow::array::RecordBatch;
use sembla_connectors::formats::schema_of;
use sembla_connectors::kafka::{KafkaSink, KafkaSource};
use sembla_runtime::{Assignment, Delivery, Output, Progress, Sink, SourceEvent};
use sembla_testing::{Broker, Record};

use crate::support::{Copier, SOURCE, columns, numbered, options, results, sink, sink_of, source};

fn produce(broker: &Broker, topic: &str, texts: &[String], partitions: i32) {
    let records: Vec<_> = texts
        .iter()
        .zip((0..partitions).cycle())
        .map(|(text, partition)| Record::new(text).partition(partition))
        .collect();
    broker.produce(topic, &records);
}

fn copier(broker: &Broker, input: &str, output: &str) -> Copier {
    let source = source(broker, input, input, &[("stop_at_end", "true")]);
    let sink = sink(broker, output, &source, &[]);
    Copier::new(input, source, sink)
}

/// Commits two batches with rows, then writes one more and leaves it in an open transaction.
async fn half_a_run(copier: &mut Copier) {
    copier.begin().await.expect("begun");
    let mut batches = 0;
    while let Some(event) = copier.event().await.expect("event") {
        let SourceEvent::Batch(batch) = event else { continue };
        copier.write(&batch).await.expect("written");
        batches += usize::from(batch.rows.num_rows() > 0);
        if batches == 3 {
            return;
        }
        copier.commit().await.expect("committed");
    }
    panic!("the source ended early");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_goes_on_where_the_first_committed() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 2), broker.topic("out", 1));
    produce(broker, &input, &numbered(0..100), 2);
    copier(broker, &input, &output).copy().await.expect("copied");
    produce(broker, &input, &numbered(100..150), 2);
    let mut second = copier(broker, &input, &output);
    second.copy().await.expect("copied");
    assert_eq!(results(broker, &output), numbered(0..150));
    assert!(second.progress.epoch > 2, "epochs go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_committed_is_written_again() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 2), broker.topic("out", 1));
    let sent = numbered(0..8_000);
    produce(broker, &input, &sent, 2);
    let mut first = copier(broker, &input, &output);
    half_a_run(&mut first).await;
    drop(first);
    copier(broker, &input, &output).copy().await.expect("copied");
    assert_eq!(results(broker, &output), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_gives_up_what_was_written() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 2), broker.topic("out", 1));
    let sent = numbered(0..8_000);
    produce(broker, &input, &sent, 2);
    let mut copier = copier(broker, &input, &output);
    half_a_run(&mut copier).await;
    copier.sink.abort().await.expect("aborted");
    // The same source and sink start over, without a rebalance.
    copier.copy().await.expect("copied");
    assert_eq!(results(broker, &output), sent);
}

/// What a process of its own copies; its environment says where.
fn copier_of_child() -> Copier {
    let name = |key: &str| std::env::var(key).expect("started by a test");
    let (servers, input, output) = (name("TEST_SERVERS"), name("TEST_INPUT"), name("TEST_OUTPUT"));
    let with = |more: &[(&str, &str)]| {
        let mut all = options(more);
        all.push(("bootstrap_servers".into(), servers.clone()));
        all
    };
    let given = with(&[("topic", &input), ("format", "text"), ("session_timeout", "2 s")]);
    let source = KafkaSource::new(&input, &columns(), &given).expect("source");
    let groups = BTreeMap::from([(SOURCE.to_string(), source.group())]);
    let given = with(&[("topic", &output)]);
    let sink = KafkaSink::new(&schema_of(&columns()), &given, groups).expect("sink");
    Copier::new(&input, source, sink)
}

/// Starts this program again with one of its ignored tests.
fn child(test: &str, broker: &Broker, input: &str, output: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--ignored", "--exact", test])
        .env("TEST_SERVERS", broker.servers())
        .env("TEST_INPUT", input)
        .env("TEST_OUTPUT", output)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Sends this process or another one a signal.
fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(status.expect("kill").success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process that another test starts"]
async fn dies_in_an_open_transaction() {
    half_a_run(&mut copier_of_child()).await;
    std::process::abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_leaves_nothing_behind() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 2), broker.topic("out", 1));
    let sent = numbered(0..8_000);
    produce(broker, &input, &sent, 2);
    let mut command = child("recovery::dies_in_an_open_transaction", broker, &input, &output);
    let status = tokio::task::spawn_blocking(move || command.status().expect("ran"));
    assert_eq!(status.await.expect("ran").code(), None, "killed by a signal");
    let before = results(broker, &output);
    assert!(!before.is_empty() && before.len() < sent.len(), "some were committed");
    copier(broker, &input, &output).copy().await.expect("copied");
    assert_eq!(results(broker, &output), sent);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process that another test starts"]
async fn sleeps_in_an_open_transaction() {
    let mut copier = copier_of_child();
    half_a_run(&mut copier).await;
    signal("-STOP", std::process::id());
    let error = copier.commit().await.expect_err("others have gone on");
    assert!(error.is_fenced(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_wakes_up_late_commits_nothing() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 2), broker.topic("out", 1));
    let sent = numbered(0..8_000);
    produce(broker, &input, &sent, 2);
    let mut command = child("recovery::sleeps_in_an_open_transaction", broker, &input, &output);
    let mut zombie = command.spawn().expect("started");
    // Its session ends while it sleeps; then the partitions are given to this one.
    while results(broker, &output).is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    copier(broker, &input, &output).copy().await.expect("copied");
    signal("-CONT", zombie.id());
    let status = tokio::task::spawn_blocking(move || zombie.wait().expect("ended"));
    assert!(status.await.expect("ended").success(), "the zombie was fenced");
    assert_eq!(results(broker, &output), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_sink_of_a_pipeline_fences_off_the_first() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    produce(broker, &input, &numbered(0..10), 1);
    let mut first = copier(broker, &input, &output);
    first.begin().await.expect("begun");
    let batch = loop {
        match first.event().await.expect("event").expect("not the end") {
            SourceEvent::Batch(batch) if batch.rows.num_rows() > 0 => break batch,
            _ => {}
        }
    };
    first.write(&batch).await.expect("written");
    // Another sink on the same lease: as when a new process is given the partition.
    let groups = BTreeMap::from([(SOURCE.to_string(), first.source.group())]);
    let mut second = sink_of(broker, &output, groups, &[]).expect("a sink");
    let assignment = BTreeMap::from([(SOURCE.to_string(), first.assignment.clone())]);
    assert_eq!(second.recover(&input, &assignment).await, Ok(None));
    let error = first.commit().await.expect_err("fenced");
    assert!(error.is_fenced(), "{error:?}");
    let error = first.write(&batch).await.expect_err("fenced for good");
    assert!(error.is_fenced(), "{error:?}");
    assert!(broker.read_committed(&output).is_empty());
    drop(second);
    first.copy().await.expect("copied");
    assert_eq!(results(broker, &output), numbered(0..10));
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_other_sources_is_a_record() {
    let broker = Broker::shared();
    let output = broker.topic("out", 1);
    let files = Assignment::whole(vec!["0".into()]);
    let assignment = BTreeMap::from([("files".to_string(), files)]);
    let new_sink = || sink_of(broker, &output, BTreeMap::new(), &[]).expect("a sink");
    let mut sink = new_sink();
    assert_eq!(sink.recover(&output, &assignment).await, Ok(None));
    let mut progress = Progress { pipeline: output.clone(), ..Progress::default() };
    for epoch in 1..=3 {
        progress.epoch = epoch;
        progress.state = Some(format!("epoch-{epoch}"));
        progress.positions = BTreeMap::from([(
            "files".to_string(),
            BTreeMap::from([("0".into(), 10 * epoch as i64)]),
        )]);
        sink.commit(&progress).await.expect("committed");
    }
    let rows = RecordBatch::new_empty(schema_of(&columns()));
    sink.write(Output::Rows(&rows)).await.expect("written");
    let mut next = new_sink();
    assert_eq!(next.recover(&output, &assignment).await, Ok(Some(progress.clone())));
    progress.epoch = 4;
    let error = sink.commit(&progress).await.expect_err("fenced");
    assert!(error.is_fenced(), "{error:?}");
    // A commit that changes nothing but its number needs no transaction.
    let before = broker.read_committed(&format!("{output}.progress")).len();
    next.commit(&progress).await.expect("committed");
    assert_eq!(broker.read_committed(&format!("{output}.progress")).len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_transactions_each_result_is_there_at_least_once() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 2), broker.topic("out", 1));
    let sent = numbered(0..8_000);
    produce(broker, &input, &sent, 2);
    let at_least_once = || {
        let source = source(broker, &input, &input, &[("stop_at_end", "true")]);
        let sink = sink(broker, &output, &source, &[("delivery", "at_least_once")]);
        assert_eq!((sink.promise(), sink.transaction_timeout()), (Delivery::AtLeastOnce, None));
        Copier::new(&input, source, sink)
    };
    let mut first = at_least_once();
    half_a_run(&mut first).await;
    drop(first);
    at_least_once().copy().await.expect("copied");
    let mut found = results(broker, &output);
    assert!(found.len() > sent.len(), "what was not committed comes again");
    found.dedup();
    assert_eq!(found, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_and_comes_back_costs_time_only() {
    let broker = Broker::start();
    let (input, output) = (broker.topic("in", 2), broker.topic("out", 1));
    let sent = numbered(0..20_000);
    produce(&broker, &input, &sent, 2);
    let mut copier = copier(&broker, &input, &output);
    half_a_run(&mut copier).await;
    broker.kill_hard();
    let rest = tokio::spawn(async move {
        copier.commit().await.ok();
        copier.copy_through_failures().await;
    });
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    broker.restart();
    rest.await.expect("copied");
    assert_eq!(results(&broker, &output), sent);
}
