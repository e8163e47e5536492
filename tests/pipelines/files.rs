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

/// Producers that send at least once repeat ids, and some rows have none. Windows reject such rows.
#[test]
fn a_window_rejects_rows_without_an_id_of_their_own() {
    let line = |id: &str, second: u64, text: &str| {
        format!(
            "{{\"id\": {id}, \"text\": \"{text}\", \"ts\": {}}}\n",
            1_767_225_600_000 + second * 1000
        )
    };
    for (name, query) in [
        (
            "stars",
            "SELECT id FROM dedup(tumble(messages, INTERVAL '1 minute'), partition_by => (window_start, window_end)) WHERE is_kept",
        ),
        (
            "online",
            "SELECT id FROM online_dedup(tumble(messages, INTERVAL '1 minute'), horizon => INTERVAL '1 hour') WHERE is_kept",
        ),
    ] {
        let place = Place::new();
        let rows = [
            line("1", 0, "my card was stolen"),
            line("2", 1, "how high is the fee"),
            line("1", 2, "where is my refund"),
            line("null", 3, "the exchange rate is wrong"),
            line("3", 4, "where is my refund"),
            // The next window: ids may come again.
            line("1", 70, "please close the account"),
            line("4", 71, "a top up did not arrive"),
        ];
        place.write("messages.jsonl", &rows.concat());
        let file = place.write(
            &format!("{name}.sql"),
            &format!(
                "CREATE SOURCE messages (id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP, WATERMARK FOR ts)
                   WITH (connector = 'files', path = 'messages.jsonl');
                 CREATE SINK {name} WITH (connector = 'files', path = '{name}', format = 'json', dead_letter_path = '{name}_bad');
                 INSERT INTO {name} {query};"
            ),
        );
        assert!(run(&place, &file, None), "{}", stderr(&place));
        let ids: Vec<_> = [1, 1, 2, 3, 4].map(|id| format!("{{\"id\":{id}}}")).into();
        assert_eq!(published(&place.path(name)), ids, "{name}");
        let letters = published(&place.path(&format!("{name}_bad")));
        assert_eq!(letters.len(), 2, "{letters:?}");
        for (position, why) in [(2, "id 1 is in the input twice"), (3, "has no id")] {
            let told = format!("\"position\":{position},");
            let letter = letters.iter().find(|letter| letter.contains(&told));
            assert!(letter.is_some_and(|letter| letter.contains(why)), "{why}: {letters:?}");
            let letter = letter.map(String::as_str).unwrap_or_default();
            let payload = "\"payload\":\"{\\\"id\\\":";
            assert!(letter.contains(payload) && !letter.contains("[-0."), "as declared: {letter}");
        }
    }
}

#[test]
fn a_row_without_a_usable_time_is_rejected_with_its_file_and_line() {
    let place = Place::new();
    // Milliseconds, but for the second and the last, which are microseconds.
    place.write(
        "events.csv",
        "id,text,ts\n1,\"two\nlines\",1709251200000\n2,far,1709251200000000\n3,none,\n\
         4,late,1709251500000\n",
    );
    place.write("more.csv", "id,text,ts\n5,far,1709251200000000\n6,good,1709251560000\n");
    for (name, order) in [("sorted", ""), ("in_order", ", in_order = true")] {
        let file = place.write(
            &format!("{name}.sql"),
            &format!(
                "CREATE SOURCE events (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts)
                   WITH (connector = 'files', path = '*.csv'{order});
                 CREATE SINK {name} WITH (connector = 'files', path = '{name}', format = 'json', dead_letter_path = '{name}_bad');
                 INSERT INTO {name} SELECT window_start, count(*) AS n
                   FROM tumble(events, ts, INTERVAL '10 minutes') GROUP BY window_start;"
            ),
        );
        assert!(run(&place, &file, None), "{}", stderr(&place));
        let windows = published(&place.path(name));
        assert!(windows.len() == 1 && windows[0].contains("\"n\":3"), "{windows:?}");
        let letters = published(&place.path(&format!("{name}_bad")));
        assert_eq!(letters.len(), 3, "{letters:?}");
        for (partition, line, id) in
            [("events.csv", 4, 2), ("events.csv", 5, 3), ("more.csv", 2, 5)]
        {
            let place = format!("\"partition\":\"{partition}\",\"position\":{line},");
            let is_it = |letter: &&String| letter.contains(&place);
            let letter =
                letters.iter().find(is_it).unwrap_or_else(|| panic!("{place}: {letters:?}"));
            let payload = letter.split_once("\"payload\":").map_or("", |(_, payload)| payload);
            assert!(payload.contains(&format!("{id},")), "{letter}");
            assert!(letter.contains(&format!("(line {line}), column 'ts'")), "{letter}");
        }
    }
}

#[test]
fn a_kill_at_any_failpoint_changes_no_data_set() {
    let place = Place::new();
    place.write("messages.jsonl", &(messages().join("\n") + "\n"));
    assert!(run(&place, &files_pipeline(&place, "golden", "max"), None));
    let golden = published(&place.path("golden"));
    assert!(golden.len() > 20 && golden.len() < ROWS, "{} rows", golden.len());
    let others = ["embed.", "kafka.", "postgres.", "collection."];
    let is_ours = |name: &&&str| !others.iter().any(|other| name.starts_with(other));
    let own = |name: &&&str| is_ours(name) && **name != "pipeline.drain";
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
    let all: BTreeSet<String> =
        failpoint::ALL.iter().filter(is_ours).map(|name| name.to_string()).collect();
    assert_eq!(&all - &reached(&place), BTreeSet::new(), "failpoints that no run has reached");
}
