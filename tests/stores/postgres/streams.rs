//! Pipelines into a table, killed at every place, and with a server that goes away.

use std::collections::BTreeSet;

use sembla_runtime::failpoint;
use sembla_testing::Postgres;

use crate::place::Place;
use crate::{digest, ended, killed, messages, pipeline, start, stderr, wait_for_rows};

/// Rows of a stream that is killed often.
const FEW: usize = 300;
/// Rows of a stream that something happens in the middle of.
const MANY: usize = 6000;

fn run(place: &Place, file: &std::path::Path, fail_at: Option<&str>) -> bool {
    ended(&mut start(place, file, fail_at))
}

#[test]
fn a_kill_at_any_failpoint_changes_no_table() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let url = server.url(&database);
    place.write("messages.jsonl", &messages(FEW));
    assert!(run(&place, &pipeline(&place, "golden", &url, "", "max"), None), "{}", stderr(&place));
    let golden = digest(server, &database, "golden");
    assert!(golden.starts_with(&format!("{FEW}|{FEW}|")), "{golden}");
    let own = |name: &&&str| {
        let others = [
            "embed.",
            "kafka.",
            "files.",
            "collection.",
            "state.",
            "pipeline.window",
            "pipeline.drain",
        ];
        !others.iter().any(|other| name.starts_with(other))
    };
    let mut reached = BTreeSet::new();
    for name in failpoint::ALL.iter().filter(own) {
        for (nth, more) in [(1, ""), (3, ", key = 'id'")] {
            let table = format!("{}_{nth}", name.replace('.', "_"));
            let file = pipeline(&place, &table, &url, more, "max");
            let ended = run(&place, &file, Some(&format!("{name}:{nth}")));
            assert!(!ended || nth > 1, "{name} is not reached");
            assert!(run(&place, &file, None), "{name}:{nth}: {}", stderr(&place));
            assert_eq!(digest(server, &database, &table), golden, "{name}:{nth}");
            reached.insert(name.to_string());
        }
    }
    assert!(reached.contains("postgres.commit.after"), "{reached:?}");
}

#[test]
fn two_kills_in_the_middle_of_a_stream_lose_and_double_nothing() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let url = server.url(&database);
    place.write("messages.jsonl", &messages(MANY));
    assert!(run(&place, &pipeline(&place, "golden", &url, "", "max"), None), "{}", stderr(&place));
    let golden = digest(server, &database, "golden");
    let file = pipeline(&place, "killed", &url, "", "max");
    let mut kills = 0;
    for more_than in [0, MANY / 3] {
        // It waits at a place that it reaches in any case, to be killed there.
        let mut child = start(&place, &file, Some("postgres.staged:60=sleep(60000)"));
        wait_for_rows(server, &database, "killed", more_than, &mut child);
        kills += usize::from(child.try_wait().expect("a child").is_none());
        killed(&mut child);
    }
    assert_eq!(kills, 2, "the stream had ended before it was killed");
    assert!(run(&place, &file, None), "{}", stderr(&place));
    assert_eq!(digest(server, &database, "killed"), golden);
    // Once more there is nothing to do.
    assert!(run(&place, &file, None), "{}", stderr(&place));
    assert_eq!(digest(server, &database, "killed"), golden);
}

#[test]
fn a_server_that_goes_away_and_comes_back_costs_no_row() {
    let (server, place) = (Postgres::start(), Place::new());
    let database = server.database();
    let url = server.url(&database);
    place.write("messages.jsonl", &messages(MANY));
    let file = pipeline(&place, "golden", &url, "", "max");
    assert!(run(&place, &file, None), "{}", stderr(&place));
    let golden = digest(&server, &database, "golden");
    // A row a second, six hundred times as fast: it takes ten seconds at least.
    let file = pipeline(&place, "docs", &url, "", "600");
    let mut child = start(&place, &file, None);
    for (more_than, hard) in [(0, false), (MANY / 3, true)] {
        wait_for_rows(&server, &database, "docs", more_than, &mut child);
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it ended before: {}",
            stderr(&place)
        );
        if hard {
            server.kill_hard()
        } else {
            server.stop()
        }
        let refused = format!("postgres at {} refuses connections", server.shown());
        while !stderr(&place).contains(&refused) {
            assert!(child.try_wait().expect("a child").is_none(), "{}", stderr(&place));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        std::fs::write(place.path("stderr"), "").expect("written");
        server.restart();
    }
    assert!(ended(&mut child), "{}", stderr(&place));
    assert_eq!(digest(&server, &database, "docs"), golden);
    assert!(!stderr(&place).contains(Postgres::PASSWORD));
}

#[test]
fn an_older_process_commits_nothing_after_a_newer_one_has_started() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    place.write("messages.jsonl", &messages(MANY));
    let file = pipeline(&place, "docs", &server.url(&database), "", "max");
    let mut older = start(&place, &file, None);
    wait_for_rows(server, &database, "docs", 0, &mut older);
    let mut newer = start(&place, &file, None);
    // They may take over from each other a few times, then one of them gives up.
    let outcomes = [ended(&mut older), ended(&mut newer)];
    assert!(outcomes.contains(&true), "{}", stderr(&place));
    let rows = server.sql(&database, "SELECT count(*), count(DISTINCT id), max(id) FROM docs");
    assert_eq!(rows, format!("{MANY}|{MANY}|{}", MANY - 1));
}

#[test]
fn a_table_that_is_gone_is_not_filled_from_the_middle() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    place.write("messages.jsonl", &messages(FEW));
    let file = pipeline(&place, "docs", &server.url(&database), "", "max");
    assert!(!run(&place, &file, Some("postgres.commit.after:2")));
    server.sql(&database, "DROP TABLE docs");
    for _ in 0..2 {
        assert!(!run(&place, &file, None));
        let told = stderr(&place);
        assert!(
            told.contains("does not exist any more") && told.contains("--ignore-state"),
            "{told}"
        );
    }
    let file = file.to_str().expect("a path");
    place.run(&["run", file, "-m", "potion", "--ignore-state"]).ok();
    assert!(digest(server, &database, "docs").starts_with(&format!("{FEW}|{FEW}|")));
}

#[test]
fn rows_that_a_table_refuses_become_dead_letters() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    server.sql(&database, "CREATE TABLE docs (id bigint PRIMARY KEY, text text CHECK (text <> 'bad'), ts timestamptz)");
    let rows = [
        "{\"id\": 1, \"text\": \"good\", \"ts\": 0}",
        "{\"id\": 2, \"text\": \"bad\", \"ts\": 0}",
        "{\"id\": null, \"text\": \"no id\", \"ts\": 0}",
        "{\"id\": 3, \"text\": \"a\\u0000b\", \"ts\": 0}",
        "{\"id\": 4, \"text\": \"late\", \"ts\": 0}",
        "no JSON",
    ];
    place.write("messages.jsonl", &(rows.join("\n") + "\n"));
    let url = server.url(&database);
    let file = place.write(
        "p.sql",
        &format!(
            "CREATE SOURCE messages (id BIGINT, text VARCHAR, ts TIMESTAMP)
               WITH (connector = 'files', path = 'messages.jsonl');
             CREATE SINK docs WITH (connector = 'postgres', url = '{url}', table = 'docs', key = 'id',
               dead_letter_table = 'letters');
             INSERT INTO docs SELECT id, text, ts FROM messages;"
        ),
    );
    assert!(run(&place, &file, None), "{}", stderr(&place));
    assert_eq!(server.sql(&database, "SELECT id, text FROM docs ORDER BY id"), "1|good\n4|late");
    let letters = server.sql(&database, "SELECT reason FROM letters ORDER BY reason");
    assert_eq!(letters.lines().count(), 4, "{letters}");
    for word in
        ["relation \"docs\" violates check constraint", "not-null constraint", "U+0000", "line 6"]
    {
        assert!(letters.contains(word), "{word}: {letters}");
    }
}

#[test]
fn the_example_runs_night_after_night() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(root.join("examples"), place.path("examples")).expect("a link");
    for _ in 0..2 {
        let mut command = place.command(&["run", "examples/streams/pgvector.sql", "-m", "potion"]);
        let output = command.env("DATABASE_URL", server.url(&database)).output().expect("a run");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !told.contains(Postgres::PASSWORD), "{told}");
        let rows = server.sql(&database, "SELECT count(*), count(DISTINCT id) FROM banking");
        assert_eq!(rows, "3080|3080");
    }
    let index = "SELECT count(*) FROM pg_indexes WHERE indexname = 'banking_embedding_hnsw'";
    assert_eq!(server.sql(&database, index), "1");
}
