//! Pipelines into folders, killed at every place.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use sembla_runtime::failpoint;

use super::{QUERY, ROWS, interrupt, messages, reached, run, start, stderr};
use crate::place::Place;

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
