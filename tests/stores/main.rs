//! Real stores, written and read by the real binary: what vector stores hold after kills, restarts
//! and mistakes, and pictures in S3.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use sembla_testing::Postgres;

use crate::place::Place;

mod chroma;
mod images;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../place.rs"]
mod place;
mod postgres;
mod qdrant;

/// How long a run may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(180);

/// Rows with few different texts, one every second, as JSON lines.
fn messages(rows: usize) -> String {
    let words = ["card", "refund", "fee", "transfer", "top up", "exchange", "cash", "account"];
    let line = |n: usize| {
        let text = format!("{} {} {n}", words[n % 8], words[n * n % 7 + n % 2]);
        let at = 1_767_225_600_000 + n as u64 * 1000;
        format!("{{\"id\": {n}, \"text\": \"{text}\", \"ts\": {at}}}\n")
    };
    (0..rows).map(line).collect()
}

/// A pipeline of the rows, embedded, into a table.
fn pipeline(place: &Place, name: &str, url: &str, more: &str, speed: &str) -> PathBuf {
    place.write(
        &format!("{name}.sql"),
        &format!(
            "CREATE SOURCE messages (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts)
               WITH (connector = 'files', path = 'messages.jsonl', speed = '{speed}');
             CREATE SINK {name} WITH (connector = 'postgres', url = '{url}', table = '{name}'{more});
             INSERT INTO {name} SELECT id, text, ts, embed(text) AS embedding FROM messages;"
        ),
    )
}

/// Starts a pipeline, with commits as often as there are batches; its words go to `stderr`.
fn start(place: &Place, file: &Path, fail_at: Option<&str>) -> Child {
    let options = ["checkpoint_interval=1 ms", "batch_rows=37", "retry_backoff_max=1 s"];
    let mut command = place.command(&["run", file.to_str().expect("a path"), "-m", "potion"]);
    command
        .args(options.iter().flat_map(|option| ["--set", option]))
        .env("SEMBLA_FAIL_LOG", place.path("reached"))
        .env("SEMBLA_FAIL_AT", fail_at.unwrap_or(""));
    command.stderr(std::fs::File::create(place.path("stderr")).expect("a file"));
    command.spawn().expect("the binary runs")
}

/// Waits for a process. Tells whether it ended well.
fn ended(child: &mut Child) -> bool {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.success();
        }
        if begun.elapsed() > PATIENCE {
            killed(child);
            panic!("a process does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Kills a process as a power cut would.
fn killed(child: &mut Child) {
    child.kill().expect("killed");
    child.wait().expect("a child");
}

/// Waits until a statement gives more than a number of rows, or the process has ended.
fn wait_for_rows(
    server: &Postgres,
    database: &str,
    table: &str,
    more_than: usize,
    child: &mut Child,
) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && child.try_wait().expect("a child").is_none() {
        let count = server.try_sql(database, &format!("SELECT count(*) FROM {table}"));
        if count.is_ok_and(|count| count.parse::<usize>().is_ok_and(|count| count > more_than)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn stderr(place: &Place) -> String {
    std::fs::read_to_string(place.path("stderr")).unwrap_or_default()
}

/// A hash of all rows of a table, and their number.
fn digest(server: &Postgres, database: &str, table: &str) -> String {
    server.sql(
        database,
        &format!(
            "SELECT count(*), count(DISTINCT id), md5(string_agg(id || text || embedding::text, ';' ORDER BY id)) \
             FROM {table}"
        ),
    )
}
