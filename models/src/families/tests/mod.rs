//! Runs built graphs on tiny random models and compares them with what the Python libraries gave.

mod configurations;
mod packed;
mod real;

use std::path::{Path, PathBuf};

use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;
use serde_json::Value;

use super::*;
use crate::onnxruntime::{environment, one_session_at_a_time};

const EMBEDDERS: &[&str] = &["bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "modernbert"];
const CLASSIFIERS: &[&str] = &[
    "bert-classifier",
    "roberta-classifier",
    "xlm-roberta-classifier",
    "distilbert-classifier",
    "mpnet-classifier",
    "modernbert-classifier",
    "modernbert-mean-classifier",
];

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn open(folder: &Path) -> (Transformer, Weights) {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).expect("config.json");
    let value = serde_json::from_str(&text).expect("JSON");
    let transformer = Transformer::parse(&value, &path).expect("a configuration");
    (transformer, Weights::open(folder).expect("model.safetensors"))
}

pub(crate) fn expected(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("expected.json")).expect("expected.json");
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn floats(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        number => vec![number.as_f64().expect("a number") as f32],
    }
}

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// A text's token ids and segments.
type Tokens = (Vec<u32>, Vec<u32>);

fn session(bytes: &[u8]) -> Session {
    let environment = environment().expect("ONNX Runtime; run scripts/fetch-onnxruntime.sh");
    Session::builder(environment)
        .expect("a session builder")
        .commit_from_memory(bytes)
        .expect("ONNX Runtime takes the graph")
}

/// Whether a graph asks for the segments of its tokens.
fn takes_segments(session: &Session) -> bool {
    session.inputs().iter().any(|input| input.name() == "token_type_ids")
}

/// The output of a padded graph: its shape and values.
fn run_padded(
    session: &mut Session,
    config: &TransformerConfig,
    texts: &[Tokens],
) -> (Vec<i64>, Vec<f32>) {
    let longest = texts.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
    let padding = config.position_padding.unwrap_or(0) as i64;
    let (mut ids, mut mask, mut types) = (Vec::new(), Vec::new(), Vec::new());
    for (text, segments) in texts {
        for place in 0..longest {
            ids.push(text.get(place).map_or(padding, |id| i64::from(*id)));
            mask.push(i64::from(place < text.len()));
            types.push(segments.get(place).map_or(0, |segment| i64::from(*segment)));
        }
    }
    let shape = [texts.len(), longest];
    let tensor = |values: Vec<i64>| -> SessionInputValue<'_> {
        Tensor::from_array((shape, values)).expect("a tensor").into()
    };
    let mut inputs = vec![("input_ids", tensor(ids)), ("attention_mask", tensor(mask))];
    if takes_segments(session) {
        inputs.push(("token_type_ids", tensor(types)));
    }
    let outputs = session.run(inputs).expect("the graph runs");
    let (shape, values) = outputs[0].try_extract_tensor::<f32>().expect("floats");
    (shape.to_vec(), values.to_vec())
}

/// The largest difference, with both sides in the message when it is too large.
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f32], limit: f32) {
    assert_eq!(got.len(), want.len(), "{what}: number of values");
    for (place, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= limit, "{what}: value {place} is {got}, not {want}");
    }
}

#[test]
fn padded_embedders_give_the_librarys_token_vectors() {
    for name in EMBEDDERS {
        let folder = fixture(name);
        let (transformer, weights) = open(&folder);
        let graph = transformer.build(&weights, Task::Embed, Form::Padded, false).expect(name);
        assert_eq!((graph.hidden, graph.labels), (32, 0));
        assert!(graph.linears.is_empty() && graph.embeddings.is_empty());
        let mut session = session(&graph.bytes);
        let expected = expected(&folder);
        let rows = expected["texts"].as_array().expect("texts");
        let texts: Vec<Tokens> = rows.iter().map(|row| (ids(&row["ids"]), Vec::new())).collect();
        let (shape, values) = run_padded(&mut session, &transformer.config, &texts);
        let width = shape[1] as usize * graph.hidden;
        for ((row, (ids, _)), got) in rows.iter().zip(&texts).zip(values.chunks(width)) {
            let real = ids.len() * graph.hidden;
            let want = floats(&row["last_hidden_state"]);
            assert_close(&format!("{name} {}", row["text"]), &got[..real], &want, 1e-5);
            assert!(got.iter().all(|value| value.is_finite()), "{name}: padding is not finite");
        }
    }
}

#[test]
fn padded_classifiers_give_the_librarys_logits() {
    for name in CLASSIFIERS {
        let folder = fixture(name);
        let (transformer, weights) = open(&folder);
        let graph = transformer.build(&weights, Task::Classify, Form::Padded, false).expect(name);
        assert_eq!(graph.labels, transformer.config.labels.len());
        let mut session = session(&graph.bytes);
        let expected = expected(&folder);
        let rows = expected["pairs"].as_array().expect("pairs");
        let texts: Vec<Tokens> =
            rows.iter().map(|row| (ids(&row["ids"]), ids(&row["type_ids"]))).collect();
        let (shape, values) = run_padded(&mut session, &transformer.config, &texts);
        assert_eq!(shape, [rows.len() as i64, graph.labels as i64]);
        for (row, got) in rows.iter().zip(values.chunks(graph.labels)) {
            assert_close(&format!("{name} {}", row["pair"]), got, &floats(&row["logits"]), 1e-5);
        }
    }
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    let (mut transformer, weights) = open(&fixture("bert"));
    transformer.config.vocabulary += 1;
    let message = transformer
        .build(&weights, Task::Embed, Form::Padded, false)
        .expect_err("one row is missing")
        .to_string();
    assert!(message.contains("embeddings.word_embeddings.weight"), "{message}");
    assert!(message.contains("[53, 32]") && message.contains("[54, 32]"), "{message}");
}

#[test]
fn a_classifier_needs_its_head() {
    let (transformer, weights) = open(&fixture("mpnet"));
    let error =
        transformer.build(&weights, Task::Classify, Form::Padded, false).expect_err("no head");
    assert!(matches!(error, ModelError::BadModelFile { .. }));
    assert!(error.to_string().contains("classifier.dense.weight"), "{error}");
}

#[test]
fn quantisable_tensors_are_the_ones_that_leave_the_graph() {
    for name in EMBEDDERS {
        let (transformer, weights) = open(&fixture(name));
        let config = &transformer.config;
        let names = transformer.quantisable(&weights).expect(name);
        let graph = transformer.build(&weights, Task::Embed, Form::Packed, true).expect(name);
        let mut taken: Vec<&str> =
            graph.linears.iter().flat_map(|linear| linear.name.split('+')).collect();
        taken.extend(graph.embeddings.iter().map(|embedding| embedding.name.as_str()));
        taken.sort_unstable();
        let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        assert_eq!(sorted, taken, "{name}");
        let per_layer = if name == &"modernbert" { 4 } else { 6 };
        assert_eq!(names.len(), per_layer * config.layers + 1, "{name}");
        assert!(names.iter().all(|name| weights.contains(name)));
        // The large weights are gone from the graph: a layer alone has more than 5000 of them.
        let rest = graph.bytes.len() / 4;
        assert!(rest < 5000 + config.positions * 32, "{name}: {rest} values are left");
    }
}

#[test]
fn old_names_and_a_prefix_are_understood() {
    let (transformer, weights) = open(&fixture("bert"));
    let mut tensors = std::collections::HashMap::new();
    for name in weights.names() {
        let shape = weights.shape(name).expect(name).to_vec();
        let values = weights.floats(name, &shape).expect(name);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let old = name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta");
        tensors.insert(format!("0.auto_model.{old}"), (shape, bytes));
    }
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
        (name, view.expect("a tensor"))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(views, None, &path).expect("written");
    let renamed = Weights::open(&path).expect("weights");
    let texts = [(vec![2, 5, 6, 3], Vec::new())];
    let run = |weights: &Weights| {
        let graph = transformer.build(weights, Task::Embed, Form::Padded, false).expect("a graph");
        run_padded(&mut session(&graph.bytes), &transformer.config, &texts).1
    };
    assert_eq!(run(&renamed), run(&weights));
}
