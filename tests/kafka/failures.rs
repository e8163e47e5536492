//! What goes wrong is reported in one line that names the thing and the fix, and no secret.

use std::collections::BTreeMap;

use sembla_connectors::formats::schema_of;
use sembla_connectors::kafka::{KafkaSink, KafkaSource};
use sembla_runtime::{Assignment, Error, Output, Progress, Sink, Source};
use sembla_testing::{Broker, Record};

use crate::support::{Copier, columns, options, sink, sink_of, source};

fn refusal(pairs: &[(&str, &str)]) -> String {
    KafkaSource::new("p", &columns(), &options(pairs)).expect_err("refused").to_string()
}

fn whole() -> BTreeMap<String, Assignment> {
    let assignment = Assignment::whole(vec!["0".into()]);
    BTreeMap::from([("files".to_string(), assignment)])
}

#[test]
fn options_that_cannot_be_are_named() {
    let with = |key, value| {
        refusal(&[
            ("bootstrap_servers", "b:9092"),
            ("topic", "t"),
            ("format", "text"),
            (key, value),
        ])
    };
    assert!(refusal(&[("topic", "t"), ("format", "text")]).contains("'bootstrap_servers'"));
    assert!(refusal(&[("bootstrap_servers", "b"), ("format", "text")]).contains("'topic'"));
    assert!(with("topic_pattern", "t.*").contains("can't be combined"));
    assert!(with("strat", "latest").contains("did you mean 'start'?"));
    assert!(with("start", "soon").contains("earliest, latest, a time"));
    assert!(with("kafka.enable.auto.commit", "true").contains("can't be set"));
    assert!(with("kafka.session.timeout.ms", "1").contains("use the option session_timeout"));
    assert!(with("security.protocol", "tls").contains("one of: plaintext"));
    let sink = |pairs: &[(&str, &str)]| {
        let mut all = vec![("bootstrap_servers", "b:9092"), ("topic", "t")];
        all.extend_from_slice(pairs);
        let sink = KafkaSink::new(&schema_of(&columns()), &options(&all), BTreeMap::new());
        sink.expect_err("refused").to_string()
    };
    assert!(sink(&[("key", "id")]).contains("columns: text, k, at"));
    assert!(sink(&[("format", "arrow"), ("key", "k")]).contains("one row per record"));
    assert!(sink(&[("partitions", "0")]).contains("between 1 and 10000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_that_the_client_refuses_are_options_at_fault() {
    let broker = Broker::shared();
    for (key, value) in [("kafka.no.such.property", "x"), ("kafka.fetch.min.bytes", "never")] {
        let topic = Broker::unique("in");
        let error = source(broker, "p", &topic, &[(key, value)]).assigned().await;
        let error = error.expect_err("refused");
        assert!(matches!(error, Error::Option(_)), "{error:?}");
        assert!(error.to_string().contains(key.trim_start_matches("kafka.")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_named() {
    let broker = Broker::shared();
    let error = source(broker, "p", "nowhere", &[]).assigned().await.expect_err("refused");
    assert!(error.to_string().contains("topic 'nowhere' does not exist on '127.0.0.1:"), "{error}");
    let mut sink = sink_of(broker, "nowhere", BTreeMap::new(), &[]).expect("a sink");
    let error = sink.recover("p", &whole()).await.expect_err("refused");
    assert!(error.to_string().contains("set create_topics = 'true'"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_on_request() {
    let broker = Broker::shared();
    let (topic, dead) = (Broker::unique("made"), Broker::unique("dead"));
    let more = [
        ("create_topics", "true"),
        ("partitions", "3"),
        ("dead_letter_topic", &dead),
        ("progress_topic", &format!("{topic}-progress")),
    ];
    let mut sink = sink_of(broker, &topic, BTreeMap::new(), &more).expect("a sink");
    sink.recover(&topic, &whole()).await.expect("recovered");
    let records: Vec<_> = (0..3).map(|partition| Record::new("x").partition(partition)).collect();
    broker.produce(&topic, &records);
    assert_eq!(broker.read_committed(&topic).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_forgets_is_no_place_for_progress() {
    let broker = Broker::shared();
    let topic = broker.topic("out", 1);
    let keeps = broker.topic_with("keeps", 1, &[("cleanup.policy", "compact")]);
    for forgetful in ["delete", "compact,delete"] {
        let progress = broker.topic_with("forgets", 1, &[("cleanup.policy", forgetful)]);
        let more = [("progress_topic", progress.as_str())];
        let mut sink = sink_of(broker, &topic, BTreeMap::new(), &more).expect("a sink");
        let line = sink.recover(&topic, &whole()).await.expect_err("refused").to_string();
        let wanted =
            format!("topic '{progress}' deletes records (cleanup.policy is '{forgetful}')");
        assert!(line.contains(&wanted), "{line}");
    }
    let more = [("progress_topic", keeps.as_str())];
    let mut sink = sink_of(broker, &topic, BTreeMap::new(), &more).expect("a sink");
    sink.recover(&topic, &whole()).await.expect("recovered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_may_come() {
    let pairs = [("bootstrap_servers", "127.0.0.1:1"), ("topic", "t"), ("format", "text")];
    let mut source = KafkaSource::new("p", &columns(), &options(&pairs)).expect("a source");
    let error = source.assigned().await.expect_err("unreachable");
    assert!(error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("Kafka at '127.0.0.1:1' can't be reached"), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_broker_that_has_none_says_so() {
    let broker = Broker::shared();
    let mut source = source(broker, "p", "t", &[("security.protocol", "ssl")]);
    let error = source.assigned().await.expect_err("refused");
    // The broker hangs up, as one would that is about to stop; so another try is worth it.
    assert!(error.is_transient(), "{error:?}");
    assert!(error.to_string().starts_with("TLS with Kafka at"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_certificate_that_it_is_given() {
    let broker = Broker::shared();
    let topic = broker.topic("in", 1);
    let (servers, certificate) = broker.servers_with_tls();
    let certificate = certificate.to_str().expect("a path");
    let tls = [("bootstrap_servers", servers.as_str()), ("security.protocol", "ssl")];
    let trusted = [tls[0], tls[1], ("ssl.ca.location", certificate)];
    let assignment = source(broker, &topic, &topic, &trusted).assigned().await;
    assert!(assignment.is_ok_and(|assignment| assignment.is_whole()));
    let error = source(broker, &topic, "other", &tls).assigned().await.expect_err("refused");
    let line = error.to_string();
    assert!(line.starts_with("TLS with Kafka at") && line.contains("certificate"), "{line}");
    let missing = [
        ("topic", "t"),
        ("bootstrap_servers", servers.as_str()),
        ("ssl.ca.location", "/nowhere/certificate.pem"),
    ];
    let line = refusal(&missing);
    assert!(line.contains("ssl.ca.location: the file '/nowhere/certificate.pem'"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_taken_or_refused() {
    let broker = Broker::shared();
    let topic = broker.topic("in", 1);
    for (password, is_right) in [(Broker::PASSWORD, true), ("hunter2-wrong", false)] {
        let servers = broker.servers_with_login();
        let login = [
            ("bootstrap_servers", servers.as_str()),
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", Broker::USER),
            ("sasl.password", password),
        ];
        let assigned = source(broker, &topic, &topic, &login).assigned().await;
        match assigned {
            Ok(assignment) => assert!(is_right && assignment.is_whole()),
            Err(error) => {
                assert!(!is_right && matches!(error, Error::External(_)), "{error:?}");
                let line = error.to_string();
                assert!(line.contains("rejected the login") && !line.contains("hunter2"), "{line}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_shown() {
    let broker = Broker::shared();
    let secrets = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "someone"),
        ("sasl.password", "hunter2-password"),
        ("ssl.key.password", "hunter2-key"),
        ("ssl.key.pem", "hunter2-pem"),
        ("kafka.sasl.oauthbearer.client.secret", "hunter2-oauth"),
    ];
    let mut shown = String::new();
    let mut source = source(broker, "p", "t", &secrets);
    shown += &format!("{source:?}");
    shown += &format!("{:?}", source.assigned().await);
    let mut sink = sink(broker, "t", &source, &secrets);
    shown += &format!("{sink:?}");
    shown += &format!("{:?}", sink.recover("p", &BTreeMap::new()).await);
    let bad = [("topic", "t"), ("bootstrap_servers", "b"), ("sasl.password", "")];
    shown += &refusal(&bad);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("***"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_broker_refuses_names_its_topic() {
    let broker = Broker::shared();
    let (input, output) =
        (broker.topic("in", 1), broker.topic_with("out", 1, &[("max.message.bytes", "1000")]));
    broker.produce(&input, &[Record::new("x".repeat(5_000))]);
    let source = source(broker, &input, &input, &[("stop_at_end", "true")]);
    let sink = sink(broker, &output, &source, &[]);
    let mut copier = Copier::new(&input, source, sink);
    let error = copier.copy().await.expect_err("refused");
    assert!(matches!(error, Error::Data(_)), "{error:?}");
    assert!(error.to_string().contains(&format!("topic '{output}'")), "{error}");
    assert!(error.to_string().contains("max.message.bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_the_progress_of_another_pipeline_is_refused() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    broker.produce(&input, &[Record::new("x")]);
    for (pipeline, fits) in [("one", true), ("other", false)] {
        let more = [("stop_at_end", "true"), ("group", input.as_str())];
        let source = source(broker, pipeline, &input, &more);
        let sink = sink(broker, &output, &source, &[]);
        match Copier::new(pipeline, source, sink).copy().await {
            Ok(()) => assert!(fits),
            Err(error) => {
                assert!(!fits && matches!(error, Error::State(_)), "{error:?}");
                assert!(error.to_string().contains("progress of pipeline 'one'"), "{error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_before_recovery() {
    let broker = Broker::shared();
    let mut sink = sink_of(broker, "t", BTreeMap::new(), &[]).expect("a sink");
    let rows = arrow::array::RecordBatch::new_empty(schema_of(&columns()));
    let error = sink.write(Output::Rows(&rows)).await.expect_err("refused");
    assert!(error.is_fenced(), "{error:?}");
    assert!(sink.commit(&Progress::default()).await.is_err());
}
