//! `sembla embed` into a table: killed, started again, and run night after night.

use std::process::Child;

use sembla_testing::Postgres;

use crate::place::{Place, Run};
use crate::{digest, ended, killed, stderr, wait_for_rows};

/// Rows of an input.
const ROWS: usize = 20_000;

fn input(place: &Place, rows: usize, version: &str) {
    let words = ["card", "refund", "fee", "transfer", "top up", "exchange"];
    let line = |n: usize| format!("{n},{version} {} {} {n}\n", words[n % 6], words[n / 6 % 6]);
    place.write("in.csv", &format!("id,text\n{}", (0..rows).map(line).collect::<String>()));
}

fn arguments(output: &str) -> Vec<String> {
    let all = [
        "embed",
        "in.csv",
        "-o",
        output,
        "-m",
        "potion",
        "--part-rows",
        "500",
        "--batch-rows",
        "100",
    ];
    all.map(str::to_string).to_vec()
}

fn embed(place: &Place, output: &str, more: &[&str]) -> Run {
    let mut all = arguments(output);
    all.extend(more.iter().map(|more| more.to_string()));
    place.run(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn start(place: &Place, output: &str, fail_at: &str) -> Child {
    let all = arguments(output);
    let mut command = place.command(&all.iter().map(String::as_str).collect::<Vec<_>>());
    command.env("SEMBLA_FAIL_AT", fail_at);
    command.stderr(std::fs::File::create(place.path("stderr")).expect("a file"));
    command.spawn().expect("the binary runs")
}

#[test]
fn two_kills_change_no_row_and_a_finished_run_is_not_repeated() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    input(&place, ROWS, "a");
    let golden = format!("{}?table=golden", server.url(&database));
    embed(&place, &golden, &[]).ok();
    let golden = digest(server, &database, "golden");
    assert!(golden.starts_with(&format!("{ROWS}|{ROWS}|")), "{golden}");
    let output = format!("{}?table=docs", server.url(&database));
    for more_than in [0, ROWS / 4] {
        // It waits at a place that it reaches in any case, to be killed there.
        let mut child = start(&place, &output, "postgres.staged:70=sleep(60000)");
        wait_for_rows(server, &database, "docs", more_than, &mut child);
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it ended before: {}",
            stderr(&place)
        );
        killed(&mut child);
    }
    let run = embed(&place, &output, &[]);
    assert!(run.err.contains("resuming after"), "{}", run.err);
    let shown = format!("postgres://{}/{database}?table=docs", server.shown());
    assert!(run.err.contains(&shown) && !run.err.contains(Postgres::PASSWORD), "{}", run.err);
    run.ok();
    assert_eq!(digest(server, &database, "docs"), golden);
    let again = embed(&place, &output, &[]);
    assert!(again.err.contains("is already complete"), "{}", again.err);
    assert_eq!(digest(server, &database, "docs"), golden);
    let comment = server.sql(
        &database,
        "SELECT col_description('docs'::regclass, attnum) FROM pg_attribute
         WHERE attrelid = 'docs'::regclass AND attname = 'embedding'",
    );
    assert!(comment.starts_with("vectors of model potion"), "{comment}");
    assert!(comment.contains("dimension 128, precision q8, fingerprint "), "{comment}");
}

#[test]
fn a_kill_at_each_failpoint_changes_no_table() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    input(&place, 2000, "a");
    embed(&place, &format!("{}?table=golden", server.url(&database)), &[]).ok();
    let golden = digest(server, &database, "golden");
    for name in ["postgres.staged", "postgres.commit.before", "postgres.commit.after"] {
        for nth in [1, 3] {
            for how in ["abort", "error"] {
                let table = format!("{}_{nth}_{how}", name.replace('.', "_"));
                let output = format!("{}?table={table}", server.url(&database));
                let well = ended(&mut start(&place, &output, &format!("{name}:{nth}={how}")));
                // An error is waited for, a kill is not.
                assert_eq!(well, how == "error", "{table}: {}", stderr(&place));
                if !well {
                    embed(&place, &output, &[]).ok();
                }
                assert_eq!(digest(server, &database, &table), golden, "{table}");
            }
        }
    }
}

#[test]
fn the_next_night_replaces_by_key_and_never_mixes_up_runs() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let keyed = format!("{}?table=docs&key=id&index=hnsw", server.url(&database));
    input(&place, 1000, "a");
    embed(&place, &keyed, &[]).ok();
    input(&place, 1200, "b");
    embed(&place, &keyed, &[]).ok();
    let counts =
        "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE text LIKE 'b %') FROM docs";
    assert_eq!(server.sql(&database, counts), "1200|1200|1200");
    let index = server
        .sql(&database, "SELECT indexdef FROM pg_indexes WHERE indexname = 'docs_embedding_hnsw'");
    assert!(index.contains("vector_cosine_ops"), "{index}");
    // Without a key, rows of an unfinished run would come twice.
    let added = format!("{}?table=added", server.url(&database));
    assert!(!ended(&mut start(&place, &added, "postgres.commit.after:1")));
    input(&place, 900, "c");
    let line = embed(&place, &added, &[]).fails(2);
    assert!(
        line.contains("has 500 rows of an unfinished run") && line.contains("--restart"),
        "{line}"
    );
    embed(&place, &added, &["--restart"]).ok();
    assert_eq!(server.sql(&database, "SELECT count(*) FROM added"), "1400");
    // A table that is gone is written again.
    server.sql(&database, "DROP TABLE docs");
    embed(&place, &keyed, &[]).ok();
    assert_eq!(server.sql(&database, "SELECT count(*) FROM docs"), "900");
}

#[test]
fn a_server_that_is_away_for_a_while_is_waited_for() {
    let (server, place) = (Postgres::start(), Place::new());
    let database = server.database();
    input(&place, ROWS, "a");
    let output = format!("{}?table=docs", server.url(&database));
    let mut child = start(&place, &output, "postgres.staged:20=sleep(3000)");
    wait_for_rows(&server, &database, "docs", 0, &mut child);
    assert!(child.try_wait().expect("a child").is_none(), "it ended before: {}", stderr(&place));
    server.kill_hard();
    let refused = format!("postgres at {} refuses connections", server.shown());
    while !stderr(&place).contains(&refused) {
        assert!(child.try_wait().expect("a child").is_none(), "{}", stderr(&place));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.restart();
    assert!(ended(&mut child), "{}", stderr(&place));
    let rows = server.sql(&database, "SELECT count(*), count(DISTINCT id) FROM docs");
    assert_eq!(rows, format!("{ROWS}|{ROWS}"));
}

#[test]
fn a_document_that_became_shorter_leaves_no_chunks() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let output = format!(
        "{}?table=chunks&key=id,chunk_index&chunks_of=id&progress_table=p",
        server.url(&database)
    );
    let night = |sentences: [usize; 3]| {
        let line = |(id, count): (usize, &usize)| {
            format!("{id},{}\n", "A sentence about a card that was lost. ".repeat(*count))
        };
        let lines = sentences.iter().enumerate().map(line).collect::<String>();
        place.write("in.csv", &format!("id,text\n{lines}"));
        // Commits that end within a document.
        embed(&place, &output, &["--chunk", "sentence:24:0"]).ok();
        server.sql(
            &database,
            "SELECT id, count(*), max(chunk_index) + 1 FROM chunks GROUP BY id ORDER BY id",
        )
    };
    let counts = |text: &str| -> Vec<[usize; 2]> {
        let numbers = |line: &str| {
            line.split('|').skip(1).map(|n| n.parse().expect("a number")).collect::<Vec<_>>()
        };
        text.lines().map(|line| numbers(line).try_into().expect("two")).collect()
    };
    let long = counts(&night([2000, 900, 40]));
    assert!(long.iter().all(|[count, last]| count == last) && long[0][0] > 500, "{long:?}");
    let short = counts(&night([700, 900, 2]));
    assert!(short.iter().all(|[count, last]| count == last), "{short:?}");
    assert!(
        short[0][0] < long[0][0] && short[1] == long[1] && short[2][0] < long[2][0],
        "{short:?}"
    );
}
