//! A stream gives, window by window, what the same query gives over a static table.
//!
//! Each query runs twice: as it is, over a file; and as a pipeline that replays the file, in
//! several partitions, stopped in the middle and started again, or in an order that the watermark
//! allows.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ArrowWriter;
use sembla_runtime::{Pipeline, Status, Stop, StopSignal, Summary};
use sembla_sql::{Outcome, Session, SessionOptions};
use tokio::sync::watch;

/// Rows of the stream.
const ROWS: usize = 400;

/// From one row to the next, in microseconds, over and over: bursts, and silences that end
/// sessions.
const STEPS_US: [i64; 6] = [3_000_000, 1_000_000, 0, 20_000_000, 2_000_000, 95_000_000];

/// What is asked, where W stands for a window. Each is a finding or an aggregate by window.
const QUERIES: &[&str] = &[
    "SELECT window_start, window_end, count(*), min(id), max(text) FROM W GROUP BY window_start, window_end",
    "SELECT id, text, ts, window_start FROM W WHERE id % 3 = 0",
    "SELECT window_start, window_end, id, row_number() OVER (PARTITION BY window_start, window_end ORDER BY ts, id) AS n FROM W",
    "SELECT * FROM semantic_search(W, query => 'my card is lost', top_k => 3, partition_by => (window_start, window_end))",
    "SELECT * FROM text_search(W, query => 'card', top_k => 3, partition_by => (window_start, window_end))",
    "SELECT * FROM hybrid_search(W, query => 'lost card', top_k => 3, partition_by => (window_start, window_end))",
    "SELECT * FROM paraphrase_mining(W, threshold => 0.6, partition_by => (window_start, window_end))",
    "SELECT * FROM dedup(W, threshold => 0.8, partition_by => (window_start, window_end))",
    "SELECT * FROM communities(W, threshold => 0.5, min_size => 2, partition_by => (window_start, window_end))",
    "SELECT * FROM clusters(W, k => 3, partition_by => (window_start, window_end))",
    "SELECT * FROM topics(W, algorithm => 'agglomerative', threshold => 0.5, partition_by => (window_start, window_end))",
    "SELECT t.window_start, t.id, n.label \
     FROM topics(W, algorithm => 'agglomerative', threshold => 0.5, partition_by => (window_start, window_end)) t \
     JOIN topic_table(W, algorithm => 'agglomerative', threshold => 0.5, partition_by => (window_start, window_end)) n \
     ON t.window_start = n.window_start AND t.window_end = n.window_end AND t.topic_id = n.topic_id",
    "SELECT w.window_start, w.window_end, l.name, count(*) FROM W w JOIN labels l ON w.id % 2 = l.id GROUP BY w.window_start, w.window_end, l.name",
    "SELECT * FROM online_topic_table(W, half_life => INTERVAL '30 minutes')",
    "SELECT * FROM online_topics(W, half_life => INTERVAL '30 minutes')",
    "SELECT * FROM online_dedup(W, horizon => INTERVAL '1 hour', threshold => 0.8)",
    "SELECT * FROM online_paraphrases(W, horizon => INTERVAL '20 minutes', threshold => 0.7)",
    "SELECT * FROM chunk(W, size => 4, overlap => 1, model => 'potion')",
    "SELECT window_start, window_end, count(*), min(chunk) \
     FROM chunk(W, size => 4, overlap => 1, model => 'potion') GROUP BY window_start, window_end",
    "SELECT window_start, window_end, count(*), max(chunk) \
     FROM tumble((SELECT ts, chunk FROM chunk(messages, size => 4, overlap => 1, model => 'potion')), ts, INTERVAL '10 minutes') \
     GROUP BY window_start, window_end",
    "SELECT s.* FROM semantic_join((SELECT * FROM W), corpus => topics_wanted, threshold => 0.3, partition_by => (window_start, window_end)) s",
];

const WINDOWS: &[&str] = &[
    "tumble(messages, INTERVAL '10 minutes')",
    "hop(messages, INTERVAL '5 minutes', INTERVAL '12 minutes')",
    "session(messages, INTERVAL '90 seconds')",
];

/// Rows with texts of a few kinds, of which many say the same.
fn rows() -> RecordBatch {
    let kinds =
        ["my card is lost", "where is my refund", "how do I top up", "the exchange rate is wrong"];
    let mut at = 1_700_000_000_000_000;
    let mut times = Vec::new();
    let mut texts = Vec::new();
    for n in 0..ROWS {
        at += STEPS_US[n % STEPS_US.len()] + (n as i64 * 7919 % 1000);
        times.push(at);
        let mut text = kinds[(n * n + n / 7) % kinds.len()].to_string();
        write!(text, " {}", ["please", "again", "today", "help", ""][n % 5]).expect("a string");
        texts.push(text);
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..ROWS as i64))),
        ("text", Arc::new(StringArray::from(texts))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(times))),
    ];
    RecordBatch::try_from_iter(columns).expect("a batch")
}

fn write_parquet(path: &Path, rows: &RecordBatch) {
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).expect("a writer");
    writer.write(rows).expect("rows");
    writer.close().expect("the end");
}

/// A session with the stream as `messages`, and static tables.
async fn session(folder: &Path, source_options: &str) -> Session {
    let session = Session::new(SessionOptions { target_partitions: Some(2), ..Default::default() });
    let session = session.expect("a session");
    session.set_default_model("potion").expect("the model in the repository");
    let path = folder.join("messages.parquet");
    let state = folder.join("state");
    run(
        &session,
        &format!(
            "CREATE SOURCE messages (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '30 seconds')
               WITH (connector = 'files', path = '{}'{source_options});
             CREATE TABLE labels AS VALUES (0, 'even'), (1, 'odd');
             CREATE TABLE topics_wanted AS VALUES (1, 'lost card'), (2, 'refund');
             SET stream.state = '{}';
             SET stream.batch_rows = '37'",
            path.display(),
            state.display()
        )
        .replace("AS VALUES (0", "AS SELECT column1 AS id, column2 AS name FROM (VALUES (0")
        .replace("(1, 'odd')", "(1, 'odd'))")
        .replace("AS VALUES (1", "AS SELECT column1 AS id, column2 AS text FROM (VALUES (1")
        .replace("(2, 'refund')", "(2, 'refund'))"),
    )
    .await;
    session
}

/// Runs statements that give no rows.
async fn run(session: &Session, sql: &str) {
    for statement in session.parse(sql).expect("SQL") {
        match session.execute(statement).await.unwrap_or_else(|error| panic!("{sql}: {error}")) {
            Outcome::Done(_) => {}
            Outcome::Rows(rows) => drop(rows.collect().await.expect("rows")),
            Outcome::Stream(_) => panic!("{sql} is a pipeline"),
        }
    }
}

/// The rows of a query as lines, sorted.
async fn lines(session: &Session, sql: &str) -> Vec<String> {
    let statement = session.parse(sql).expect("SQL").pop().expect("a statement");
    let outcome = session.execute(statement).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let Outcome::Rows(rows) = outcome else { panic!("{sql} gives no rows") };
    let mut lines = Vec::new();
    for batch in rows.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}")) {
        let options = FormatOptions::default().with_null("NULL");
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).expect("a formatter"))
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            lines.push(values.join(" | "));
        }
    }
    lines.sort();
    lines
}

/// Plans `INSERT INTO` a new folder and opens the pipeline.
async fn pipeline(session: &Session, sink: &str, into: &Path, query: &str) -> Pipeline {
    let sql = format!(
        "CREATE OR REPLACE SINK {sink} WITH (connector = 'files', path = '{}', format = 'parquet'); INSERT INTO {sink} {query}",
        into.display()
    );
    let mut statements = session.parse(&sql).expect("SQL");
    let insert = statements.pop().expect("a statement");
    for statement in statements {
        session.execute(statement).await.expect("a sink");
    }
    match session.execute(insert).await.unwrap_or_else(|error| panic!("{query}: {error}")) {
        Outcome::Stream(plan) => {
            let opened = plan.open(false).await;
            let opened = opened.unwrap_or_else(|error| panic!("{query}: {error}"));
            opened.into_iter().next().expect("a pipeline")
        }
        _ => panic!("{query} is no pipeline"),
    }
}

/// Runs a pipeline to the end of its source.
async fn to_the_end(pipeline: Pipeline) -> Summary {
    let (_stop, signal) = StopSignal::channel();
    let (status, _watched) = watch::channel(Status::default());
    let ended = sembla_runtime::run(pipeline, signal, status).await;
    ended.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a pipeline until so many rows have come, and stops it.
async fn for_a_while(pipeline: Pipeline, rows: u64, how: Stop) -> Summary {
    let (stop, signal) = StopSignal::channel();
    let (status, mut watched) = watch::channel(Status::default());
    let running = tokio::spawn(sembla_runtime::run(pipeline, signal, status));
    // The other end goes when the pipeline ends.
    while watched.borrow().rows_in < rows && watched.changed().await.is_ok() {}
    stop.send_replace(how);
    running.await.expect("no panic").unwrap_or_else(|error| panic!("{error}"))
}

/// What the sink holds.
async fn written(session: &Session, folder: &Path) -> Vec<String> {
    lines(session, &format!("SELECT * FROM '{}/*.parquet'", folder.display())).await
}

fn queries() -> impl Iterator<Item = String> {
    WINDOWS.iter().flat_map(|window| {
        QUERIES.iter().map(move |query| {
            let input = format!("(SELECT * FROM {window})");
            query
                .replace("FROM W w", &format!("FROM {window} w"))
                .replace("FROM W", &format!("FROM {window}"))
                .replace("(W,", &format!("({input},"))
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_gives_what_the_batch_query_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    write_parquet(&folder.path().join("messages.parquet"), &rows());
    let batch = session(folder.path(), "").await;
    for partitions in [1, 2, 4] {
        let session = session(folder.path(), &format!(", partitions = '{partitions}'")).await;
        for (n, query) in queries().enumerate() {
            let into = folder.path().join(format!("found_{partitions}_{n}"));
            let sink = format!("found_{partitions}_{n}");
            let summary = to_the_end(pipeline(&session, &sink, &into, &query).await).await;
            assert_eq!(summary.status.rows_late, 0, "{query}");
            let wanted = lines(&batch, &query).await;
            assert!(!wanted.is_empty(), "{query} finds nothing");
            assert_eq!(written(&session, &into).await, wanted, "{partitions} partitions: {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_stopped_and_started_gives_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    write_parquet(&folder.path().join("messages.parquet"), &rows());
    let session = session(folder.path(), ", partitions = '2'").await;
    run(&session, "SET stream.checkpoint_interval = '1 ms'; SET stream.batch_rows = '11'").await;
    for (n, query) in queries().enumerate() {
        let into = folder.path().join(format!("found_{n}"));
        let sink = format!("found_{n}");
        for (rows, how) in [(60, Stop::Drain), (170, Stop::Now), (250, Stop::Drain)] {
            for_a_while(pipeline(&session, &sink, &into, &query).await, rows, how).await;
        }
        to_the_end(pipeline(&session, &sink, &into, &query).await).await;
        assert_eq!(written(&session, &into).await, lines(&session, &query).await, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_within_the_watermark_makes_no_difference() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = rows();
    write_parquet(&folder.path().join("messages.parquet"), &rows);
    let batch = session(folder.path(), "").await;
    let shuffled = tempfile::tempdir().expect("a folder");
    write_parquet(&shuffled.path().join("messages.parquet"), &within_the_watermark(&rows));
    let session = session(shuffled.path(), ", in_order = 'true', partitions = '2'").await;
    for (n, query) in queries().enumerate() {
        let into = shuffled.path().join(format!("found_{n}"));
        let sink = format!("found_{n}");
        let summary = to_the_end(pipeline(&session, &sink, &into, &query).await).await;
        assert_eq!(summary.status.rows_late, 0, "{query}");
        assert_eq!(written(&session, &into).await, lines(&batch, &query).await, "{query}");
    }
}

/// The rows in another order, in which none comes more than 25 s after a later one.
fn within_the_watermark(rows: &RecordBatch) -> RecordBatch {
    use arrow::array::AsArray;
    use arrow::datatypes::TimestampMicrosecondType;
    let times = rows.column(2).as_primitive::<TimestampMicrosecondType>();
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    // A delay of up to 25 s that depends on the row alone.
    order.sort_by_key(|n| times.value(*n as usize) + i64::from(n * 7877 % 25) * 1_000_000);
    let order = arrow::array::UInt32Array::from(order);
    arrow::compute::take_record_batch(rows, &order).expect("the rows")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_a_model_runs_below_the_window() {
    let folder = tempfile::tempdir().expect("a folder");
    write_parquet(&folder.path().join("messages.parquet"), &rows());
    let session = session(folder.path(), "").await;
    let into = folder.path().join("found");
    let sink = format!("CREATE SINK found WITH (connector = 'files', path = '{}')", into.display());
    run(&session, &sink).await;
    for call in [
        "vector_dims(embed(text))",
        "similarity(text, 'a refund')",
        "token_count(text)",
        "is_truncated(text)",
    ] {
        let query = format!(
            "EXPLAIN INSERT INTO found SELECT window_start, {call} AS said FROM tumble(messages, ts, INTERVAL '1 minute')"
        );
        let lines = lines(&session, &query).await;
        let name = call.split('(').rev().nth(1).expect("a function");
        let part = |part: &str| lines.iter().find(|line| line.starts_with(part)).expect("a part");
        assert!(part("rows |").contains(&format!("{name}(")), "{call}: {lines:?}");
        assert!(!part("per window |").contains(&format!("{name}(")), "{call}: {lines:?}");
    }
}
