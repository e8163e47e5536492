//! Smaller models, against what the Python libraries make of the same (scripts/
//! make-student-fixtures.py): fewer layers, principal components, static models.

use sembla_models::trainable::{Sequence, Trainable};
use sembla_models::{CancelToken, Model, ModelSpec, Prompt};
use serde_json::Value;

use super::{expected, floats, model_folder, open, texts};
use crate::pca::Pca;
use crate::{Network, distil, static_student};

fn spec(name: &str) -> ModelSpec {
    ModelSpec::new(model_folder(name).display().to_string())
}

fn cases() -> Value {
    expected("students.json")
}

/// The vectors that a directory gives.
fn embed(folder: &std::path::Path, texts: &[&str]) -> Vec<f32> {
    let model = Model::load(&ModelSpec::new(folder.display().to_string())).expect("loads");
    model.embed(texts, Prompt::Text(""), &CancelToken::new()).expect("vectors").values
}

fn assert_near(found: &[f32], want: &[f32], most: f32, what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    let off = found.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < most, "{what}: off by {off}");
}

#[test]
fn a_model_with_one_of_its_layers_is_what_pytorch_makes_of_it() {
    let cases = cases();
    let texts = texts(&cases["texts"]);
    let folder = tempfile::tempdir().expect("a folder");
    for (name, want) in cases["layer_one"].as_object().expect("models") {
        let mut model = Trainable::open(&spec(name)).expect("opens");
        assert_eq!(model.layers(), 2);
        model.keep_layers(&[1]).expect("kept");
        assert_eq!(model.layers(), 1);
        let mut network = Network::of(model).expect("a network");
        let sequences = network.read_texts(&texts, &CancelToken::new()).expect("tokens");
        let sequences: Vec<&Sequence> = sequences.iter().collect();
        let own = network.vectors(&sequences, &CancelToken::new()).expect("vectors");
        let want = floats(want);
        assert_near(&own, &want, 1e-5, name);
        let target = folder.path().join(name);
        network.save(&target).expect("saved");
        assert_near(&embed(&target, &texts), &want, 1e-5, name);
        let again = Trainable::open(&ModelSpec::new(target.display().to_string())).expect("opens");
        assert_eq!(again.layers(), 1, "{name}: config.json has the new count");
        let count = |model: &Trainable| model.tensors().expect("tensors").len();
        let all = Trainable::open(&spec(name)).expect("opens");
        assert!(count(&again) < count(&all), "{name}: the tensors of the other layer are gone");
    }
}

#[test]
fn layers_that_a_model_does_not_have_are_refused() {
    let refused = |layers: &[usize]| {
        let mut model = Trainable::open(&spec("bert")).expect("opens");
        model.keep_layers(layers).expect_err("refused").to_string()
    };
    assert!(refused(&[2]).contains("from 0 to 1, ascending, got [2]"));
    assert!(refused(&[1, 0]).contains("ascending"));
    assert!(refused(&[]).contains("ascending"));
    let error = distil::with_layers(&spec("bert"), 3).expect_err("refused").to_string();
    assert!(error.contains("has 2 layers; 3 can't be kept"), "{error}");
}

#[test]
fn a_dense_module_is_added_and_read_again() {
    let cases = cases();
    let texts = texts(&cases["texts"]);
    let folder = tempfile::tempdir().expect("a folder");
    // With modules and without, with a normalisation at the end and without.
    for (name, width) in [("bert", 32), ("st-old", 32), ("st-new", 16)] {
        let plain = embed(&model_folder(name), &texts);
        let value = |place: usize| ((place * 7 % 13) as f32 - 6.0) / 10.0;
        let weight: Vec<f32> = (0..4 * width).map(value).collect();
        let mut model = Trainable::open(&spec(name)).expect("opens");
        assert_eq!(model.width(), width);
        let unit = model.normalizes();
        let error = model.add_dense(weight.clone(), width + 1).expect_err("refused").to_string();
        assert!(error.contains("must take its"), "{error}");
        model.add_dense(weight.clone(), width).expect("added");
        assert_eq!((model.width(), model.normalizes()), (4, unit));
        let network = Network::of(model).expect("a network");
        let target = folder.path().join(name);
        network.save(&target).expect("saved");
        let mut want: Vec<f32> = plain
            .chunks_exact(width)
            .flat_map(|row| {
                weight.chunks_exact(width).map(|w| row.iter().zip(w).map(|(a, b)| a * b).sum())
            })
            .collect();
        if unit {
            crate::pca::to_unit(&mut want, 4);
        }
        assert_near(&embed(&target, &texts), &want, 1e-5, name);
    }
}

#[test]
fn components_are_those_of_scikit_learn() {
    let case = &cases()["pca"];
    let number = |key: &str| case[key].as_u64().expect("a number") as usize;
    let (rows, width) = (number("rows"), number("width"));
    let value = |row: usize, place: usize| {
        let angle = 1.0 + 0.9 * row as f64 + 1.7 * place as f64;
        (angle.sin() * (1.0 + place as f64) + 0.1 * row as f64) as f32
    };
    let vectors: Vec<f32> = (0..rows * width).map(|i| value(i / width, i % width)).collect();
    let want = floats(&case["components"]);
    let pca = Pca::fit(&vectors, width, want.len() / width).expect("components");
    assert_near(&pca.mean, &floats(&case["mean"]), 1e-6, "mean");
    assert!((pca.explained - case["explained"].as_f64().expect("a share")).abs() < 1e-6);
    for (found, want) in pca.components.chunks_exact(width).zip(want.chunks_exact(width)) {
        // Either direction of an axis is right; ours has its largest entry positive.
        let sign: f32 = found.iter().zip(want).map(|(a, b)| a * b).sum::<f32>().signum();
        let want: Vec<f32> = want.iter().map(|value| value * sign).collect();
        assert_near(found, &want, 1e-5, "a component");
        let largest = found.iter().fold(0f32, |a, b| if b.abs() > a.abs() { *b } else { a });
        assert!(largest > 0.0);
    }
}

#[test]
fn a_static_student_is_that_of_model2vec() {
    let cases = cases();
    let texts = texts(&cases["texts"]);
    let folder = tempfile::tempdir().expect("a folder");
    let cancel = CancelToken::new();
    for (name, want) in cases["static"].as_object().expect("models") {
        let target = folder.path().join(name);
        let mut seen = (0, 0);
        let mut observe = |done: usize, all: usize| seen = (done, all);
        let tokens = want["tokens"].as_array().expect("tokens");
        let count = static_student::make(&mut open(name), 8, &target, &cancel, &mut observe);
        assert_eq!((count.expect("made"), seen), (tokens.len(), (tokens.len(), tokens.len())));
        let text = std::fs::read_to_string(target.join("tokenizer.json")).expect("a tokenizer");
        let tokenizer: Value = serde_json::from_str(&text).expect("JSON");
        for (id, token) in tokens.iter().enumerate() {
            let token = token.as_str().expect("a token");
            assert_eq!(tokenizer["model"]["vocab"][token], id, "{name}: {token}");
        }
        assert_near(&embed(&target, &texts), &floats(&want["vectors"]), 1e-5, name);
    }
    let mut made = Network::open(&ModelSpec::new(folder.path().join("bert").display().to_string()))
        .expect("a static model can be trained");
    let error = static_student::make(&mut made, 8, folder.path(), &cancel, &mut |_, _| {});
    assert!(error.expect_err("refused").to_string().contains("static already"));
}
