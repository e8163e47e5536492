//! The packed form, in floats and in 8 bits, with Sembla's own operators.

use std::collections::HashMap;
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;
use crate::ops::{PackedLinear, QuantisedTable, Shared, block_of, domain, quantise_rows};
use crate::weights::Matrix;

/// A graph with its weights, in a session.
pub(super) fn packed_session(graph: BuiltGraph) -> Session {
    let shared = Arc::new(Shared {
        linears: graph.linears.into_iter().map(PackedLinear::new).collect(),
        embeddings: graph.embeddings.into_iter().map(QuantisedTable::new).collect(),
    });
    let environment = environment().expect("ONNX Runtime; run scripts/fetch-onnxruntime.sh");
    let _one = one_session_at_a_time();
    Session::builder(environment)
        .expect("a session builder")
        .with_operators(domain(&shared, "test").expect("the operators"))
        .expect("the operators are taken")
        .commit_from_memory(&graph.bytes)
        .expect("ONNX Runtime takes the graph")
}

/// The output of a packed graph for a batch of texts.
pub(super) fn run_packed(
    session: &mut Session,
    config: &TransformerConfig,
    texts: &[Tokens],
) -> Vec<f32> {
    let (mut ids, mut types, mut positions, mut offsets) =
        (Vec::new(), Vec::new(), Vec::new(), vec![0i64]);
    for (text, segments) in texts {
        ids.extend(text.iter().map(|id| i64::from(*id)));
        types.extend((0..text.len()).map(|at| segments.get(at).map_or(0, |id| i64::from(*id))));
        config.push_positions(text, &mut positions);
        offsets.push(ids.len() as i64);
    }
    let tensor = |values: Vec<i64>| -> SessionInputValue<'_> {
        Tensor::from_array(([values.len()], values)).expect("a tensor").into()
    };
    let mut inputs = vec![
        ("input_ids", tensor(ids)),
        ("position_ids", tensor(positions)),
        ("offsets", tensor(offsets)),
    ];
    if takes_segments(session) {
        inputs.push(("token_type_ids", tensor(types)));
    }
    let outputs = session.run(inputs).expect("the graph runs");
    outputs[0].try_extract_tensor::<f32>().expect("floats").1.to_vec()
}

/// Each text's part of a packed result.
pub(super) fn parts<'v>(values: &'v [f32], texts: &[Tokens], width: usize) -> Vec<&'v [f32]> {
    let mut rest = values;
    texts
        .iter()
        .map(|(ids, _)| {
            let (part, after) = rest.split_at(ids.len() * width);
            rest = after;
            part
        })
        .collect()
}

pub(super) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The texts of an embedder's fixture, and the token vectors that are expected of each.
fn embedding_rows(folder: &Path) -> (Vec<Tokens>, Vec<Vec<f32>>) {
    let expected = expected(folder);
    let rows = expected["texts"].as_array().expect("texts");
    rows.iter()
        .map(|row| ((ids(&row["ids"]), Vec::new()), floats(&row["last_hidden_state"])))
        .unzip()
}

/// The pairs of a classifier's fixture, and their expected logits one after another.
fn pair_rows(folder: &Path) -> (Vec<Tokens>, Vec<f32>) {
    let expected = expected(folder);
    let rows = expected["pairs"].as_array().expect("pairs");
    let texts = rows.iter().map(|row| (ids(&row["ids"]), ids(&row["type_ids"]))).collect();
    (texts, rows.iter().flat_map(|row| floats(&row["logits"])).collect())
}

#[test]
fn packed_embedders_give_the_librarys_token_vectors() {
    for name in EMBEDDERS {
        let folder = fixture(name);
        let (transformer, weights) = open(&folder);
        let config = &transformer.config;
        let graph = transformer.build(&weights, Task::Embed, Form::Packed, false).expect(name);
        assert!(graph.linears.is_empty() && graph.embeddings.is_empty());
        let mut session = packed_session(graph);
        let (texts, want) = embedding_rows(&folder);
        let values = run_packed(&mut session, config, &texts);
        assert_close(name, &values, &want.concat(), 1e-5);
        let alone = run_packed(&mut session, config, &texts[1..2]);
        let together = parts(&values, &texts, config.hidden)[1];
        assert_close(name, &alone, together, 1e-6);
    }
}

#[test]
fn packed_classifiers_give_the_librarys_logits() {
    for name in CLASSIFIERS {
        let folder = fixture(name);
        let (transformer, weights) = open(&folder);
        let config = &transformer.config;
        let graph = transformer.build(&weights, Task::Classify, Form::Packed, false).expect(name);
        let mut session = packed_session(graph);
        let (texts, want) = pair_rows(&folder);
        assert_close(name, &run_packed(&mut session, config, &texts), &want, 1e-5);
    }
}

#[test]
fn eight_bits_stay_near_and_ignore_the_neighbours() {
    for name in EMBEDDERS {
        let folder = fixture(name);
        let (transformer, weights) = open(&folder);
        let config = &transformer.config;
        let graph = transformer.build(&weights, Task::Embed, Form::Packed, true).expect(name);
        let mut session = packed_session(graph);
        let (texts, want) = embedding_rows(&folder);
        let values = run_packed(&mut session, config, &texts);
        for ((got, want), text) in
            parts(&values, &texts, config.hidden).iter().zip(&want).zip(&texts)
        {
            let near = cosine(got, want);
            assert!(near > 0.995, "{name}: cosine {near}");
            let alone = run_packed(&mut session, config, std::slice::from_ref(text));
            assert_eq!(&alone, got, "{name}: the batch changes a text's vectors");
        }
    }
    for name in CLASSIFIERS {
        let folder = fixture(name);
        let (transformer, weights) = open(&folder);
        let config = &transformer.config;
        let graph = transformer.build(&weights, Task::Classify, Form::Packed, true).expect(name);
        let (texts, want) = pair_rows(&folder);
        let got = run_packed(&mut packed_session(graph), config, &texts);
        let near = cosine(&got, &want);
        assert!(near > 0.98, "{name}: cosine of the logits {near}");
    }
}

/// Writes a fixture's weights again with every quantisable tensor in 8 bits.
fn write_quantised(name: &str, folder: &Path) {
    let (transformer, weights) = open(&fixture(name));
    let chosen = transformer.quantisable(&weights).expect(name);
    let mut tensors: HashMap<String, (Dtype, Vec<usize>, Vec<u8>)> = HashMap::new();
    let bytes_of =
        |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    for tensor in weights.names() {
        let shape = weights.shape(tensor).expect(tensor).to_vec();
        let values = weights.floats(tensor, &shape).expect(tensor);
        if !chosen.iter().any(|name| name == tensor) {
            tensors.insert(tensor.to_string(), (Dtype::F32, shape, bytes_of(&values)));
            continue;
        }
        let block = block_of(shape[1]);
        let (values, scales) = quantise_rows(&values, block);
        let blocks = vec![shape[0], shape[1] / block];
        tensors.insert(format!("{tensor}.scales"), (Dtype::F32, blocks, bytes_of(&scales)));
        let values = values.into_iter().map(|value| value as u8).collect();
        tensors.insert(tensor.to_string(), (Dtype::I8, shape, values));
    }
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).expect("a tensor"))
    });
    let path = folder.join("model.safetensors");
    safetensors::serialize_to_file(views, None, &path).expect("written");
}

#[test]
fn stored_eight_bits_are_the_same_as_eight_bits_made_at_load() {
    for name in ["bert", "modernbert"] {
        let folder = tempfile::tempdir().expect("a folder");
        write_quantised(name, folder.path());
        let (transformer, original) = open(&fixture(name));
        let config = &transformer.config;
        let stored = Weights::open(folder.path()).expect("weights");
        assert_eq!(stored.parameters(), original.parameters());
        let names = transformer.quantisable(&stored).expect(name);
        assert!(names.iter().all(|name| stored.is_quantised(name) && !original.is_quantised(name)));

        let (texts, want) = embedding_rows(&fixture(name));
        let run = |weights: &Weights, quantised: bool| {
            let graph = transformer.build(weights, Task::Embed, Form::Packed, quantised);
            let graph = graph.expect(name);
            if quantised {
                let is_q8 = |matrix: &Matrix| matches!(matrix, Matrix::Q8 { .. });
                let all = graph.linears.iter().all(|linear| is_q8(&linear.weight));
                let stored = stored.path() == weights.path();
                assert_eq!(all, stored, "{name}: fused layers keep the stored form");
            }
            run_packed(&mut packed_session(graph), config, &texts)
        };
        assert_eq!(run(&stored, true), run(&original, true), "{name}");
        // In floats, stored 8-bit weights lose only what rounding the weights loses.
        let floats = run(&stored, false);
        assert!(cosine(&floats, &want.concat()) > 0.99, "{name}");
    }
}
