//! Models of texts and images, through the public interface, against what `transformers` gave.
//! `scripts/make-image-fixtures.py` makes the models and the expected results.

use std::path::{Path, PathBuf};

use sembla_models::{CancelToken, InputKind, Model, ModelSpec, Precision, Prompt};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn expected(name: &str) -> Value {
    let bytes = std::fs::read(fixture(name).join("expected.json")).expect("expected results");
    serde_json::from_slice(&bytes).expect("json")
}

fn spec(name: &str) -> ModelSpec {
    ModelSpec::new(fixture(name).to_string_lossy())
}

fn load(name: &str) -> Model {
    Model::load(&spec(name)).expect(name)
}

fn numbers(value: &Value) -> Vec<f32> {
    let row = value.as_array().expect("a row of numbers");
    row.iter().map(|number| number.as_f64().expect("number") as f32).collect()
}

fn image(name: &str) -> Vec<u8> {
    std::fs::read(fixture("images").join(name)).expect(name)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

fn assert_close(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        let bound = 1e-5 * want.abs().max(1.0);
        assert!((got - want).abs() <= bound, "{what}: {got} is not {want}");
    }
}

/// Images of the expectations, with the vectors that the library gives for them.
fn images(name: &str) -> (Vec<Vec<u8>>, Vec<Vec<f32>>) {
    let expected = expected(name);
    let rows = expected["images"].as_array().expect("images");
    let files = rows.iter().map(|row| image(row["image"].as_str().expect("a name"))).collect();
    (files, rows.iter().map(|row| numbers(&row["vector"])).collect())
}

fn embed_images(model: &Model, files: &[Vec<u8>]) -> Vec<Vec<f32>> {
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let found = model.embed_images(&files, &CancelToken::new()).expect("embed");
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    found.values.chunks_exact(found.dimension).map(<[f32]>::to_vec).collect()
}

fn embed_texts(model: &Model, texts: &[&str]) -> Vec<Vec<f32>> {
    let rows = model.embed(texts, Prompt::Default, &CancelToken::new()).expect("embed");
    rows.values.chunks_exact(rows.dimension).map(<[f32]>::to_vec).collect()
}

#[test]
fn texts_have_the_vectors_of_transformers() {
    for name in ["clip", "st-clip", "clip-text", "siglip", "onnx-clip"] {
        let expected = expected(name);
        let rows = expected["texts"].as_array().expect("texts");
        let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().expect("text")).collect();
        for (row, got) in rows.iter().zip(embed_texts(&load(name), &texts)) {
            assert_close(&got, &numbers(&row["vector"]), &format!("{name}, {}", row["text"]));
        }
    }
}

#[test]
fn images_have_the_vectors_of_transformers() {
    for name in ["clip", "st-clip", "clip-vision", "siglip", "dinov2", "onnx-clip"] {
        let (files, want) = images(name);
        for (row, (got, want)) in embed_images(&load(name), &files).iter().zip(&want).enumerate() {
            assert_close(got, want, &format!("{name}, image {row}"));
        }
    }
}

#[test]
fn pairs_have_the_logits_of_transformers() {
    for name in ["clip", "siglip"] {
        let (model, expected) = (load(name), expected(name));
        let contrast = model.info().contrast.expect("trained on pairs");
        assert_eq!(contrast.bias.is_some(), name == "siglip");
        let text = expected["texts"][0]["text"].as_str().expect("a text");
        let text = embed_texts(&model, &[text]).remove(0);
        let logits = numbers(&expected["logits"]);
        for (image, want) in embed_images(&model, &images(name).0).iter().zip(&logits) {
            let got = cosine(&text, image) * contrast.scale + contrast.bias.unwrap_or(0.0);
            assert!((got - want).abs() < 5e-5, "{name}: {got} is not {want}");
        }
    }
}

#[test]
fn what_a_model_takes_is_known_and_the_rest_is_refused() {
    let bytes = image("rgb.png");
    for (name, takes) in [
        ("clip", InputKind::TextOrImage),
        ("clip-text", InputKind::Text),
        ("clip-vision", InputKind::Image),
        ("siglip", InputKind::TextOrImage),
        ("onnx-clip", InputKind::TextOrImage),
        ("dinov2", InputKind::Image),
        ("bert", InputKind::Text),
    ] {
        let model = load(name);
        assert_eq!(model.info().takes, takes, "{name}");
        let texts = model.embed(&["two"], Prompt::Default, &CancelToken::new());
        assert_eq!(texts.is_ok(), takes.has_texts(), "{name}");
        let images = model.embed_images(&[&bytes], &CancelToken::new());
        assert_eq!(images.is_ok(), takes.has_images(), "{name}");
    }
    for name in ["clip-vision", "dinov2"] {
        let error = load(name).embed(&["two"], Prompt::Default, &CancelToken::new());
        let message = error.expect_err("no texts").to_string();
        assert!(message.contains("takes images only"), "{message}");
    }
    // Vectors of one tower may be compared with those of the other; DINOv2 has no other.
    assert_eq!(load("clip-vision").info().space, None);
    assert!(load("dinov2").info().space.is_some() && load("onnx-clip").info().space.is_some());
}

/// A copy of a fixture without some of its files.
fn without(name: &str, files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut folders = vec![(fixture(name), folder.path().to_path_buf())];
    while let Some((from, to)) = folders.pop() {
        std::fs::create_dir_all(&to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("files").flatten() {
            let place = to.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push((entry.path(), place));
            } else if !files.contains(&&*entry.file_name().to_string_lossy()) {
                std::fs::copy(entry.path(), place).expect("copied");
            }
        }
    }
    folder
}

#[test]
fn one_graph_is_a_tower_alone() {
    let of =
        |folder: &tempfile::TempDir| Model::load(&ModelSpec::new(folder.path().to_string_lossy()));
    let images_only = without("onnx-clip", &["text_model.onnx", "tokenizer.json"]);
    let model = of(&images_only).expect("an image tower");
    assert_eq!((model.info().takes, &model.info().space), (InputKind::Image, &None));
    let (files, want) = images("onnx-clip");
    assert_close(&embed_images(&model, &files[..1])[0], &want[0], "alone");
    let texts_only = without("onnx-clip", &["vision_model.onnx"]);
    assert_eq!(of(&texts_only).expect("a text tower").info().takes, InputKind::Text);

    let neither = without("onnx-clip", &["text_model.onnx", "vision_model.onnx"]);
    let message = of(&neither).expect_err("no graph").to_string();
    assert!(message.contains("neither model.safetensors nor onnx/text_model.onnx"), "{message}");
    let turned = without("onnx-clip", &["vision_model.onnx"]);
    let onnx = turned.path().join("onnx");
    std::fs::copy(onnx.join("text_model.onnx"), onnx.join("vision_model.onnx")).expect("copied");
    let message = of(&turned).expect_err("no image tower").to_string();
    assert!(
        message.contains("an image can't fill; an image tower takes pixel_values"),
        "{message}"
    );
    let spec = ModelSpec { precision: Some(Precision::Q8), ..spec("onnx-clip") };
    let message = Model::load(&spec).expect_err("no weights").to_string();
    assert!(message.contains("precision q8 needs model.safetensors"), "{message}");
}

/// A vector depends on the image, the model and the precision, not on the images beside it.
#[test]
fn a_batch_changes_no_bit() {
    let files: Vec<Vec<u8>> =
        ["rgb.png", "tall.png", "wide.png", "moving.gif", "rgba.png", "photo.jpg", "lzw.tiff"]
            .map(image)
            .into();
    for name in ["clip", "siglip", "clip-vision", "dinov2"] {
        for precision in [Precision::F32, Precision::Q8] {
            let model = Model::load(&ModelSpec { precision: Some(precision), ..spec(name) });
            let model = model.expect(name);
            let together = embed_images(&model, &files);
            for (file, row) in files.iter().zip(&together) {
                let alone = embed_images(&model, std::slice::from_ref(file)).remove(0);
                let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&alone), bits(row), "{name}, {precision}");
            }
        }
    }
}

#[test]
fn damaged_images_are_problems_of_their_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = ModelSpec { cache: Some(folder.path().to_path_buf()), ..spec("clip") };
    let good = image("rgb.png");
    let torn = &good[..good.len() / 2];
    let rows: [&[u8]; 6] = [&good, torn, b"<svg>", &good, b"", torn];
    let model = Model::load(&spec).expect("clip");
    for round in 0..2 {
        let found = model.embed_images(&rows, &CancelToken::new()).expect("embed");
        let wrong: Vec<usize> = found.problems.iter().map(|(row, _)| *row).collect();
        assert_eq!(wrong, [1, 2, 4, 5], "round {round}");
        let row = |row: usize| &found.values[row * found.dimension..(row + 1) * found.dimension];
        assert_eq!(row(0), row(3));
        assert!(row(1).iter().all(|value| *value == 0.0) && row(0).iter().any(|x| *x != 0.0));
    }
    assert_eq!(model.stats().cache_hits, 1, "the image came from the cache, no problem did");
    // A text that spells like an image has a vector of its own.
    assert_ne!(
        embed_texts(&model, &["image"])[0],
        embed_images(&model, std::slice::from_ref(&good))[0]
    );
}

#[test]
fn a_turned_photo_is_upright_unless_told_otherwise() {
    let turned = image("turned.jpg");
    let mut spec = spec("clip");
    let upright = embed_images(&Model::load(&spec).expect("clip"), std::slice::from_ref(&turned));
    spec.set("exif_orientation", "false").expect("an option");
    let as_stored = Model::load(&spec).expect("clip");
    let stored = embed_images(&as_stored, &[turned]);
    assert!(cosine(&upright[0], &stored[0]) < 0.999);
}

#[test]
fn a_quantised_copy_loads_and_is_close() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["clip", "siglip", "dinov2"] {
        let target = folder.path().join(name);
        let report = sembla_models::quantize(&fixture(name).to_string_lossy(), &target);
        let report = report.expect(name);
        assert!(report.bytes_after < report.bytes_before, "{report:?}");
        let model = Model::load(&ModelSpec::new(target.to_string_lossy())).expect(name);
        assert_eq!(model.info().precision, Precision::Q8);
        let (files, want) = images(name);
        for (got, want) in embed_images(&model, &files).iter().zip(&want) {
            assert!(cosine(got, want) > 0.995, "{name}: {}", cosine(got, want));
        }
    }
}
