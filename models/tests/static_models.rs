//! Static models against the outputs that model2vec gives. The fixtures lie outside the project;
//! without them the tests that need them say so and pass.

use std::path::{Path, PathBuf};

use sembla_models::{CancelToken, Model, ModelKind, ModelSpec, Prompt};

fn fixtures() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/models/model2vec-fixtures");
    if !path.is_dir() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn embed(model: &Path, text: &str) -> Vec<f32> {
    let model = Model::load(&ModelSpec::new(model.to_string_lossy())).expect("load");
    assert_eq!(model.info().kind, ModelKind::Static);
    model.embed(&[text], Prompt::Default, &CancelToken::new()).expect("embed").values
}

fn expected(fixtures: &Path, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(fixtures.join(name)).expect("expected output");
    let rows: Vec<Vec<f32>> = serde_json::from_slice(&bytes).expect("json");
    rows.into_iter().next().expect("one row")
}

fn assert_close(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= tolerance, "{what}: {got} is not {want}");
    }
}

#[test]
fn every_form_gives_what_model2vec_gives() {
    let Some(fixtures) = fixtures() else { return };
    let long = vec!["hello"; 1000].join(" ");
    // The 8-bit table is a coarser one: its vectors differ in the third digit.
    for (name, tolerance) in [
        ("test-model-float32", 1e-5),
        ("test-model-float16", 1e-3),
        ("test-model-int8", 2e-2),
        ("test-model-sentence-transformers", 1e-5),
    ] {
        let model = fixtures.join(name);
        let short = expected(&fixtures, "embeddings_short.json");
        assert_close(&embed(&model, "hello world"), &short, tolerance, name);
        let want = expected(&fixtures, "embeddings_long.json");
        assert_close(&embed(&model, &long), &want, tolerance, name);
    }
    let want = expected(&fixtures, "embeddings_vocab_quantized.json");
    let got = embed(&fixtures.join("test-model-vocab-quantized"), "hello");
    assert_close(&got, &want, 1e-5, "vocabulary-quantised");
}

#[test]
fn the_built_in_model_tells_near_from_far() {
    let model = Model::load(&ModelSpec::new("potion")).expect("load");
    assert_eq!(model.info().dimension, 128);
    let texts = ["my card has not arrived", "where is my new card?", "a recipe for soup", ""];
    let rows = model.embed(&texts, Prompt::Default, &CancelToken::new()).expect("embed");
    let row = |i: usize| &rows.values[i * 128..(i + 1) * 128];
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    assert!((dot(row(0), row(0)) - 1.0).abs() < 1e-5);
    assert!(dot(row(0), row(1)) > dot(row(0), row(2)) + 0.2);
    assert!(row(3).iter().all(|value| *value == 0.0), "no token, no direction");
    assert_eq!(model.stats().texts, 4);
}
