//! A table as a stream, by the time of a row's last change.

use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use sembla_testing::Postgres;

use crate::place::Place;
use crate::{PATIENCE, ended, killed, start, stderr};

/// A source of the table `docs` and a sink of the table `out` with all versions of its rows.
fn pipeline(place: &Place, url: &str, lag: &str) -> PathBuf {
    place.write(
        "polls.sql",
        &format!(
            "CREATE SOURCE docs (id BIGINT, part VARCHAR, body VARCHAR, changed TIMESTAMP)
               WITH (connector = 'postgres', url = '{url}', table = 'docs', updated_at = 'changed',
                     key = 'id, part', poll = '50 ms', lag = '{lag}');
             CREATE SINK out WITH (connector = 'postgres', url = '{url}', table = 'out');
             INSERT INTO out SELECT id, part, body, changed FROM docs;"
        ),
    )
}

fn table(server: &Postgres, database: &str) {
    server.sql(
        database,
        "CREATE TABLE docs (id bigint, part text, body text, changed timestamptz NOT NULL DEFAULT now(),
                            PRIMARY KEY (id, part))",
    );
}

/// Waits until a statement gives a text.
fn wait(
    server: &Postgres,
    database: &str,
    sql: &str,
    wanted: &str,
    place: &Place,
    child: &mut Child,
) {
    let begun = Instant::now();
    loop {
        let got = server.try_sql(database, sql);
        if got.as_deref() == Ok(wanted) {
            return;
        }
        let is_running = child.try_wait().expect("a child").is_none();
        let is_in_time = begun.elapsed() < PATIENCE;
        assert!(is_running && is_in_time, "{got:?} is not {wanted}: {}", stderr(place));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends a process as a user does, and tells whether it ended well.
fn drained(child: &mut Child) -> bool {
    let id = child.id().to_string();
    assert!(
        std::process::Command::new("kill").args(["-TERM", &id]).status().expect("kill").success()
    );
    let status = child.wait().expect("a child");
    status.code() == Some(143) || status.success()
}

#[test]
fn each_change_comes_once_though_many_share_one_time_and_the_process_dies() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    table(server, &database);
    let file = pipeline(&place, &server.url(&database), "0 s");
    // One transaction, one time: more rows than a poll reads, so that it ends within that time.
    let rows = 40_000;
    server.sql(
        &database,
        &format!(
            "INSERT INTO docs SELECT n / 2, 'p' || n % 2, 'v1' FROM generate_series(1, {rows}) n"
        ),
    );
    for fail_at in ["postgres.staged:300", "postgres.commit.after:2"] {
        assert!(!ended(&mut start(&place, &file, Some(fail_at))), "{}", stderr(&place));
    }
    let counts = "SELECT count(*), count(DISTINCT (id, part)) FROM out";
    let before: usize =
        server.sql(&database, "SELECT count(*) FROM out").parse().expect("a number");
    assert!(before > 0, "{before}");
    let mut child = start(&place, &file, None);
    wait(server, &database, counts, &format!("{rows}|{rows}"), &place, &mut child);
    // Versions that come while it runs, and others while it is away.
    server.sql(&database, "UPDATE docs SET body = 'v2', changed = now() WHERE id < 100");
    wait(
        server,
        &database,
        "SELECT count(*) FROM out WHERE body = 'v2'",
        "199",
        &place,
        &mut child,
    );
    killed(&mut child);
    server.sql(&database, "UPDATE docs SET body = 'v3', changed = now() WHERE id < 50");
    server.sql(&database, "UPDATE docs SET body = 'v4', changed = now() WHERE id < 10");
    let mut child = start(&place, &file, None);
    let last = "SELECT count(*) FROM docs d WHERE NOT EXISTS
                (SELECT 1 FROM out o WHERE (o.id, o.part, o.body) = (d.id, d.part, d.body))";
    wait(server, &database, last, "0", &place, &mut child);
    assert!(drained(&mut child), "{}", stderr(&place));
    let twice =
        "SELECT count(*) FROM (SELECT 1 FROM out GROUP BY id, part, body HAVING count(*) > 1) t";
    assert_eq!(server.sql(&database, twice), "0");
    let times = "SELECT count(*) FROM docs d JOIN out o USING (id, part, body)
                 WHERE o.changed <> d.changed AT TIME ZONE 'UTC'";
    assert_eq!(server.sql(&database, times), "0");
}

#[test]
fn a_transaction_that_commits_late_is_seen_within_the_lag() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    table(server, &database);
    let file = pipeline(&place, &server.url(&database), "4 s");
    let mut child = start(&place, &file, None);
    // It takes its time at the beginning, and commits when a later row is there already.
    let open = std::thread::scope(|scope| {
        let late = scope.spawn(|| {
            server.sql(
                &database,
                "BEGIN; INSERT INTO docs VALUES (1, 'late', 'x'); SELECT pg_sleep(1.5); COMMIT",
            )
        });
        std::thread::sleep(Duration::from_millis(500));
        server.sql(&database, "INSERT INTO docs VALUES (2, 'early', 'x')");
        late.join()
    });
    assert!(open.is_ok());
    let parts = "SELECT string_agg(part, ' ' ORDER BY changed) FROM out";
    wait(server, &database, parts, "late early", &place, &mut child);
    assert!(drained(&mut child), "{}", stderr(&place));
}

#[test]
fn a_query_reads_what_is_there_and_rows_that_can_not_be_are_named() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    table(server, &database);
    server.sql(
        &database,
        "INSERT INTO docs SELECT n, 'p', 'text ' || n FROM generate_series(1, 10000) n;
         CREATE VIEW seen AS SELECT * FROM docs; CREATE TABLE loose (id int, at timestamp)",
    );
    let url = server.url(&database);
    let sql = |columns: &str, options: &str, query: &str| {
        let source = format!(
            "CREATE SOURCE s ({columns}) WITH (connector = 'postgres', url = '{url}', {options}); {query}"
        );
        place.run(&["sql", &source, "--format", "csv"])
    };
    let docs = "table = 'docs', updated_at = 'changed', key = 'id, part'";
    let count = sql("id BIGINT, body VARCHAR", docs, "SELECT count(*), max(body) FROM s").ok();
    assert!(count.contains("10000,text 9999"), "{count}");
    let view = docs.replace("'docs'", "'seen'");
    let count = sql("id INT", &view, "SELECT sum(id) FROM s").ok();
    assert!(count.contains("50005000"), "{count}");
    let fails = |columns: &str, options: &str| {
        let run = sql(columns, options, "SELECT count(*) FROM s");
        assert_eq!(run.code, 2, "{}{}", run.out, run.err);
        assert!(!run.err.contains(Postgres::PASSWORD), "{}", run.err);
        run.err.lines().last().unwrap_or_default().to_string()
    };
    let line = fails("id BIGINT, title VARCHAR", docs);
    assert!(
        line.contains("table docs has no column 'title'; it has id, part, body, changed"),
        "{line}"
    );
    let line = fails("id BIGINT", &docs.replace("'changed'", "'body'"));
    assert!(
        line.contains("column 'body' of table docs must be a timestamp, and is text"),
        "{line}"
    );
    let line = fails("id BIGINT", &docs.replace("'id, part'", "'id'"));
    assert!(line.contains("has no unique index over the key (id)"), "{line}");
    let line = fails("id BIGINT", "table = 'loose', updated_at = 'at', key = 'id'");
    assert!(line.contains("CREATE UNIQUE INDEX ON loose"), "{line}");
    let line = fails("body BIGINT", docs);
    assert!(line.contains("record 0 of docs: column 'body'"), "{line}");
}
