//! Every architecture and layout, through the public interface, against what the Python libraries
//! gave. `scripts/make-fixtures.py` makes the models and the expected results.

use std::path::{Path, PathBuf};

use sembla_models::{CancelToken, Model, ModelSpec, Prompt};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn expected(name: &str) -> Value {
    let bytes = std::fs::read(fixture(name).join("expected.json")).expect("expected results");
    serde_json::from_slice(&bytes).expect("json")
}

fn load(path: &Path) -> Model {
    Model::load(&ModelSpec::new(path.to_string_lossy())).expect("load")
}

fn numbers(value: &Value) -> Vec<f32> {
    let row = value.as_array().expect("a row of numbers");
    row.iter().map(|number| number.as_f64().expect("number") as f32).collect()
}

fn assert_close(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        let bound = 1e-5 * want.abs().max(1.0);
        assert!((got - want).abs() <= bound, "{what}: {got} is not {want}");
    }
}

fn rows(model: &Model, texts: &[&str], prompt: Prompt<'_>) -> Vec<Vec<f32>> {
    let rows = model.embed(texts, prompt, &CancelToken::new()).expect("embed");
    rows.values.chunks_exact(rows.dimension).map(<[f32]>::to_vec).collect()
}

#[test]
fn every_architecture_embeds_as_transformers_does() {
    for name in ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "modernbert"] {
        let expected = expected(name);
        let cases = expected["texts"].as_array().expect("texts");
        let texts: Vec<&str> = cases.iter().filter_map(|case| case["text"].as_str()).collect();
        let got = rows(&load(&fixture(name)), &texts, Prompt::Default);
        for (case, got) in cases.iter().zip(got) {
            // A directory without modules pools by the mean.
            let hidden = case["last_hidden_state"].as_array().expect("hidden states");
            let mut want = vec![0f32; got.len()];
            for token in hidden {
                want.iter_mut().zip(numbers(token)).for_each(|(sum, value)| *sum += value);
            }
            want.iter_mut().for_each(|value| *value /= hidden.len() as f32);
            assert_close(&got, &want, &format!("{name}, {}", case["text"]));
        }
    }
}

#[test]
fn every_architecture_classifies_as_transformers_does() {
    let names = [
        "bert-classifier",
        "roberta-classifier",
        "xlm-roberta-classifier",
        "distilbert-classifier",
        "mpnet-classifier",
        "modernbert-classifier",
        "modernbert-mean-classifier",
    ];
    for name in names {
        let model = load(&fixture(name));
        let expected = expected(name);
        let cases = expected["pairs"].as_array().expect("pairs");
        let pairs: Vec<(&str, &str)> = cases
            .iter()
            .map(|case| {
                let text = |i: usize| case["pair"][i].as_str().expect("text");
                (text(0), text(1))
            })
            .collect();
        let scores = model.score(&pairs, &CancelToken::new()).expect("score");
        let labels = model.info().labels;
        for (case, got) in cases.iter().zip(scores.chunks_exact(labels)) {
            let logits = numbers(&case["logits"]);
            // One label goes through a sigmoid, several stay as they are.
            let want: Vec<f32> = if labels == 1 {
                logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect()
            } else {
                logits
            };
            assert_close(got, &want, &format!("{name}, {}", case["pair"]));
        }
    }
}

#[test]
fn sentence_transformers_layouts_old_and_new_give_its_vectors() {
    for name in ["st-old", "st-new"] {
        let model = load(&fixture(name));
        let expected = expected(name);
        let texts: Vec<&str> =
            expected["texts"].as_array().expect("texts").iter().filter_map(Value::as_str).collect();
        for (key, prompt) in [
            ("encode", Prompt::Default),
            ("encode_query", Prompt::Query),
            ("encode_document", Prompt::Document),
        ] {
            let Some(wanted) = expected[key].as_array() else {
                panic!("{name} has no expected '{key}'");
            };
            for (i, (got, want)) in rows(&model, &texts, prompt).iter().zip(wanted).enumerate() {
                assert_close(got, &numbers(want), &format!("{name}, {key}, {:?}", texts[i]));
            }
        }
    }
}

#[test]
fn an_exported_graph_gives_the_same_vectors() {
    for name in ["bert", "roberta", "mpnet", "modernbert"] {
        let folder = tempfile::tempdir().expect("folder");
        let graph = folder.path().join("exported.onnx");
        sembla_models::export(&ModelSpec::new(fixture(name).to_string_lossy()), &graph)
            .expect("export");
        std::fs::copy(fixture(name).join("tokenizer.json"), folder.path().join("tokenizer.json"))
            .expect("copy");
        let texts = ["The cat sat on the mat.", "two dogs", "", "where is my refund"];
        let built = rows(&load(&fixture(name)), &texts, Prompt::Default);
        let foreign = rows(&load(&graph), &texts, Prompt::Default);
        for (built, foreign) in built.iter().zip(&foreign) {
            assert_close(foreign, built, name);
        }
    }
}

#[test]
fn a_quantised_copy_loads_and_stays_close() {
    let folder = tempfile::tempdir().expect("folder");
    let copy = folder.path().join("copy");
    let source = fixture("st-new");
    let report = sembla_models::quantize(&source.to_string_lossy(), &copy).expect("quantize");
    assert!(report.tensors > 0 && report.bytes_after < report.bytes_before);
    let texts = ["The cat sat on the mat.", "where is my refund"];
    let model = load(&copy);
    assert_eq!(model.info().precision.to_string(), "q8");
    let pairs = rows(&load(&source), &texts, Prompt::Query);
    for (full, small) in pairs.iter().zip(rows(&model, &texts, Prompt::Query)) {
        let dot: f32 = full.iter().zip(&small).map(|(a, b)| a * b).sum();
        let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!(dot / (norm(full) * norm(&small)) > 0.99);
    }
    let again = sembla_models::quantize(&copy.to_string_lossy(), &folder.path().join("again"));
    assert!(again.expect_err("twice").to_string().contains("already quantised"));
    let onto = sembla_models::quantize(&source.to_string_lossy(), &copy);
    assert!(onto.expect_err("exists").to_string().contains("already exists"));
}
