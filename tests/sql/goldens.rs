//! Findings from texts to the end, at f32, against what sentence-transformers 6.2.0 finds in the
//! same texts. Its results and the texts lie outside the project; without them, or without the
//! model that `scripts/fetch-minilm.sh` fetches, these tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use flate2::read::GzDecoder;
use sembla_sql::{Outcome, Session, SessionOptions};
use serde_json::Value;

/// How far a score may be off: both sides round vectors of their own.
const TOLERANCE: f64 = 1e-5;

fn there(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn golden(name: &str) -> Option<Value> {
    let file = there(&format!("../shared/goldens/{name}.json.gz"))?;
    let file = std::fs::File::open(file).expect("readable");
    Some(serde_json::from_reader(GzDecoder::new(file)).expect("json"))
}

pub(crate) async fn run(session: &Session, sql: &str) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for statement in session.parse(sql).expect(sql) {
        if let Outcome::Rows(frame) = session.execute(statement).await.expect(sql) {
            batches = frame.collect().await.expect(sql);
        }
    }
    batches
}

/// The rows of a query of whole numbers and scores.
async fn rows(session: &Session, sql: &str) -> Vec<(Vec<i64>, f64)> {
    let mut rows = Vec::new();
    for batch in run(session, sql).await {
        let cast = |at: usize, to: &DataType| {
            arrow::compute::cast(batch.column(at), to).expect("a number")
        };
        let last = batch.num_columns() - 1;
        let numbers: Vec<_> = (0..last).map(|at| cast(at, &DataType::Int64)).collect();
        let scores = cast(last, &DataType::Float64);
        for row in 0..batch.num_rows() {
            let number =
                |column: &arrow::array::ArrayRef| column.as_primitive::<Int64Type>().value(row);
            let numbers = numbers.iter().map(number).collect();
            rows.push((numbers, scores.as_primitive::<Float64Type>().value(row)));
        }
    }
    rows
}

/// A session with the table `texts` of banking77's test set: id from 0, text, embedding.
async fn with_texts() -> Option<Session> {
    let model = there(".sembla/models/all-MiniLM-L6-v2")?;
    let texts = there("../shared/data/banking77/test.csv")?;
    let options = SessionOptions { target_partitions: Some(1), ..Default::default() };
    let session = Session::new(options).expect("a session");
    let sql = format!(
        "CREATE MODEL f32 WITH (path = '{}', precision = 'f32'); \
         CREATE TABLE texts AS SELECT row_number() OVER () - 1 AS id, text, embed(text, 'f32') AS embedding \
         FROM '{}'",
        model.display(),
        texts.display()
    );
    run(&session, &sql).await;
    Some(session)
}

fn whole(value: &Value) -> i64 {
    value.as_i64().expect("a whole number")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findings_from_texts_are_those_of_sentence_transformers() {
    let (Some(mining), Some(communities), Some(search)) =
        (golden("paraphrase_mining"), golden("community_detection"), golden("semantic_search"))
    else {
        return;
    };
    let Some(session) = with_texts().await else { return };
    check_mining(&session, &mining).await;
    check_communities(&session, &communities).await;
    check_search(&session, &search).await;
}

async fn check_mining(session: &Session, golden: &Value) {
    let sql = format!(
        "SELECT id_a, id_b, score FROM paraphrase_mining(texts, top_k => {}, max_pairs => {})",
        golden["top_k"], golden["max_pairs"]
    );
    let found = rows(session, &sql).await;
    let wanted = list(&golden["pairs"]);
    assert_eq!(found.len(), wanted.len());
    // Where the last scores are equal to within rounding, either side may have others.
    let worst = found.last().expect("pairs").1 + TOLERANCE;
    let wanted: BTreeMap<Vec<i64>, f64> = wanted
        .iter()
        .map(|pair| (vec![whole(&pair[1]), whole(&pair[2])], number(&pair[0])))
        .filter(|pair| pair.1 > worst)
        .collect();
    let found: BTreeMap<Vec<i64>, f64> = found.into_iter().filter(|pair| pair.1 > worst).collect();
    for (pair, score) in &wanted {
        let other = found.get(pair).unwrap_or_else(|| panic!("{pair:?} with {score} is missing"));
        assert!((score - other).abs() < TOLERANCE, "{pair:?}: {score} and {other}");
    }
    let near_the_cut = found.iter().filter(|pair| !wanted.contains_key(pair.0));
    assert!(near_the_cut.into_iter().all(|pair| *pair.1 < worst + TOLERANCE));
}

async fn check_communities(session: &Session, golden: &Value) {
    for setting in list(golden) {
        let sql = format!(
            "SELECT community_id, id, score FROM communities(texts, threshold => {}, min_size => {})",
            setting["threshold"], setting["min_community_size"]
        );
        let mut found: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for (numbers, _) in rows(session, &sql).await {
            found.entry(numbers[0]).or_default().insert(numbers[1]);
        }
        let found: BTreeSet<BTreeSet<i64>> = found.into_values().collect();
        let members = |community: &Value| list(community).iter().map(whole).collect();
        let wanted: BTreeSet<BTreeSet<i64>> =
            list(&setting["communities"]).iter().map(members).collect();
        assert!(found == wanted, "communities differ at {}", setting["threshold"]);
    }
}

async fn check_search(session: &Session, golden: &Value) {
    let values = list(&golden["queries"]).iter().enumerate().map(|(id, query)| {
        let query = query.as_str().expect("a text").replace('\'', "''");
        format!("({id}, '{query}')")
    });
    let values: Vec<String> = values.collect();
    let sql = format!(
        "SELECT query_id, id, score FROM semantic_search(texts, model => 'f32', top_k => 10, \
         queries => (SELECT * FROM (VALUES {}) AS q (id, text))) ORDER BY query_id, rank",
        values.join(", ")
    );
    let found = rows(session, &sql).await;
    let wanted = list(&golden["hits"]).iter().enumerate().flat_map(|(query, hits)| {
        list(hits).iter().map(move |hit| (query as i64, whole(&hit[0]), number(&hit[1])))
    });
    let wanted: Vec<(i64, i64, f64)> = wanted.collect();
    assert_eq!(found.len(), wanted.len());
    for (found, (query, id, score)) in found.iter().zip(&wanted) {
        let context = format!("query {query}: {id} with {score}, found {found:?}");
        assert!((found.1 - score).abs() < TOLERANCE, "{context}");
        let has_a_tie = wanted.iter().any(|other| {
            other.0 == *query && other.1 != *id && (other.2 - score).abs() < TOLERANCE
        });
        assert!(found.0 == [*query, *id] || has_a_tie, "{context}");
    }
}
