//! `rerank` without a model: the fetched re-ranker where there is one, else the one that comes
//! along, else the way to get one.

use std::fs;
use std::path::Path;

use crate::place::{Place, Run};

/// Copies a tiny random model into the folder of models of a place.
fn install(place: &Place, fixture: &str, name: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tests/fixtures").join(fixture);
    let to = place.path("models").join(name);
    fs::create_dir_all(&to).expect("a folder");
    for entry in fs::read_dir(from).expect("a fixture").flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

fn sql(place: &Place, sql: &str) -> Run {
    let mut command = place.command(&["sql", "--format", "csv", sql]);
    let output = command.env("SEMBLA_MODELS", place.path("models")).output().expect("runs");
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

#[test]
fn the_best_model_that_is_there_reranks_where_none_is_named() {
    let place = Place::new();
    install(&place, "bert", "all-MiniLM-L6-v2-q8");
    let message = sql(&place, "SELECT rerank('a', 'b')").fails(2);
    assert!(
        message.contains("rerank needs a cross-encoder, but model 'minilm' is an embedding model")
            && message.contains("scripts/fetch-reranker.sh"),
        "{message}"
    );
    let message = sql(&place, "SELECT rerank('a', 'b', 'reranker')").fails(2);
    assert!(message.contains("scripts/fetch-reranker.sh fetches it"), "{message}");
    install(&place, "mpnet-classifier", "reranker-small-q8");
    let small = "SELECT rerank('a', 'b') = rerank('a', 'b', 'reranker-small') AS same";
    assert_eq!(sql(&place, small).ok(), "same\ntrue\n");
    install(&place, "roberta-classifier", "reranker");
    let same = "SELECT rerank('a', 'b') = rerank('a', 'b', 'reranker') AS same";
    assert_eq!(sql(&place, same).ok(), "same\ntrue\n");
}
