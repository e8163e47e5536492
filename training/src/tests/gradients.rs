//! The gradient of every weight, against PyTorch's, finite differences, and other ways to the same.

use std::collections::BTreeMap;

use sembla_models::CancelToken;
use sembla_models::trainable::Sequence;
use serde_json::Value;

use super::{expected, floats, open, texts};
use crate::Network;
use crate::parameters::{Gradient, Gradients};
use crate::random::Dropout;

const ENCODERS: [&str; 7] =
    ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "st-old", "st-new"];
const CLASSIFIERS: [&str; 4] =
    ["bert-classifier", "roberta-classifier", "distilbert-classifier", "mpnet-classifier"];

/// What the result at a place is multiplied by; the loss is the sum.
fn weight(row: usize, column: usize) -> f64 {
    (1.0 + row as f64 + 0.37 * column as f64).sin()
}

fn weights(rows: usize, width: usize) -> Vec<f32> {
    (0..rows).flat_map(|row| (0..width).map(move |column| weight(row, column) as f32)).collect()
}

fn loss_of(vectors: &[f32], width: usize) -> f64 {
    let term =
        |(place, value): (usize, &f32)| weight(place / width, place % width) * f64::from(*value);
    vectors.iter().enumerate().map(term).sum()
}

fn sequences(network: &Network, cases: &Value) -> Vec<Sequence> {
    let cancel = CancelToken::new();
    if network.kind() == sembla_models::ModelKind::CrossEncoder {
        let pairs: Vec<(&str, &str)> = cases["pairs"]
            .as_array()
            .expect("pairs")
            .iter()
            .map(|pair| (pair[0].as_str().expect("a text"), pair[1].as_str().expect("a text")))
            .collect();
        network.read_pairs(&pairs, &cancel).expect("tokens")
    } else {
        network.read_texts(&texts(&cases["texts"]), &cancel).expect("tokens")
    }
}

/// The loss and the gradients of a batch.
fn run(
    network: &mut Network,
    sequences: &[Sequence],
    dropout: Option<Dropout>,
) -> (f64, Gradients) {
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let mut gradients = network.parameters.gradients();
    let pass = network.forward(&batch, dropout);
    let loss = loss_of(&pass.vectors, network.width());
    let above = weights(batch.len(), network.width());
    network.backward(pass, above, &mut gradients);
    (loss, gradients)
}

/// Gradients by the names of tensors, whole.
fn by_name(network: &Network, gradients: &Gradients) -> BTreeMap<String, Vec<f32>> {
    let mut named = BTreeMap::new();
    for (parameter, gradient) in network.parameters.all.iter().zip(&gradients.0) {
        let values = match gradient {
            Gradient::Whole(values) => values.clone(),
            Gradient::Rows(rows) => {
                let mut whole = vec![0f32; parameter.values.len()];
                for (row, place) in &rows.places {
                    whole[*row as usize * rows.width..][..rows.width]
                        .copy_from_slice(&rows.values[*place..place + rows.width]);
                }
                whole
            }
        };
        let mut first = 0;
        for (name, shape) in &parameter.parts {
            let size: usize = shape.iter().product();
            named.insert(name.clone(), values[first..first + size].to_vec());
            first += size;
        }
    }
    named
}

/// The gradient that PyTorch names `name`, which has the path of a module before it.
fn find<'a>(named: &'a BTreeMap<String, Vec<f32>>, name: &str) -> Option<&'a Vec<f32>> {
    let exact = named.iter().find(|(own, _)| {
        name.strip_suffix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    let dense = name.split_once(".linear.").map(|(_, what)| what);
    exact.map(|(_, gradient)| gradient).or_else(|| {
        let dense = dense?;
        let is_it = |own: &str| own.starts_with("dense.") && own.ends_with(dense);
        named.iter().find(|(own, _)| is_it(own)).map(|(_, gradient)| gradient)
    })
}

#[test]
fn gradients_are_pytorch_s() {
    let cases = expected("gradients.json");
    let names = ENCODERS.map(|name| ("encoders", name)).into_iter();
    for (kind, name) in names.chain(CLASSIFIERS.map(|name| ("classifiers", name))) {
        let case = &cases[kind][name];
        let mut network = open(name);
        let sequences = sequences(&network, &cases);
        let (loss, gradients) = run(&mut network, &sequences, None);
        let want = case["loss"].as_f64().expect("a loss");
        assert!((loss - want).abs() < 1e-4 * want.abs().max(1.0), "{name}: loss {loss} for {want}");
        let named = by_name(&network, &gradients);
        let mut compared = 0;
        let scale = case["gradients"]
            .as_object()
            .expect("gradients")
            .values()
            .map(|one| one["norm"].as_f64().expect("a norm"))
            .fold(0.0, f64::max);
        for (tensor, want) in case["gradients"].as_object().expect("gradients") {
            let number = |key: &str| want[key].as_f64().expect("a number");
            let Some(found) = find(&named, tensor) else {
                panic!("{name}: no gradient of {tensor}");
            };
            assert_eq!(found.len() as u64, want["size"].as_u64().expect("a size"), "{tensor}");
            let norm = found.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
            let term = |(place, g): (usize, &f32)| (0.7 * place as f64 + 0.3).sin() * f64::from(*g);
            let projection: f64 = found.iter().enumerate().map(term).sum();
            // Gradients of keys' biases are zero but for rounding.
            let near = 1e-4 * number("norm") + 1e-6 * scale;
            assert!((norm - number("norm")).abs() < near, "{name}: {tensor}: norm {norm} {want}");
            let off = (projection - number("projection")).abs();
            assert!(off < 4.0 * near, "{name}: {tensor}: projection {projection} {want}");
            let step = (found.len() / 4).max(1);
            for (place, sample) in floats(&want["samples"]).into_iter().enumerate() {
                let own = found[place * step];
                assert!(f64::from((own - sample).abs()) < near, "{name}: {tensor}: {own} {sample}");
            }
            compared += 1;
        }
        assert_eq!(
            compared,
            named.len(),
            "{name}: tensors of ours that PyTorch has no gradient of"
        );
    }
}

#[test]
fn every_weight_gets_a_gradient() {
    let cases = expected("gradients.json");
    for name in ENCODERS.into_iter().chain(CLASSIFIERS) {
        let mut network = open(name);
        let sequences = sequences(&network, &cases);
        let (_, gradients) = run(&mut network, &sequences, None);
        for (parameter, gradient) in network.parameters.all.iter().zip(&gradients.0) {
            let (Gradient::Whole(values)
            | Gradient::Rows(crate::parameters::RowGradients { values, .. })) = gradient;
            let moved = values.iter().filter(|value| **value != 0.0).count();
            let parts = &parameter.parts;
            assert!(2 * moved > values.len(), "{name}: {parts:?}: {moved} of {}", values.len());
        }
    }
}

#[test]
fn gradients_are_finite_differences_with_and_without_dropout() {
    let cases = expected("gradients.json");
    let dropout = Dropout { hidden: 0.2, attention: 0.2, seed: 11 };
    for (name, dropout) in [
        ("bert", None),
        ("mpnet", Some(dropout)),
        ("st-new", Some(dropout)),
        ("bert-classifier", Some(dropout)),
    ] {
        let mut network = open(name);
        let sequences = sequences(&network, &cases);
        let batch: Vec<&Sequence> = sequences.iter().collect();
        let (_, gradients) = run(&mut network, &sequences, dropout);
        let named = by_name(&network, &gradients);
        for id in 0..network.parameters.all.len() {
            let parts = network.parameters.all[id].parts.clone();
            let of_parts: Vec<f32> =
                parts.iter().flat_map(|(name, _)| named[name].clone()).collect();
            // Along the gradient itself the slope is its length.
            let length = of_parts.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
            let step = 2e-3 / length;
            let before = network.parameters.all[id].values.clone();
            let mut at = |sign: f64| {
                for ((value, old), g) in
                    network.parameters.all[id].values.iter_mut().zip(&before).zip(&of_parts)
                {
                    *value = (f64::from(*old) + sign * step * f64::from(*g)) as f32;
                }
                let pass = network.forward(&batch, dropout);
                loss_of(&pass.vectors, network.width())
            };
            let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
            network.parameters.all[id].values = before;
            let off = (slope / (length * length) - 1.0).abs();
            assert!(off < 0.03, "{name}: {parts:?}: slope {slope} for {}", length * length);
        }
    }
}

#[test]
fn gradients_are_the_same_bits_on_any_number_of_threads() {
    let cases = expected("gradients.json");
    let run_on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let mut network = open("bert");
            let sequences = sequences(&network, &cases);
            let dropout = Dropout { hidden: 0.1, attention: 0.1, seed: 3 };
            let many: Vec<Sequence> = std::iter::repeat_n(sequences, 20).flatten().collect();
            let (_, gradients) = run(&mut network, &many, Some(dropout));
            by_name(&network, &gradients)
        })
    };
    let once = run_on(1);
    for threads in [2, 5] {
        assert_eq!(once, run_on(threads));
    }
}
