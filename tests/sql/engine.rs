//! Several sessions of one engine: what they share, what each has of its own, and that one query is
//! stopped without the others.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use sembla_models::CancelToken;
use sembla_sql::{Engine, EngineOptions, Outcome, Session, SessionOptions, SqlError, planning};

/// A query that embeds more rows than its reader has seen after the first batch.
const EMBEDS: &str =
    "SELECT embed(concat('text ', value), 'potion') FROM generate_series(1, 20000)";

fn sessions() -> (Session, Session) {
    let engine = Engine::new(EngineOptions::default()).expect("an engine");
    let session = || {
        let options = SessionOptions { target_partitions: Some(1), batch_rows: Some(64) };
        engine.session(options).expect("a session")
    };
    (session(), session())
}

async fn rows(
    session: &Session,
    sql: &str,
    cancel: &CancelToken,
) -> Result<SendableRecordBatchStream, SqlError> {
    let statement = session.parse(sql)?.pop().expect("a statement");
    match session.execute_with(statement, cancel).await? {
        Outcome::Rows(frame) => planning::stream(frame).await,
        Outcome::Done(_) | Outcome::Stream(_) => panic!("{sql} gives no rows"),
    }
}

async fn run(session: &Session, sql: &str) -> Result<String, SqlError> {
    let statement = session.parse(sql)?.pop().expect("a statement");
    match session.execute(statement).await? {
        Outcome::Done(words) => Ok(words),
        Outcome::Rows(frame) => {
            let batches = frame.collect().await?;
            let table = arrow::util::pretty::pretty_format_batches(&batches).expect("a table");
            Ok(table.to_string())
        }
        Outcome::Stream(_) => panic!("{sql} is a pipeline"),
    }
}

async fn number(session: &Session, sql: &str) -> i64 {
    let mut rows = rows(session, sql, &CancelToken::new()).await.expect("a plan");
    let batch = rows.next().await.expect("a batch").expect("a number");
    batch.column(0).as_primitive::<Int64Type>().value(0)
}

/// Reads to the end; the rows, or the error.
async fn drain(mut rows: SendableRecordBatchStream) -> Result<usize, SqlError> {
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch?.num_rows();
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_an_engine_share_loaded_models() {
    let (one, other) = sessions();
    let is_loaded = |session: &Session| {
        let models = session.models().list();
        models.into_iter().any(|entry| entry.name == "potion" && entry.model.is_some())
    };
    assert!(!is_loaded(&one) && !is_loaded(&other));
    assert_eq!(number(&one, "SELECT vector_dims(embed('a', 'potion'))").await, 128);
    assert!(is_loaded(&other));
    let strangers = Session::new(SessionOptions::default()).expect("a session");
    assert!(!is_loaded(&strangers));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_session_has_its_own_default_and_tables() {
    let (one, other) = sessions();
    one.set_default_model("potion").expect("known");
    assert_eq!(one.models().default_name(), "potion");
    assert_eq!(other.models().default_name(), "minilm");
    run(&one, "CREATE TABLE mine AS SELECT 1 AS n").await.expect("a table");
    assert!(run(&other, "SELECT * FROM mine").await.is_err());
    run(&one, "SET datafusion.execution.batch_size = 17").await.expect("a setting");
    let batch = "SHOW datafusion.execution.batch_size";
    assert!(run(&one, batch).await.expect("a value").contains("17"));
    assert!(run(&other, batch).await.expect("a value").contains("64"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_one_query_leaves_another_running() {
    let (session, _) = sessions();
    let (stopped, running) = (CancelToken::new(), CancelToken::new());
    let mut first = rows(&session, EMBEDS, &stopped).await.expect("a plan");
    let mut second = rows(&session, EMBEDS, &running).await.expect("a plan");
    assert!(first.next().await.expect("a batch").is_ok());
    assert!(second.next().await.expect("a batch").is_ok());
    stopped.cancel();
    assert!(drain(first).await.expect_err("it was stopped").is_cancelled());
    assert_eq!(drain(second).await.expect("rows") + 64, 20_000);
    assert_eq!(number(&session, "SELECT vector_dims(embed('a', 'potion'))").await, 128);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_stopped_by_the_query_that_reads_it() {
    let (session, _) = sessions();
    run(&session, &format!("CREATE VIEW vectors AS {EMBEDS}")).await.expect("a view");
    let stopped = CancelToken::new();
    stopped.cancel();
    let rows_of_view = rows(&session, "SELECT * FROM vectors", &stopped).await.expect("a plan");
    assert!(drain(rows_of_view).await.expect_err("it was stopped").is_cancelled());
    let rows_of_view = rows(&session, "SELECT * FROM vectors", &CancelToken::new()).await;
    assert_eq!(drain(rows_of_view.expect("a plan")).await.expect("rows"), 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_a_session_stops_all_that_it_has_begun() {
    let (one, other) = sessions();
    let begun = [one.cancel_token().child(), one.cancel_token().child()];
    let strange = other.cancel_token().child();
    one.cancel_token().cancel();
    for token in &begun {
        let rows = rows(&one, EMBEDS, token).await.expect("a plan");
        assert!(drain(rows).await.expect_err("it was stopped").is_cancelled());
    }
    assert_eq!(drain(rows(&other, EMBEDS, &strange).await.expect("a plan")).await, Ok(20_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_every_session_s_and_a_table_keeps_its_name() {
    let (one, other) = sessions();
    one.set_default_model("potion").expect("known");
    let folder = tempfile::tempdir().expect("a folder");
    run(&other, "CREATE TABLE taken AS SELECT 7 AS n").await.expect("a table");
    for name in ["found", "taken"] {
        let path = folder.path().join(name);
        let sql = format!(
            "CREATE INDEX {name} WITH (path = '{}') AS SELECT 1 AS id, 'a lost card' AS text",
            path.display()
        );
        run(&one, &sql).await.expect("an index");
    }
    let search = "SELECT id FROM semantic_search(found, query => 'card')";
    assert_eq!(number(&other, search).await, 1);
    assert_eq!(number(&other, "SELECT id FROM found").await, 1);
    assert_eq!(number(&other, "SELECT n FROM taken").await, 7);
    assert_eq!(number(&one, "SELECT id FROM taken").await, 1);
    run(&other, "DROP INDEX found").await.expect("it was there");
    assert!(run(&one, "SELECT * FROM found").await.is_err());
    assert!(run(&other, "SELECT * FROM found").await.is_err());
}
