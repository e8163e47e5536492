//! What `.slt` files can't show of findings: memory limits, cancelling, readers that leave,
//! progress and metrics.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use sembla_sql::{Engine, EngineOptions, Outcome, Progress, Session, SessionOptions, SqlError};

/// Vectors in all directions of a plane.
const ROWS: &str = "(SELECT value AS id, make_array(sin(value), cos(value)) AS vector FROM generate_series(1, 30000))";

/// More pairs than anyone waits for.
fn every_pair() -> String {
    format!("SELECT * FROM paraphrase_mining({ROWS}, all_pairs => true, threshold => -1)")
}

fn session(memory_limit_bytes: Option<usize>) -> Session {
    let engine = EngineOptions { memory_limit_bytes, ..Default::default() };
    let options = SessionOptions { target_partitions: Some(2), ..Default::default() };
    Engine::new(engine).and_then(|engine| engine.session(options)).expect("a session")
}

async fn stream(session: &Session, sql: &str) -> Result<SendableRecordBatchStream, SqlError> {
    let statement = session.parse(sql)?.pop().expect("a statement");
    match session.execute(statement).await? {
        Outcome::Rows(frame) => Ok(frame.execute_stream().await?),
        Outcome::Done(line) => panic!("no rows: {line}"),
        Outcome::Stream(plan) => panic!("no rows: {}", plan.name()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_memory_limit_an_error_says_what_to_raise() {
    let session = session(Some(300_000));
    let sql = format!("SELECT count(*) FROM paraphrase_mining({ROWS})");
    let mut rows = stream(&session, &sql).await.expect("a plan");
    let error = loop {
        match rows.next().await.expect("an error before the end") {
            Ok(_) => {}
            Err(error) => break SqlError::from(error),
        }
    };
    assert!(matches!(error, SqlError::Resources(_)), "{error:?}");
    assert!(error.to_string().ends_with("raise --memory-limit"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_stops_a_finding_and_a_reset_goes_on() {
    let session = session(None);
    let mut rows = stream(&session, &every_pair()).await.expect("a plan");
    rows.next().await.expect("a first batch").expect("pairs");
    session.cancel_token().cancel();
    let error = loop {
        match rows.next().await.expect("an error before the end") {
            Ok(_) => {}
            Err(error) => break SqlError::from(error),
        }
    };
    assert!(error.is_cancelled(), "{error}");
    session.cancel_token().reset();
    let mut rows = stream(&session, &every_pair()).await.expect("a plan");
    rows.next().await.expect("a first batch").expect("pairs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_ends_the_work() {
    let session = session(Some(1 << 30));
    let pool = Arc::clone(&session.context().runtime_env().memory_pool);
    let mut rows = stream(&session, &every_pair()).await.expect("a plan");
    rows.next().await.expect("a first batch").expect("pairs");
    assert!(pool.reserved() > 0, "the rows are held");
    drop(rows);
    // The work sees it within milliseconds; a busy machine may take longer.
    for _ in 0..600 {
        if pool.reserved() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} bytes are still held", pool.reserved());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_ends_the_work_too() {
    let session = session(None);
    let mut rows = stream(&session, &format!("{} LIMIT 5", every_pair())).await.expect("a plan");
    let mut found = 0;
    while let Some(batch) = rows.next().await {
        found += batch.expect("pairs").num_rows();
    }
    assert_eq!(found, 5);
}

/// Remembers the stages and the greatest number of steps of each.
#[derive(Default)]
struct Heard(Mutex<Vec<(String, u64)>>);

impl Progress for Heard {
    fn update(&self, stage: &str, done: u64, _total: Option<u64>) {
        self.0.lock().expect("no panic").push((stage.to_string(), done));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_hears_of_progress() {
    let session = session(None);
    let heard = Arc::new(Heard::default());
    session.set_progress(Arc::clone(&heard) as _);
    let sql = "SELECT count(*) FROM paraphrase_mining((SELECT value AS id, concat('text ', value) AS text \
               FROM generate_series(1, 3000)), model => 'potion')";
    let mut rows = stream(&session, sql).await.expect("a plan");
    while let Some(batch) = rows.next().await {
        batch.expect("a count");
    }
    let heard = heard.0.lock().expect("no panic");
    let embedded = heard.iter().filter(|(stage, _)| stage == "embedding").map(|(_, done)| *done);
    assert_eq!(embedded.max(), Some(3000));
    assert!(heard.iter().any(|(stage, _)| stage != "embedding"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_analyze_counts_rows() {
    let session = session(None);
    let sql = "EXPLAIN ANALYZE SELECT * FROM paraphrase_mining((SELECT value AS id, [1.0] AS v \
               FROM generate_series(1, 4)))";
    let mut rows = stream(&session, sql).await.expect("a plan");
    let mut plan = String::new();
    while let Some(batch) = rows.next().await {
        let batch = batch.expect("a plan");
        let text = arrow::compute::cast(batch.column(1), &DataType::Utf8).expect("text");
        text.as_string::<i32>().iter().flatten().for_each(|line| plan.push_str(line));
    }
    assert!(plan.contains("output_rows=6") && plan.contains("input_rows=4"), "{plan}");
}
