//! Fused graphs on tiny random models: what the Python library gave is what they give.
//!
//! A processor runs the padded layout as it is. For the packed one it has no attention operator, so
//! a plain one stands in, which is written from the operator's documentation; and ONNX Runtime says
//! itself that it rejects such a graph for nothing but the missing kernel.

use std::path::{Path, PathBuf};

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::session::Session;
use ort::value::TensorElementType;
use prost::Message;
use serde_json::Value;

use super::*;
use crate::backends::onnx::batch::Batch;
use crate::families::Transformer;
use crate::families::tests::{
    assert_close, expected as results, fixture, floats, ids, open as open_in,
};
use crate::graph::{Form, Fused, GraphPooling, Layout, Task};
use crate::inputs::Sequence;
use crate::onnx::proto::{ModelProto, OperatorSetIdProto, data_type};
use crate::onnxruntime::{environment, one_session_at_a_time};
use crate::pool::{Head, PoolingMode, Step};
use crate::weights::Weights;

const EMBEDDERS: &[&str] = &["bert", "roberta", "xlm-roberta", "distilbert", "mpnet"];
const CLASSIFIERS: &[&str] = &[
    "bert-classifier",
    "roberta-classifier",
    "xlm-roberta-classifier",
    "distilbert-classifier",
    "mpnet-classifier",
];

/// The domain of the attention that stands in.
const STAND_IN: &str = "ai.sembla.test";

fn plain(layout: Layout) -> Fused {
    Fused { layout, half: false, pooling: GraphPooling::None, normalise: false }
}

/// A fixture: its model and its folder.
fn open(name: &str) -> (Transformer, Weights, PathBuf) {
    let folder = fixture(name);
    let (transformer, weights) = open_in(&folder);
    (transformer, weights, folder)
}

/// The texts or pairs of a fixture, and what the library gives for each.
fn expected(folder: &Path, of: &str, wanted: &str) -> (Vec<Sequence>, Vec<Vec<f32>>) {
    let expected = results(folder);
    let rows = expected[of].as_array().expect(of);
    let sequence = |row: &Value| Sequence {
        ids: ids(&row["ids"]),
        type_ids: row.get("type_ids").map(ids),
        skip: 0,
        truncated: false,
    };
    rows.iter().map(|row| (sequence(row), floats(&row[wanted]))).unzip()
}

fn session(bytes: &[u8]) -> Session {
    let mut model = ModelProto::decode(bytes).expect("a model");
    for node in &mut model.graph.as_mut().expect("a graph").node {
        if node.op_type.as_deref() == Some("PackedMultiHeadAttention") {
            node.domain = Some(STAND_IN.to_string());
        }
    }
    let domain = Some(STAND_IN.to_string());
    model.opset_import.push(OperatorSetIdProto { domain, version: Some(1) });
    let environment = environment().expect("ONNX Runtime; run scripts/fetch-onnxruntime.sh");
    let operators = OperatorDomain::new(STAND_IN).expect("a domain").add(PackedAttention);
    let _one = one_session_at_a_time();
    Session::builder(environment)
        .expect("a session builder")
        .with_operators(operators.expect("an operator"))
        .expect("the operator is taken")
        .commit_from_memory(&model.encode_to_vec())
        .expect("ONNX Runtime takes the graph")
}

/// What a graph gives for the texts in one batch, a part for each.
fn run(
    transformer: &Transformer,
    weights: &Weights,
    (form, task, modes): (Fused, Task, &[PoolingMode]),
    texts: &[Sequence],
) -> Vec<Vec<f32>> {
    let graph = transformer.build(weights, task, Form::Fused(form), false).expect("a graph");
    let rows: Vec<usize> = (0..texts.len()).collect();
    let batch = FusedBatch::new(texts, &rows, form.layout, &transformer.config, modes);
    let per_token = task == Task::Embed && form.pooling == GraphPooling::None;
    let facts = Facts {
        width: if task == Task::Classify {
            graph.labels
        } else {
            graph.hidden * modes.len().max(1)
        },
        pooled: !per_token,
        normalised: form.normalise,
        labels: graph.labels,
        architecture: "test".into(),
        precision: crate::Precision::F32,
        parameters: 0,
    };
    let output = batch.run(&mut session(&graph.bytes), &facts, "test").expect("the graph runs");
    let width = facts.width;
    assert!(output.values.iter().all(|value| value.is_finite()), "padding too is finite");
    let part = |(text, (start, tokens)): (usize, &(usize, usize))| {
        let (start, rows) = if per_token { (*start, *tokens) } else { (text, 1) };
        output.values[start * width..(start + rows) * width].to_vec()
    };
    output.places.iter().enumerate().map(part).collect()
}

#[test]
fn embedders_give_the_librarys_token_vectors_in_both_layouts() {
    for name in EMBEDDERS {
        let (transformer, weights, folder) = open(name);
        assert!(transformer.fuses(), "{name}");
        let (texts, want) = expected(&folder, "texts", "last_hidden_state");
        for layout in [Layout::Padded, Layout::Packed] {
            let got = run(&transformer, &weights, (plain(layout), Task::Embed, &[]), &texts);
            for (got, want) in got.iter().zip(&want) {
                assert_close(&format!("{name} {layout:?}"), got, want, 1e-5);
            }
        }
    }
}

#[test]
fn classifiers_give_the_librarys_logits_in_both_layouts() {
    for name in CLASSIFIERS {
        let (transformer, weights, folder) = open(name);
        let (pairs, want) = expected(&folder, "pairs", "logits");
        for layout in [Layout::Padded, Layout::Packed] {
            let got = run(&transformer, &weights, (plain(layout), Task::Classify, &[]), &pairs);
            assert_close(&format!("{name} {layout:?}"), &got.concat(), &want.concat(), 1e-5);
        }
    }
}

#[test]
fn pooling_in_the_graph_is_pooling_outside() {
    let (transformer, weights, folder) = open("mpnet");
    let hidden = transformer.config.hidden;
    let (mut texts, tokens) = expected(&folder, "texts", "last_hidden_state");
    texts.iter_mut().enumerate().for_each(|(row, text)| text.skip = row % 2);
    // And one that pooling sees nothing of.
    texts[2].skip = texts[2].ids.len();
    use PoolingMode::{Cls, LastToken, Mean, MeanSqrtLen, WeightedMean};
    let cases: [(&[PoolingMode], GraphPooling); 5] = [
        (&[Mean], GraphPooling::Weighted { modes: 1 }),
        (&[Mean, Cls, WeightedMean], GraphPooling::Weighted { modes: 3 }),
        (&[MeanSqrtLen, LastToken], GraphPooling::Weighted { modes: 2 }),
        (&[Cls], GraphPooling::Picked),
        (&[LastToken], GraphPooling::Picked),
    ];
    for (modes, pooling) in cases {
        for (layout, normalise) in
            [(Layout::Padded, true), (Layout::Packed, true), (Layout::Packed, false)]
        {
            let form = Fused { pooling, normalise, ..plain(layout) };
            let got = run(&transformer, &weights, (form, Task::Embed, modes), &texts);
            let steps = if normalise { vec![Step::Normalize] } else { Vec::new() };
            let head = Head { pooling: modes.to_vec(), steps, ..Head::default() };
            for ((got, tokens), text) in got.iter().zip(&tokens).zip(&texts) {
                let want = head.apply(tokens, hidden, text.skip);
                assert_close(&format!("{modes:?} {layout:?}"), got, &want, 1e-5);
            }
        }
    }
}

#[test]
fn a_layer_is_seven_nodes_and_what_makes_queries() {
    let (transformer, weights, _) = open("bert");
    let form = Fused { pooling: GraphPooling::Picked, ..plain(Layout::Packed) };
    let graph =
        transformer.build(&weights, Task::Embed, Form::Fused(form), false).expect("a graph");
    let model = ModelProto::decode(&graph.bytes[..]).expect("a model");
    let nodes = model.graph.expect("a graph").node;
    let count = |operator: &str| {
        nodes.iter().filter(|node| node.op_type.as_deref() == Some(operator)).count()
    };
    let layers = transformer.config.layers;
    for (operator, each) in [
        ("Gemm", 3),
        ("PackedMultiHeadAttention", 1),
        ("MatMul", 3),
        ("SkipLayerNormalization", 2),
        ("BiasGelu", 1),
    ] {
        assert_eq!(count(operator), each * layers, "{operator}");
    }
    assert_eq!(count("EmbedLayerNormalization"), 1);
    // What is left: the flat embeddings, the picked rows and the name of the output.
    assert_eq!(nodes.len(), 10 * layers + 4);
}

/// What ONNX Runtime says to a graph that it does not take on a processor.
fn refusal(bytes: &[u8]) -> String {
    let _one = one_session_at_a_time();
    Session::builder(environment().expect("ONNX Runtime; run scripts/fetch-onnxruntime.sh"))
        .expect("a session builder")
        .commit_from_memory(bytes)
        .expect_err("a processor has no kernel for it")
        .to_string()
}

/// Writes a graph to the folder that `scripts/check-graphs.py` is given, where one is named.
fn keep(name: &str, bytes: &[u8]) {
    if let Some(folder) = std::env::var_os("SEMBLA_TEST_GRAPHS").map(PathBuf::from) {
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.onnx")), bytes).expect("written");
    }
}

#[test]
fn packed_graphs_have_right_types_and_lack_only_a_kernel() {
    for (names, task) in [(EMBEDDERS, Task::Embed), (CLASSIFIERS, Task::Classify)] {
        for name in names {
            let (transformer, weights, _) = open(name);
            let pooling = GraphPooling::Weighted { modes: 1 };
            for half in [false, true] {
                let form = Fused { half, pooling, normalise: true, ..plain(Layout::Packed) };
                let graph = transformer.build(&weights, task, Form::Fused(form), false);
                let graph = graph.expect(name);
                keep(&format!("{name}-{task:?}-half-{half}"), &graph.bytes);
                let message = refusal(&graph.bytes);
                let lacks = ["Could not find an implementation for", "Failed to find kernel for"];
                assert!(lacks.iter().any(|lacks| message.contains(lacks)), "{message}");
                assert!(message.contains("PackedMultiHeadAttention"), "{message}");
            }
        }
    }
}

/// A processor has the other operators in 16 bits too, some of them by way of 32.
#[test]
fn sixteen_bits_stay_near() {
    for name in EMBEDDERS {
        let (transformer, weights, folder) = open(name);
        let (texts, want) = expected(&folder, "texts", "last_hidden_state");
        let form = Fused { half: true, ..plain(Layout::Padded) };
        let graph = transformer.build(&weights, Task::Embed, Form::Fused(form), false);
        keep(&format!("{name}-padded-half"), &graph.expect(name).bytes);
        let got = run(&transformer, &weights, (form, Task::Embed, &[]), &texts);
        for (got, want) in got.iter().zip(&want) {
            let near = cosine(got, want);
            assert!(near > 0.9999, "{name}: cosine {near}");
            assert_ne!(got, want, "{name}: 16 bits round");
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn sixteen_bits_stay_near_for_the_real_model() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../.sembla/models/all-MiniLM-L6-v2");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let (transformer, weights) = open_in(&folder);
    let text = |row: u32| Sequence {
        ids: (0..(row * 13) % 60 + 2)
            .map(|at| 1000 + (row * 977 + at * at * 131) % 20000)
            .collect(),
        type_ids: None,
        skip: 0,
        truncated: false,
    };
    let texts: Vec<Sequence> = (0..40).map(text).collect();
    let pooling = GraphPooling::Weighted { modes: 1 };
    let form = Fused { pooling, normalise: true, ..plain(Layout::Padded) };
    let vectors = |half| {
        let form = Fused { half, ..form };
        run(&transformer, &weights, (form, Task::Embed, &[PoolingMode::Mean]), &texts)
    };
    let pairs = vectors(true).into_iter().zip(vectors(false));
    let least = pairs.map(|(half, whole)| cosine(&half, &whole)).fold(1.0, f32::min);
    eprintln!("smallest cosine of f16 to f32: {least}");
    assert!(least > 0.9999, "{least}");
}

#[test]
fn every_activation_is_that_of_the_padded_form() {
    let (mut transformer, weights, folder) = open("bert");
    let (texts, _) = expected(&folder, "texts", "last_hidden_state");
    use crate::config::HiddenActivation::{Gelu, GeluTanh, QuickGelu, Relu, Silu};
    for activation in [Gelu, GeluTanh, QuickGelu, Relu, Silu] {
        transformer.config.activation = activation;
        let graph = transformer.build(&weights, Task::Embed, Form::Padded, false);
        let mut session = session(&graph.expect("a graph").bytes);
        let fused = (plain(Layout::Padded), Task::Embed, &[][..]);
        for (text, got) in texts.iter().zip(run(&transformer, &weights, fused, &texts)) {
            let alone = Batch::padded(std::slice::from_ref(text), &[0]);
            let want = alone
                .run(&mut session, super::super::batch::OF_TEXTS, "test")
                .expect("the graph runs")
                .values;
            assert_close(&format!("{activation:?}"), &got, &want, 1e-5);
        }
    }
}

#[test]
fn a_wrong_type_would_be_noticed() {
    let (transformer, weights, _) = open("bert");
    let form = Fused { half: true, ..plain(Layout::Packed) };
    let graph =
        transformer.build(&weights, Task::Embed, Form::Fused(form), false).expect("a graph");
    let mut model = ModelProto::decode(&graph.bytes[..]).expect("a model");
    let weights = &mut model.graph.as_mut().expect("a graph").initializer;
    let one = weights
        .iter_mut()
        .find(|one| one.name.as_deref().is_some_and(|name| name.ends_with("LayerNorm.bias")));
    let one = one.expect("a bias");
    one.data_type = Some(data_type::FLOAT);
    let twice = [one.raw_data.clone().expect("values"), one.raw_data.clone().expect("values")];
    one.raw_data = Some(twice.concat().into());
    let message = refusal(&model.encode_to_vec());
    assert!(message.contains("Type Error"), "{message}");
}

#[test]
fn a_weight_beyond_sixteen_bits_is_named() {
    let (transformer, _, folder) = open("bert");
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("weights");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("tensors");
    let large: Vec<(String, Vec<u8>)> = tensors
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let mut data = tensor.data().to_vec();
            if name.ends_with("1.output.dense.bias") {
                data[..4].copy_from_slice(&70_000f32.to_le_bytes());
            }
            (name, data)
        })
        .collect();
    let views = large.iter().map(|(name, data)| {
        let shape = tensors.tensor(name).expect(name).shape().to_vec();
        (
            name,
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, data)
                .expect("a tensor"),
        )
    });
    let other = tempfile::tempdir().expect("a folder");
    let path = other.path().join("model.safetensors");
    safetensors::serialize_to_file(views, None, &path).expect("written");
    let weights = Weights::open(&path).expect("weights");
    let form = Fused { half: true, ..plain(Layout::Packed) };
    let error =
        transformer.build(&weights, Task::Embed, Form::Fused(form), false).expect_err("large");
    let message = error.to_string();
    assert!(message.contains("1.output.dense") && message.contains("use f32"), "{message}");
}

/// `PackedMultiHeadAttention` as its documentation has it: tokens go to where `token_offset` says,
/// the first of each text as many as `cumulative_sequence_length` says are real.
struct PackedAttention;

struct PackedKernel {
    heads: usize,
    scale: f32,
}

impl Operator for PackedAttention {
    type Kernel<'attr> = PackedKernel;

    fn name(&self) -> &str {
        "PackedMultiHeadAttention"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let (float, whole) = (TensorElementType::Float32, TensorElementType::Int32);
        let (required, optional) = (OperatorInput::required, OperatorInput::optional);
        [
            required(float),
            required(float),
            required(float),
            optional(float),
            required(whole),
            required(whole),
            optional(float),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<PackedKernel> {
        let heads = node.get::<i64>("num_heads").expect("num_heads") as usize;
        Ok(PackedKernel { heads, scale: node.get::<f32>("scale").expect("scale") })
    }
}

impl Kernel for PackedKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let matrix = |place: usize| -> ort::Result<(usize, usize, Vec<f32>)> {
            let value = context.input(place)?.expect("an input");
            let (shape, values) = value.try_extract_tensor::<f32>()?;
            Ok((shape[0] as usize, shape[1] as usize, values.to_vec()))
        };
        let [(tokens, hidden, query), (_, _, key), (_, _, value)] =
            [matrix(0)?, matrix(1)?, matrix(2)?];
        assert!(context.input(3)?.is_none(), "the bias is added before");
        let offset = context.input(4)?.expect("token_offset");
        let (places, offset) = offset.try_extract_tensor::<i32>()?;
        let starts = context.input(5)?.expect("cumulative_sequence_length");
        let (_, starts) = starts.try_extract_tensor::<i32>()?;
        let longest = places[1] as usize;
        let bias = if context.num_inputs()? > 6 { context.input(6)? } else { None };
        let bias = bias.as_ref().map(|bias| bias.try_extract_tensor::<f32>()).transpose()?;
        if let Some((shape, _)) = &bias {
            assert_eq!(shape[..], [1, self.heads as i64, places[1], places[1]]);
        }
        let mut row_at = vec![usize::MAX; offset.len()];
        for (row, place) in offset[..tokens].iter().enumerate() {
            row_at[*place as usize] = row;
        }
        let mut result = vec![0f32; tokens * hidden];
        let width = hidden / self.heads;
        for text in 0..places[0] as usize {
            let count = (starts[text + 1] - starts[text]) as usize;
            for (head, from) in
                (0..self.heads).flat_map(|head| (0..count).map(move |from| (head, from)))
            {
                let at = |token: usize| {
                    let start = row_at[text * longest + token] * hidden + head * width;
                    start..start + width
                };
                let score = |to: usize| {
                    let pairs = query[at(from)].iter().zip(&key[at(to)]);
                    let score = pairs.map(|(a, b)| a * b).sum::<f32>() * self.scale;
                    score
                        + bias
                            .as_ref()
                            .map_or(0.0, |(_, bias)| bias[(head * longest + from) * longest + to])
                };
                let scores: Vec<f32> = (0..count).map(score).collect();
                let largest = scores.iter().copied().fold(f32::MIN, f32::max);
                let shares: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
                let total: f32 = shares.iter().sum();
                for (to, share) in shares.iter().enumerate() {
                    let pairs = result[at(from)].iter_mut().zip(&value[at(to)]);
                    pairs.for_each(|(sum, value)| *sum += value * share / total);
                }
            }
        }
        let mut output = context.output(0, vec![tokens as i64, hidden as i64])?.expect("an output");
        output.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(&result);
        Ok(())
    }
}
