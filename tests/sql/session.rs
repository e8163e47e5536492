//! What `.slt` files can't show: plans, how often a model is asked, cancelling, several statements
//! at once, torn files, and the results of Python's sentence-transformers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};
use sembla_models::Fault;
use sembla_sql::{Engine, EngineOptions, Outcome, Session, SessionOptions, SqlError};

fn session() -> Session {
    let options = SessionOptions { target_partitions: Some(4), batch_rows: Some(16) };
    Session::new(options).expect("a session")
}

async fn run(session: &Session, sql: &str) -> Result<Vec<RecordBatch>, SqlError> {
    let mut batches = Vec::new();
    for statement in session.parse(sql)? {
        if let Outcome::Rows(frame) = session.execute(statement).await? {
            batches = frame.collect().await?;
        }
    }
    Ok(batches)
}

fn number(batches: &[RecordBatch]) -> i64 {
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

async fn plan(session: &Session, sql: &str) -> String {
    let batches = run(session, &format!("EXPLAIN {sql}")).await.expect("a plan");
    batches.iter().map(|batch| text_of(batch.column(1))).collect()
}

fn text_of(column: &ArrayRef) -> String {
    let text = arrow::compute::cast(column, &DataType::Utf8).expect("text");
    text.as_string::<i32>().iter().flatten().collect::<Vec<_>>().join("\n")
}

const TEXTS: &str = "CREATE TABLE texts AS SELECT value AS id, concat('text number ', value) AS text \
                     FROM generate_series(1, 400)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_literal_is_embedded_when_the_query_is_planned() {
    let session = session();
    run(&session, TEXTS).await.expect("texts");
    let query =
        "SELECT id FROM texts WHERE cos_sim(embed(text, 'potion'), embed('seven', 'potion')) > 0.1";
    let plan = plan(&session, query).await;
    let physical = plan.split("\n").filter(|line| line.contains("FilterExec")).collect::<String>();
    assert_eq!(physical.matches("embed(").count(), 1, "{plan}");

    let model = session.models().get(Some("potion")).expect("potion");
    let before = model.stats().texts;
    run(&session, query).await.expect("rows");
    let asked = model.stats().texts - before;
    assert_eq!(asked, 401, "each text once and the literal once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_vector_in_two_places_is_computed_once() {
    let session = session();
    run(&session, TEXTS).await.expect("texts");
    let model = session.models().get(Some("potion")).expect("potion");
    let before = model.stats().texts;
    let query =
        "SELECT vector_norm(embed(text, 'potion')), vector_dims(embed(text, 'potion')) FROM texts";
    run(&session, query).await.expect("rows");
    assert_eq!(model.stats().texts - before, 400);
}

#[tokio::test]
async fn a_runtime_with_one_thread_works_too() {
    let session = session();
    let found = run(&session, "SELECT vector_dims(embed('a', 'potion'))").await.expect("rows");
    assert_eq!(number(&found), 128);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_stops_and_a_reset_goes_on() {
    let session = session();
    run(&session, TEXTS).await.expect("texts");
    session.cancel_token().cancel();
    let query = "SELECT count(*) FROM texts WHERE embed(text, 'potion') IS NOT NULL";
    let error = run(&session, query).await.expect_err("cancelled");
    assert!(error.is_cancelled(), "{error}");
    session.cancel_token().reset();
    assert_eq!(number(&run(&session, query).await.expect("rows")), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_model_can_be_set() {
    let session = session();
    session.set_default_model("potion").expect("known");
    let query = "SELECT vector_dims(embed('a')), vector_dims(embed('a', prompt => 'query'))";
    assert_eq!(number(&run(&session, query).await.expect("rows")), 128);
    let error = session.set_default_model("nothing").expect_err("unknown");
    assert_eq!(error.fault(), Fault::User);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_a_model_by_its_path() {
    let session = session();
    let folder = root().join("models/builtin/potion-base-4M-int8");
    let query = format!("SELECT vector_dims(embed('a', '{}'))", folder.display());
    assert_eq!(number(&run(&session, &query).await.expect("rows")), 128);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_run_the_model_together() {
    let session = session();
    run(&session, TEXTS).await.expect("texts");
    let query = "SELECT count(DISTINCT text) FROM texts WHERE cos_sim(embed(text, 'potion'), embed(text, 'potion')) > 0.99";
    let runs = (0..4).map(|_| run(&session, query));
    for found in futures::future::join_all(runs).await {
        assert_eq!(number(&found.expect("rows")), 400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_parquet_is_named() {
    let session = session();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("torn.parquet");
    let sql = format!("COPY (SELECT 'x' AS text) TO '{}'", path.display());
    run(&session, &sql).await.expect("written");
    let bytes = std::fs::read(&path).expect("a file");
    for keep in [bytes.len() - 10, 20] {
        std::fs::write(&path, &bytes[..keep]).expect("torn");
        let query = format!("SELECT * FROM '{}'", path.display());
        let error = run(&session, &query).await.expect_err("torn").to_string();
        assert!(error.contains("torn.parquet") && !error.contains('\n'), "{error}");
    }
    let whole = folder.path().join("whole.parquet");
    std::fs::write(&whole, &bytes).expect("written");
    std::fs::write(&path, &bytes[..bytes.len() - 10]).expect("torn");
    let query = format!("SELECT * FROM '{}'", folder.path().display());
    let error = run(&session, &query).await.expect_err("one is torn").to_string();
    assert!(error.contains("torn.parquet"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_tell_users_from_bugs() {
    let session = session();
    for sql in [
        "SELEC 1",
        "SELECT nothing",
        "SELECT no_such_function(1)",
        "SELECT embed('a', 'nothing')",
        "SELECT * FROM '/no/such.parquet'",
        "SELECT 1 / 0",
        "SELECT CAST('a' AS INT)",
        "SELECT cos_sim([1], [1, 2])",
        "DROP TABLE nothing",
        "SELECT 'open",
    ] {
        let error = run(&session, sql).await.expect_err(sql);
        assert_eq!(error.fault(), Fault::User, "{sql}: {error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_little_memory_is_a_clear_error() {
    let options = EngineOptions { memory_limit_bytes: Some(200_000), ..Default::default() };
    let engine = Engine::new(options).expect("an engine");
    let session = engine.session(SessionOptions::default()).expect("a session");
    let query = "SELECT value % 1000, vector_avg(arrow_cast([value], 'List(Float32)')), array_agg(value) \
                 FROM generate_series(1, 1000000) GROUP BY value % 1000";
    let error = run(&session, query).await.expect_err("too little");
    assert!(matches!(error, SqlError::Resources(_)), "{error:?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Vectors of a file of f32, and the quantised ones that sentence-transformers 6.2 made of the
/// first 200.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quantised_vectors_equal_those_of_sentence_transformers() {
    let goldens = root().join("../shared/goldens");
    let (vectors, expected) =
        (goldens.join("banking77_test.f32"), goldens.join("quantized.json.gz"));
    if !vectors.exists() || !expected.exists() {
        eprintln!("skipped: {} is not there", goldens.display());
        return;
    }
    // One partition keeps the rows in order.
    let options = SessionOptions { target_partitions: Some(1), ..Default::default() };
    let session = Session::new(options).expect("a session");
    let bytes = std::fs::read(vectors).expect("vectors");
    let values: Vec<f32> = bytes
        .chunks_exact(4)
        .take(200 * 384)
        .map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")))
        .collect();
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let array = FixedSizeListArray::new(item, 384, Arc::new(Float32Array::from(values)), None);
    let batch = RecordBatch::try_from_iter([("v", Arc::new(array) as ArrayRef)]).expect("a batch");
    session.context().register_batch("vectors", batch).expect("a table");
    run(
        &session,
        "CREATE TABLE ranges AS SELECT vector_min(v) AS lo, vector_max(v) AS hi FROM vectors",
    )
    .await
    .expect("ranges");
    for kind in ["int8", "uint8", "binary", "ubinary"] {
        let sql = format!(
            "SELECT quantize(v, '{kind}', min => lo, max => hi) AS q FROM vectors CROSS JOIN ranges"
        );
        let found = numbers(&run(&session, &sql).await.expect("rows"));
        let sql = format!("SELECT unnest({kind}) AS q FROM '{}'", expected.display());
        let expected = numbers(&run(&session, &sql).await.expect("goldens"));
        assert_eq!(expected.len(), 200, "{kind}");
        assert!(found == expected, "{kind} differs");
    }
}

/// Each row of the first column as numbers.
fn numbers(batches: &[RecordBatch]) -> Vec<Vec<f32>> {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Float32, true)));
    let mut rows = Vec::new();
    for batch in batches {
        let column = arrow::compute::cast(batch.column(0), &list).expect("numbers");
        let column = column.as_list::<i32>();
        let row = |row| column.value(row).as_primitive::<Float32Type>().values().to_vec();
        rows.extend((0..column.len()).map(row));
    }
    rows
}

/// Vectors as pyarrow, pandas and polars write them: a list of any kind, whose item is `element`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_take_vectors_from_any_writer() {
    use arrow::array::{Float64Array, Int32Array, LargeListArray, ListArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::compute::cast;
    let session = session();
    let values = || Float64Array::from(vec![3.0, 4.0, 0.0, 2.0]);
    let item = |data_type: DataType| Arc::new(Field::new("element", data_type, true));
    for (n, data_type) in [DataType::Float16, DataType::Float32, DataType::Float64, DataType::Int8]
        .into_iter()
        .enumerate()
    {
        let values = cast(&values(), &data_type).expect("numbers");
        let small = OffsetBuffer::<i32>::from_lengths([2, 2]);
        let large = OffsetBuffer::<i64>::from_lengths([2, 2]);
        let lists: [ArrayRef; 3] = [
            Arc::new(ListArray::new(item(data_type.clone()), small, Arc::clone(&values), None)),
            Arc::new(LargeListArray::new(
                item(data_type.clone()),
                large,
                Arc::clone(&values),
                None,
            )),
            Arc::new(FixedSizeListArray::new(
                item(data_type.clone()),
                2,
                Arc::clone(&values),
                None,
            )),
        ];
        for (kind, list) in lists.into_iter().enumerate() {
            let ids: ArrayRef = Arc::new(Int32Array::from(vec![0, 1]));
            let batch = RecordBatch::try_from_iter([("id", ids), ("v", list)]).expect("a batch");
            let name = format!("v{n}_{kind}");
            session.context().register_batch(&name, batch).expect("a table");
            for (call, first) in [
                ("array_normalize(v)", [0.6, 0.8]),
                ("array_scale(v, 2)", [6.0, 8.0]),
                ("array_add(v, v)", [6.0, 8.0]),
                ("array_subtract(v, v)", [0.0, 0.0]),
                ("truncate_vector(v, 2)", [3.0, 4.0]),
            ] {
                let sql = format!("SELECT {call} AS v FROM {name} ORDER BY id");
                let rows =
                    run(&session, &sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
                let found = numbers(&rows);
                let near = found[0].iter().zip(first).all(|(x, y)| (x - y).abs() < 1e-3);
                assert!(near && found.len() == 2, "{sql} of {data_type}: {found:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_calls_a_model_is_called_as_it_was_written() {
    let session = session();
    let sql = "SELECT embed('hello', 'potion', prompt => 'query'), 1 + 1";
    let rows = run(&session, sql).await.expect("rows");
    let names: Vec<_> =
        rows[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names[0], "embed('hello', 'potion', prompt => 'query')");
}

/// Statements at the limits of depth, which overflowed the stack or were rejected without a number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_statements_run_or_are_told_their_depth() {
    let session = session();
    let number_of = |sql: String| {
        let session = session.clone();
        async move { run(&session, &sql).await.map(|rows| number(&rows)) }
    };
    let unions = format!("SELECT count(*) FROM (SELECT 1{})", " UNION ALL SELECT 1".repeat(400));
    assert_eq!(number_of(unions).await, Ok(401));
    let nested = format!("SELECT {}1{} + 1", "(".repeat(100), ")".repeat(100));
    assert_eq!(number_of(nested).await, Ok(2));
    let sum = format!("SELECT {}1", "1+".repeat(500));
    assert_eq!(number_of(sum).await, Ok(501));
    for deep in [
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(20_000)),
        format!("SELECT 1 WHERE {}1=1", "1=0 OR ".repeat(20_000)),
        format!("SELECT {}'a'", "'a'||".repeat(20_000)),
        format!("SELECT {}1", "1+".repeat(50_000)),
        format!("SELECT CAST(NULL AS {}INT{})", "ARRAY<".repeat(10_001), ">".repeat(10_001)),
        format!("SELECT {}true", "NOT ".repeat(10_000)),
    ] {
        let error = number_of(deep).await.expect_err("too deep").to_string();
        assert!(error.contains("nested too deeply") && error.contains("the limit is"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_syntax_error_tells_no_secret() {
    let session = session();
    for sql in [
        "CREATE SOURCE s (id INT) WITH (connector = 'kafka', \"sasl.password\" 'SECRET')",
        "CREATE SINK s WITH (connector = 'kafka', topic = 't' 'SECRET')",
        "CREATE MODEL m WITH (path = 'x') 'SECRET'",
    ] {
        let error = session.parse(sql).expect_err(sql).to_string();
        assert!(error.contains("found: a string") && !error.contains("SECRET"), "{error}");
    }
}

#[test]
fn a_byte_order_mark_begins_no_statement() {
    let session = Session::new(SessionOptions::default()).expect("a session");
    assert_eq!(session.parse("\u{feff}SELECT 1; SELECT 2").expect("statements").len(), 2);
}
