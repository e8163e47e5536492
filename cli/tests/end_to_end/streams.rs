//! Pipelines killed at every place where a kill could lose or repeat something: what is committed
//! in the end equals what an undisturbed run commits. Against folders and against a real Kafka
//! broker.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sembla_runtime::failpoint;
use sembla_testing::{Broker, Record};

use crate::place::Place;

/// Rows of the stream.
const ROWS: usize = 600;

/// Records that are no rows, among the others.
const POISON: [&[u8]; 4] = [
    b"{",
    b"{\"id\": \"one\", \"text\": \"x\", \"ts\": 0}",
    b"\xff\xfe",
    b"{\"id\": 1, \"text\": null, \"ts\": 0}",
];

/// What a person would ask of windows: counts, and rows that say nothing new.
const QUERY: &str = "SELECT window_start, id, text FROM online_dedup(tumble(messages, INTERVAL '1 minute'), \
                     horizon => INTERVAL '10 minutes', threshold => 0.95) WHERE is_kept";

/// How long a run may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The rows as JSON, one every second.
fn messages() -> Vec<String> {
    let words = ["card", "refund", "fee", "transfer", "top up", "exchange", "cash", "account"];
    (0..ROWS)
        .map(|n| {
            let text = format!("{} {}", words[n % 8], words[n * n % 7 + n % 2]);
            let at = 1_767_225_600_000 + n as u64 * 1000;
            format!("{{\"id\": {n}, \"text\": \"{text}\", \"ts\": {at}}}")
        })
        .collect()
}

/// Runs a pipeline, killed at a failpoint if one is named. Tells whether it ended well.
fn run(place: &Place, file: &Path, fail_at: Option<&str>) -> bool {
    let mut child = start(place, file, fail_at);
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.success();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().expect("killed");
            panic!("{} with {fail_at:?} does not end", file.display());
        }
        sleep(Duration::from_millis(20));
    }
}

fn start(place: &Place, file: &Path, fail_at: Option<&str>) -> Child {
    let file = file.to_str().expect("a path");
    let settings = [
        "run",
        file,
        "-m",
        "potion",
        "--set",
        "checkpoint_interval=1 ms",
        "--set",
        "batch_rows=37",
    ];
    let mut command = place.command(&settings);
    command
        .env("SEMBLA_FAIL_LOG", place.path("reached"))
        .env("SEMBLA_FAIL_AT", fail_at.unwrap_or(""));
    command.stderr(fs::File::create(place.path("stderr")).expect("a file"));
    command.spawn().expect("the binary runs")
}

/// The failpoints that runs in this place have reached.
fn reached(place: &Place) -> BTreeSet<String> {
    let text = fs::read_to_string(place.path("reached")).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

/// The published lines of a data set, sorted.
fn published(folder: &Path) -> Vec<String> {
    let mut lines: Vec<String> = fs::read_dir(folder)
        .expect("a data set")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .flat_map(|path| {
            let text = fs::read_to_string(path).expect("lines");
            text.lines().map(str::to_string).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines
}

fn files_pipeline(place: &Place, name: &str, speed: &str) -> std::path::PathBuf {
    place.write(
        &format!("{name}.sql"),
        &format!(
            "CREATE SOURCE messages (id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
               WITH (connector = 'files', path = 'messages.jsonl', partitions = '2', speed = '{speed}');
             CREATE SINK {name} WITH (connector = 'files', path = '{name}', format = 'json');
             INSERT INTO {name} {QUERY};"
        ),
    )
}

#[test]
fn a_kill_at_any_failpoint_changes_no_data_set() {
    let place = Place::new();
    place.write("messages.jsonl", &(messages().join("\n") + "\n"));
    assert!(run(&place, &files_pipeline(&place, "golden", "max"), None));
    let golden = published(&place.path("golden"));
    assert!(golden.len() > 20 && golden.len() < ROWS, "{} rows", golden.len());
    let own = |name: &&&str| !name.starts_with("kafka.") && **name != "pipeline.drain";
    for name in failpoint::ALL.iter().filter(own) {
        for nth in [1, 2, 5] {
            let sink = format!("{}_{nth}", name.replace('.', "_"));
            let file = files_pipeline(&place, &sink, "max");
            let ended = run(&place, &file, Some(&format!("{name}:{nth}")));
            assert!(!ended || nth > 1, "{name} is not reached");
            assert!(run(&place, &file, None), "{name}:{nth}: {}", stderr(&place));
            assert_eq!(published(&place.path(&sink)), golden, "{name}:{nth}");
        }
    }
    // A kill while it drains, after it was asked to stop.
    let file = files_pipeline(&place, "drained", "60");
    let mut child = start(&place, &file, Some("pipeline.drain"));
    sleep(Duration::from_millis(1500));
    interrupt(&child);
    assert!(!child.wait().expect("a child").success());
    assert!(run(&place, &files_pipeline(&place, "drained", "max"), None), "{}", stderr(&place));
    assert_eq!(published(&place.path("drained")), golden);
    let all: BTreeSet<String> = failpoint::ALL
        .iter()
        .filter(|name| !name.starts_with("kafka."))
        .map(|n| n.to_string())
        .collect();
    assert_eq!(&all - &reached(&place), BTreeSet::new(), "failpoints that no run has reached");
}

fn stderr(place: &Place) -> String {
    fs::read_to_string(place.path("stderr")).unwrap_or_default()
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
}

/// The topics of one test.
struct Topics {
    broker: &'static Broker,
    messages: String,
}

impl Topics {
    fn filled() -> Self {
        let broker = Broker::shared();
        let messages = broker.topic(&Broker::unique("messages"), 2);
        let mut records: Vec<Record> = messages_and_poison();
        for (n, record) in records.iter_mut().enumerate() {
            *record = record.clone().partition(n as i32 % 2);
        }
        broker.produce(&messages, &records);
        Self { broker, messages }
    }

    /// A pipeline into a topic of its own.
    fn pipeline(
        &self,
        place: &Place,
        name: &str,
        query: &str,
        stop_at_end: bool,
    ) -> std::path::PathBuf {
        let servers = self.broker.servers();
        place.write(
            &format!("{name}.sql"),
            &format!(
                "CREATE SOURCE messages (id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
                   WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = '{}', stop_at_end = '{stop_at_end}',
                         session_timeout = '6 s');
                 CREATE SINK {name} WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = '{name}',
                         dead_letter_topic = '{name}_bad', create_topics = 'true');
                 INSERT INTO {name} {query};",
                self.messages
            ),
        )
    }

    fn committed(&self, topic: &str) -> Vec<String> {
        let mut all: Vec<String> =
            self.broker.read_committed(topic).iter().map(|record| record.text()).collect();
        all.sort();
        all
    }
}

fn messages_and_poison() -> Vec<Record> {
    let mut records: Vec<Record> = messages().iter().map(Record::new).collect();
    let poison = POISON.iter().map(Record::new);
    let places = [0, 1, ROWS / 2, records.len() + 3];
    for (record, place) in poison.zip(places) {
        records.insert(place, record);
    }
    records
}

#[test]
fn a_kill_at_any_failpoint_changes_no_topic() {
    let place = Place::new();
    let topics = Topics::filled();
    let golden_file = topics.pipeline(&place, "golden", QUERY, true);
    assert!(run(&place, &golden_file, None), "{}", stderr(&place));
    let golden = topics.committed("golden");
    assert!(golden.len() > 20 && golden.len() < ROWS, "{} rows", golden.len());
    let bad = topics.committed("golden_bad");
    assert_eq!(bad.len(), POISON.len(), "{bad:?}");
    let apart = ["pipeline.drain", "kafka.rebalance"];
    let own = |name: &&&str| !name.starts_with("files.") && !apart.contains(*name);
    for name in failpoint::ALL.iter().filter(own) {
        for nth in [1, 3] {
            let sink = format!("{}_{nth}", name.replace('.', "_"));
            let file = topics.pipeline(&place, &sink, QUERY, true);
            let ended = run(&place, &file, Some(&format!("{name}:{nth}")));
            assert!(!ended || nth > 1, "{name} is not reached");
            assert!(run(&place, &file, None), "{name}:{nth}: {}", stderr(&place));
            assert_eq!(topics.committed(&sink), golden, "{name}:{nth}");
            assert_eq!(topics.committed(&format!("{sink}_bad")), bad, "{name}:{nth}");
        }
    }
    two_instances(&place, &topics);
    let all: BTreeSet<String> = failpoint::ALL
        .iter()
        .filter(|name| !name.starts_with("files."))
        .map(|n| n.to_string())
        .collect();
    assert_eq!(&all - &reached(&place), BTreeSet::new(), "failpoints that no run has reached");
}

/// A second instance joins, the first is killed while it gives partitions back, and the second one
/// is killed while it drains.
fn two_instances(place: &Place, topics: &Topics) {
    let query = "SELECT id, text, embed(text, 'potion')[1] AS first FROM messages";
    let file = topics.pipeline(place, "shared", query, false);
    let mut first = start(place, &file, Some("kafka.rebalance"));
    let begun = Instant::now();
    while topics.committed_if_there("shared").len() < ROWS / 2 && begun.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100));
    }
    let mut second = start(place, &file, Some("pipeline.drain"));
    assert!(!first.wait().expect("a child").success());
    let begun = Instant::now();
    while topics.committed_if_there("shared").len() < ROWS && begun.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100));
    }
    interrupt(&second);
    assert!(!second.wait().expect("a child").success());
    let last = topics.pipeline(place, "shared", query, true);
    assert!(run(place, &last, None), "{}", stderr(place));
    let ids: Vec<String> = topics.committed("shared");
    assert_eq!(ids.len(), ROWS);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ROWS);
}

impl Topics {
    /// As [`Topics::committed`], for a topic that may not be there yet.
    fn committed_if_there(&self, topic: &str) -> Vec<String> {
        if self.broker.has_topic(topic) { self.committed(topic) } else { Vec::new() }
    }
}
