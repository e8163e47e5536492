//! The real all-MiniLM-L6-v2 against what sentence-transformers gives. The f32 model and the
//! expected results lie outside the project (`SEMBLA_TEST_MINILM` names the model's directory);
//! without them these tests say so and pass.

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};

use sembla_models::{CancelToken, Model, ModelSpec, Precision, Prompt};
use serde_json::Value;
use support::{csv_records, golden, shared, sts};

fn minilm() -> Option<PathBuf> {
    let named = std::env::var_os("SEMBLA_TEST_MINILM").map(PathBuf::from);
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.sembla/models/all-MiniLM-L6-v2");
    let path = named.unwrap_or(fetched);
    if !path.is_dir() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn load(path: &Path, precision: Precision) -> Model {
    let mut spec = ModelSpec::new(path.to_string_lossy());
    spec.precision = Some(precision);
    Model::load(&spec).expect("load")
}

fn embed(model: &Model, texts: &[&str]) -> Vec<Vec<f32>> {
    let rows = model.embed(texts, Prompt::Default, &CancelToken::new()).expect("embed");
    rows.values.chunks_exact(rows.dimension).map(<[f32]>::to_vec).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[test]
fn f32_vectors_are_those_of_sentence_transformers() {
    let (Some(path), Some(golden)) = (minilm(), golden("embeddings")) else { return };
    let model = load(&path, Precision::F32);
    let texts: Vec<&str> =
        golden["texts"].as_array().expect("texts").iter().filter_map(Value::as_str).collect();
    let wanted = golden["vectors"].as_array().expect("vectors");
    let got = embed(&model, &texts);
    let mut worst = 0f64;
    for ((text, got), want) in texts.iter().zip(&got).zip(wanted) {
        for (got, want) in got.iter().zip(want.as_array().expect("row")) {
            let error = (f64::from(*got) - want.as_f64().expect("number")).abs();
            assert!(error <= 1e-5, "{text:?} is off by {error}");
            worst = worst.max(error);
        }
    }
    eprintln!("largest difference of a component: {worst:e}");
}

/// Spearman's rank correlation, ties sharing their mean rank.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|i, j| values[*i].total_cmp(&values[*j]));
        let mut ranks = vec![0f64; values.len()];
        let mut start = 0;
        while start < order.len() {
            let same = |i: &&usize| values[**i] == values[order[start]];
            let end = start + order[start..].iter().take_while(same).count();
            for i in &order[start..end] {
                ranks[*i] = (start + end - 1) as f64 / 2.0;
            }
            start = end;
        }
        ranks
    };
    let (a, b) = (ranks(a), ranks(b));
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(&a), mean(&b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(&b).map(|(x, y)| f(*x, *y)).sum::<f64>();
    sum(&|x, y| (x - ma) * (y - mb))
        / (sum(&|x, _| (x - ma).powi(2)) * sum(&|_, y| (y - mb).powi(2))).sqrt()
}

fn sts_spearman(model: &Model) -> Option<f64> {
    let (a, b, scores) = sts()?;
    let vectors =
        |texts: &[String]| embed(model, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let cosines: Vec<f64> =
        vectors(&a).iter().zip(vectors(&b)).map(|(x, y)| f64::from(dot(x, &y))).collect();
    Some(spearman(&cosines, &scores))
}

#[test]
fn sts_is_as_good_as_it_should_be() {
    let Some(path) = minilm() else { return };
    let Some(at_f32) = sts_spearman(&load(&path, Precision::F32)) else { return };
    assert!((at_f32 - 0.8203).abs() <= 0.0002, "f32: {at_f32}");
    let at_q8 = sts_spearman(&load(&path, Precision::Q8)).expect("data is there");
    assert!(at_q8 >= 0.8190, "q8: {at_q8}");
    eprintln!("Spearman on STS-B test: f32 {at_f32:.4}, q8 {at_q8:.4}");
}

#[test]
fn q8_stays_close_to_f32_on_banking77() {
    let (Some(vectors), Some(texts)) =
        (shared("goldens/banking77_test.f32"), shared("data/banking77/test.csv"))
    else {
        return;
    };
    let mut bytes = Vec::new();
    std::fs::File::open(vectors).expect("open").read_to_end(&mut bytes).expect("read");
    let wanted: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
    let text = std::fs::read_to_string(texts).expect("csv");
    let texts = csv_records(&text);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(texts.len() * 384, wanted.len());
    let model = Model::load(&ModelSpec::new("minilm")).expect("the built-in model loads");
    assert_eq!(model.info().precision, Precision::Q8);
    let cosines: Vec<f32> = embed(&model, &texts)
        .iter()
        .zip(wanted.chunks_exact(384))
        .map(|(got, want)| dot(got, want))
        .collect();
    let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
    let worst = cosines.iter().copied().fold(1f32, f32::min);
    eprintln!("cosine of q8 to f32 on banking77: mean {mean:.5}, worst {worst:.5}");
    assert!(mean >= 0.999 && worst >= 0.99, "mean {mean}, worst {worst}");
}

#[test]
fn cross_encoder_scores_are_those_of_sentence_transformers() {
    let (Some(path), Some(golden)) =
        (shared("models/cross-encoder-minilm-stsb"), golden("cross_encoder"))
    else {
        return;
    };
    let Some((a, b, _)) = sts() else { return };
    let logits = golden["logits"].as_array().expect("logits");
    assert_eq!(a.len(), logits.len());
    let mut spec = ModelSpec::new(path.to_string_lossy());
    spec.max_length = Some(128);
    let model = Model::load(&spec).expect("load");
    assert_eq!(model.info().precision, Precision::F32);
    let pairs: Vec<(&str, &str)> =
        a.iter().zip(&b).map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let scores = model.score(&pairs, &CancelToken::new()).expect("score");
    let mut worst = 0f64;
    for (score, logit) in scores.iter().zip(logits) {
        // The model has one label, so its scores went through a sigmoid; undo it.
        let score = f64::from(*score);
        let got = (score / (1.0 - score)).ln();
        worst = worst.max((got - logit.as_f64().expect("number")).abs());
    }
    eprintln!("largest difference of a logit: {worst:e}");
    assert!(worst <= 1e-3, "a logit is off by {worst}");
}
