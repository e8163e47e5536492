//! Scores beside those that MTEB gives for the same vectors, as `scripts/make-eval-fixtures.py`
//! wrote them down.

use std::collections::HashMap;

use sembla_models::{Embeddings, Similarity};
use sembla_operators::Unbounded;
use serde_json::Value;

use super::classes::tests::classes;
use super::score;

/// What sums in another order may change. Clusters are compared as such: one row that went the
/// other way would change more.
const TOLERANCE: f64 = 1e-6;

/// MTEB gives what it says of rankings with five digits.
const ROUNDING: f64 = 5.1e-6;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/eval.json")).expect("JSON")
}

fn cases<'a>(fixture: &'a Value, name: &str) -> &'a Vec<Value> {
    fixture[name].as_array().expect("cases")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn vectors(value: &Value) -> Embeddings {
    let rows: Vec<Vec<f64>> = value.as_array().expect("rows").iter().map(numbers).collect();
    let dimension = rows[0].len();
    Embeddings { dimension, values: rows.concat().into_iter().map(|x| x as f32).collect() }
}

fn similarity(case: &Value) -> Similarity {
    match case["similarity"].as_str().expect("a name") {
        "cosine" => Similarity::Cosine,
        "dot" => Similarity::Dot,
        "euclidean" => Similarity::Euclidean,
        "manhattan" => Similarity::Manhattan,
        other => panic!("{other}"),
    }
}

fn near(found: f64, case: &Value, name: &str) {
    let wanted = case[name].as_f64().expect("a figure");
    let tolerance = if name == "ndcg_at_10" || name == "map" { ROUNDING } else { TOLERANCE };
    assert!((found - wanted).abs() < tolerance, "{name}: {found}, and {wanted} of MTEB");
    assert!(wanted > 0.05 && wanted < 0.99, "{name}: {wanted} says nothing");
}

#[test]
fn similarity_and_pairs_are_scored_as_by_mteb() {
    let fixture = fixture();
    for case in cases(&fixture, "pairs") {
        let (a, b) = (vectors(&case["a"]), vectors(&case["b"]));
        let alike = score::similarities(&a, &b, similarity(case)).expect("equal");
        let spearman = score::sts(&alike, &numbers(&case["scores"])).expect("a score");
        let wanted = case["spearman"].as_f64().expect("a figure");
        assert!((spearman - wanted).abs() < TOLERANCE, "{spearman} {wanted}");
        near(score::pairs(&alike, &numbers(&case["labels"])).expect("a score"), case, "ap");
    }
}

#[test]
fn clusters_are_scored_as_by_mteb() {
    let fixture = fixture();
    let case = &fixture["clustering"];
    let labels: Vec<String> = numbers(&case["labels"]).iter().map(f64::to_string).collect();
    let found = score::clustering(&vectors(&case["vectors"]), &labels, &Unbounded);
    near(found.expect("a score"), case, "v_measure");
}

#[test]
fn classifiers_are_shown_the_same_rows_and_are_as_good_as_those_of_mteb() {
    let fixture = fixture();
    let case = &fixture["classification"];
    let labels = |name: &str| -> Vec<u32> {
        numbers(&case[name]).iter().map(|label| *label as u32).collect()
    };
    let classes = classes(&labels("train_labels"), &labels("test_labels"));
    let rows = |rows: &Vec<usize>| -> Vec<usize> {
        rows.iter().map(|row| classes.train.texts[*row].parse().expect("a row")).collect()
    };
    let drawn: Vec<Vec<usize>> = classes.drawn.iter().map(rows).collect();
    let wanted: Vec<Vec<usize>> = cases(case, "drawn")
        .iter()
        .map(|rows| numbers(rows).iter().map(|row| *row as usize).collect())
        .collect();
    assert_eq!(drawn, wanted);
    let all = vectors(&case["train"]);
    let shown = classes.train.texts.iter().flat_map(|row| {
        let row: usize = row.parse().expect("a row");
        all.values[row * all.dimension..][..all.dimension].to_vec()
    });
    let train = Embeddings { dimension: all.dimension, values: shown.collect() };
    let found = classes.score(&train, Some(&vectors(&case["test"])), &Unbounded);
    // The solver ends where scikit-learn's does but for rounding, so no row changes sides.
    near(found.expect("a score"), case, "accuracy");
}

#[test]
fn translations_are_scored_as_by_mteb() {
    let fixture = fixture();
    for case in cases(&fixture, "bitext") {
        let (a, b) = (vectors(&case["a"]), vectors(&case["b"]));
        near(score::bitext(&a, &b, similarity(case), &Unbounded).expect("a score"), case, "f1");
    }
}

#[test]
fn searches_are_scored_as_by_mteb() {
    let fixture = fixture();
    for case in cases(&fixture, "searches") {
        let (queries, corpus) = (vectors(&case["queries"]), vectors(&case["corpus"]));
        let by = similarity(case);
        let rows = queries.values.len() / queries.dimension;
        let mut relevant: Vec<HashMap<u32, f64>> = vec![HashMap::new(); rows];
        for judged in cases(case, "relevant") {
            let [query, row, gain] = numbers(judged)[..] else { panic!("{judged}") };
            relevant[query as usize].insert(row as u32, gain);
        }
        let found = score::retrieval(&queries, &corpus, by, &relevant, &Unbounded);
        near(found.expect("a score"), case, "ndcg_at_10");
        let (mut query_of, mut relevance) = (Vec::new(), Vec::new());
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for candidate in cases(case, "candidates") {
            let [query, row, label] = numbers(candidate)[..] else { panic!("{candidate}") };
            let row_of = |vectors: &Embeddings, row: f64| {
                vectors.values[row as usize * vectors.dimension..][..vectors.dimension].to_vec()
            };
            query_of.push(query as u32);
            relevance.push(label);
            a.extend(row_of(&queries, query));
            b.extend(row_of(&corpus, row));
        }
        let of = |values| Embeddings { dimension: queries.dimension, values };
        let alike = score::similarities(&of(a), &of(b), by).expect("equal");
        near(score::rerank(&query_of, &alike, &relevance).expect("a score"), case, "map");
    }
}

#[test]
fn what_has_no_score_is_refused() {
    let refused = |found: crate::Result<f64>| found.expect_err("refused").message().expect("words");
    assert!(refused(score::sts(&[0.1, 0.2], &[3.0, 3.0])).contains("numbers that differ"));
    assert!(refused(score::pairs(&[0.1], &[0.0])).contains("at least one label must be 1"));
    assert!(refused(score::rerank(&[0], &[0.1], &[0.0])).contains("must be relevant"));
    let vectors = Embeddings { dimension: 2, values: vec![1.0, 0.0, 0.0, 1.0] };
    let same = ["a".to_string(), "a".to_string()];
    assert!(refused(score::clustering(&vectors, &same, &Unbounded)).contains("must differ"));
    let none = [HashMap::new(), HashMap::new()];
    let found = score::retrieval(&vectors, &vectors, Similarity::Cosine, &none, &Unbounded);
    assert!(refused(found).contains("at least one document"));
    // Equal scores: the irrelevant candidate counts as first.
    assert_eq!(score::rerank(&[0, 0], &[0.5, 0.5], &[1.0, 0.0]).expect("a score"), 0.5);
}
