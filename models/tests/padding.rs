//! Padded batches run other operators, ONNX Runtime's own, and give the same vectors.

mod support;

use std::path::Path;

use sembla_models::{CancelToken, Model, Prompt};
use support::load;

/// Texts of one to a few hundred tokens, and an empty one.
fn texts() -> Vec<String> {
    let words = ["card", "Überweisung", "refund", "top-up", "why", "the", "猫", "payment", "late"];
    (0..50)
        .map(|row: usize| {
            let count = if row % 20 == 19 { 300 } else { row * 7 % 40 };
            (0..count).map(|at| words[(row + at * at) % words.len()]).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// The largest difference of a component between unpadded and padded batches.
fn difference(source: &str, more: &[(&str, &str)]) -> f32 {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let f32 = ("precision", "f32");
    let embed = |model: &Model| {
        model.embed(&texts, Prompt::Default, &CancelToken::new()).expect("vectors").values
    };
    let want = embed(&load(source, &[f32]));
    let options: Vec<_> =
        [f32, ("padding", "longest")].into_iter().chain(more.iter().copied()).collect();
    let got = embed(&load(source, &options));
    assert_eq!(got.len(), want.len());
    got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn padded_vectors_are_those_without_padding() {
    for source in
        ["bert", "distilbert", "mpnet", "roberta", "xlm-roberta", "modernbert", "st-new", "st-old"]
    {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(source);
        let path = folder.to_string_lossy();
        for more in
            [&[][..], &[("batch_tokens", "64")], &[("workers", "1"), ("batch_tokens", "9999")]]
        {
            let worst = difference(&path, more);
            assert!(worst <= 1e-5, "{source} {more:?}: {worst}");
        }
    }
}

#[test]
fn padded_vectors_of_the_bundled_model_are_those_without_padding() {
    let worst = difference("minilm", &[]);
    assert!(worst <= 1e-5, "{worst}");
}

#[test]
fn padded_vectors_of_the_real_model_are_those_without_padding() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.sembla/models/all-MiniLM-L6-v2");
    if !path.is_dir() {
        eprintln!("skipped: {} is not there; run scripts/fetch-minilm.sh", path.display());
        return;
    }
    let worst = difference(&path.to_string_lossy(), &[]);
    eprintln!("largest difference of a component: {worst:e}");
    assert!(worst <= 1e-5, "{worst}");
}
