//! `hard_negatives` beside what sentence-transformers 6.2.0 mines from the same vectors, as
//! `scripts/make-eval-fixtures.py` wrote it down.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use sembla_sql::{Session, SessionOptions};
use serde_json::Value;

use crate::goldens::run;

/// Sums in another order.
const TOLERANCE: f64 = 1e-6;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/hard_negatives.json")).expect("JSON")
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

/// A table of vectors whose ids are the numbers of the rows, and whose texts are those after a
/// letter.
fn table(vectors: &Value, letter: char) -> RecordBatch {
    let rows = list(vectors);
    let numbers = rows.iter().map(|row| {
        Some(
            list(row)
                .iter()
                .map(|x| Some(x.as_f64().expect("a number") as f32))
                .collect::<Vec<_>>(),
        )
    });
    let width = list(&rows[0]).len() as i32;
    let vectors: ArrayRef =
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(numbers, width));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows.len() as i64));
    let texts = (0..rows.len()).map(|row| format!("{letter}{row}"));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    RecordBatch::try_from_iter([("id", ids), ("text", texts), ("vector", vectors)])
        .expect("a table")
}

fn session(fixture: &Value) -> Session {
    let session = Session::new(SessionOptions::default()).expect("a session");
    let context = session.context();
    context.register_batch("q", table(&fixture["queries"], 'q')).expect("a table");
    context.register_batch("d", table(&fixture["corpus"], 'd')).expect("a table");
    let side = |at: usize| -> ArrayRef {
        let pairs = list(&fixture["positives"]).iter();
        Arc::new(Int64Array::from_iter_values(pairs.map(|pair| pair[at].as_i64().expect("an id"))))
    };
    let pairs = RecordBatch::try_from_iter([("query_id", side(0)), ("id", side(1))]);
    context.register_batch("p", pairs.expect("a table")).expect("a table");
    session
}

/// The options of a case as this project calls them.
fn options(case: &Value) -> String {
    let mut text = String::new();
    for (name, value) in case["options"].as_object().expect("options") {
        let name = match name.as_str() {
            "num_negatives" => "k",
            "absolute_margin" => "margin",
            "output_format" => "output",
            "output_scores" => "scores",
            other => other,
        };
        text += &format!(", {name} => {}", value.to_string().replace('"', "'"));
    }
    text
}

/// A cell beside what was wanted: a text, a number, or a list of numbers.
fn check(column: &ArrayRef, row: usize, wanted: &Value, place: &str) {
    let near = |got: f64, wanted: &Value| {
        let wanted = wanted.as_f64().expect("a number");
        assert!((got - wanted).abs() < TOLERANCE, "{place}: {got}, wanted {wanted}");
    };
    match wanted {
        Value::String(text) => assert_eq!(column.as_string::<i32>().value(row), text, "{place}"),
        Value::Array(numbers) => {
            let values = column.as_list::<i32>().value(row);
            let values = values.as_primitive::<Float32Type>();
            assert_eq!(values.len(), numbers.len(), "{place}");
            (0..).zip(numbers).for_each(|(at, number)| near(f64::from(values.value(at)), number));
        }
        number => {
            let values = cast(column, &DataType::Float64).expect("a number");
            near(values.as_primitive::<Float64Type>().value(row), number);
        }
    }
}

#[tokio::test]
async fn rows_are_those_of_sentence_transformers() {
    let fixture = fixture();
    let session = session(&fixture);
    for case in list(&fixture["cases"]) {
        let options = options(case);
        let sql = format!("SELECT * FROM hard_negatives(q, corpus => d, positives => p{options})");
        let batches = run(&session, &sql).await;
        let wanted = list(&case["rows"]);
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, wanted.len(), "{sql}");
        let mut wanted = wanted.iter();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let wanted = list(wanted.next().expect("as many rows"));
                assert_eq!(batch.num_columns(), wanted.len(), "{sql}");
                for (column, wanted) in batch.columns().iter().zip(wanted) {
                    check(column, row, wanted, &sql);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_cross_encoder_s_scores_take_the_place_of_cosines() {
    let fixture = fixture();
    let session = session(&fixture);
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tests/fixtures/mpnet-classifier");
    let sql = format!(
        "SELECT count(*) AS rows, max(abs(scores[2] - rerank(anchor, negative, '{model}'))) AS off, \
         max(abs(scores[1] - rerank(anchor, positive, '{model}'))) AS off_positive \
         FROM hard_negatives(q, corpus => d, positives => p, reranker => '{model}', margin => -0.001, scores => true)"
    );
    let batch = run(&session, &sql).await.remove(0);
    assert!(
        batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0) > 5,
        "{batch:?}"
    );
    for at in [1, 2] {
        let off = cast(batch.column(at), &DataType::Float64).expect("a number");
        assert!(off.as_primitive::<Float64Type>().value(0) < 1e-5, "{batch:?}");
    }
}

#[tokio::test]
async fn random_negatives_lie_in_the_range_and_follow_from_the_seed() {
    let fixture = fixture();
    let session = session(&fixture);
    let rows = async |more: &str| {
        let sql = format!(
            "SELECT anchor, positive, negative FROM hard_negatives(q, corpus => d, positives => p, \
             range_min => 3, range_max => 9{more})"
        );
        let mut rows = Vec::new();
        for batch in run(&session, &sql).await {
            let text =
                |column: usize, row| batch.column(column).as_string::<i32>().value(row).to_string();
            rows.extend(
                (0..batch.num_rows()).map(|row| [text(0, row), text(1, row), text(2, row)]),
            );
        }
        rows
    };
    let all = rows(", k => 6").await;
    let random = rows(", k => 2, sampling => 'random'").await;
    assert!(random.iter().all(|row| all.contains(row)));
    assert_eq!(random.len() * 3, all.len());
    assert_eq!(random, rows(", k => 2, sampling => 'random'").await);
    assert_ne!(random, rows(", k => 2, sampling => 'random', seed => 1").await);
    assert_ne!(random, rows(", k => 2").await, "the nearest are others");
}
