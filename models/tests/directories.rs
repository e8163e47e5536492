//! A model directory is untrusted input: whatever is wrong with it gives one line that names the
//! file, before any text.

use std::path::{Path, PathBuf};

use sembla_models::{Fault, Model, ModelSpec};
use tempfile::TempDir;

/// A copy of a small good model.
fn copy(name: &str) -> (TempDir, PathBuf) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let folder = tempfile::tempdir().expect("folder");
    let target = folder.path().join(name);
    copy_folder(&source, &target);
    (folder, target)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder");
    for entry in std::fs::read_dir(from).expect("read").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// The one line that loading gives.
fn refusal(path: &Path, options: &[(&str, &str)]) -> String {
    let mut spec = ModelSpec::new(path.to_string_lossy());
    for (key, value) in options {
        spec.set(key, value).expect("option");
    }
    let error = Model::load(&spec).expect_err("refused");
    assert_ne!(error.fault(), Fault::Bug, "{error}");
    let line = error.to_string();
    assert!(!line.contains('\n'), "one line: {line}");
    line
}

fn assert_names(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "'{line}' does not say '{part}'");
    }
}

#[test]
fn missing_files_are_named() {
    let (_keep, model) = copy("bert");
    std::fs::remove_file(model.join("tokenizer.json")).expect("remove");
    assert_names(&refusal(&model, &[]), &["tokenizer.json"]);
    let (_keep, model) = copy("bert");
    std::fs::remove_file(model.join("model.safetensors")).expect("remove");
    assert_names(&refusal(&model, &[]), &["model.safetensors", "onnx"]);
    std::fs::write(model.join("pytorch_model.bin"), "pickle").expect("write");
    assert_names(&refusal(&model, &[]), &["pytorch_model.bin", "convert"]);
    let (_keep, model) = copy("bert");
    std::fs::remove_file(model.join("config.json")).expect("remove");
    assert_names(&refusal(&model, &[]), &["config.json"]);
    assert_names(&refusal(Path::new("/no/such/model"), &[]), &["/no/such/model", "no such"]);
}

#[test]
fn torn_files_are_named_at_every_length() {
    for name in ["config.json", "modules.json", "1_Pooling/config.json", "tokenizer.json"] {
        let (_keep, model) = copy("st-new");
        let path = model.join(name);
        let whole = std::fs::read(&path).expect("read");
        let step = (whole.len() / 40).max(1);
        for length in (0..whole.len() - 2).step_by(step) {
            std::fs::write(&path, &whole[..length]).expect("write");
            refusal(&model, &[]);
        }
    }
}

#[test]
fn torn_weights_are_named_at_every_length() {
    let (_keep, model) = copy("bert");
    let path = model.join("model.safetensors");
    let whole = std::fs::read(&path).expect("read");
    for length in (0..whole.len()).step_by(whole.len() / 50) {
        std::fs::write(&path, &whole[..length]).expect("write");
        assert_names(&refusal(&model, &[]), &["model.safetensors"]);
    }
}

#[test]
fn modules_may_not_lead_out_of_the_directory() {
    for outside in ["../elsewhere", "/etc", "1_Pooling/../../x"] {
        let (_keep, model) = copy("st-new");
        let path = model.join("modules.json");
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, text.replace("1_Pooling", outside)).expect("write");
        assert_names(&refusal(&model, &[]), &["modules.json", "outside"]);
    }
}

#[test]
fn what_sembla_does_not_have_is_named() {
    let cases = [
        ("modules.json", "Normalize", "LayerNorm", "LayerNorm"),
        ("2_Dense/config.json", "Tanh", "Snake", "Snake"),
        ("config.json", "\"model_type\": \"distilbert\"", "\"model_type\": \"llama\"", "llama"),
        ("config.json", "\"gelu\"", "\"swoosh\"", "swoosh"),
    ];
    for (file, old, new, named) in cases {
        let (_keep, model) = copy("st-new");
        let path = model.join(file);
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.contains(old), "{file} has no {old}");
        std::fs::write(&path, text.replace(old, new)).expect("write");
        assert_names(&refusal(&model, &[]), &[named]);
    }
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let (_keep, model) = copy("bert");
    let path = model.join("config.json");
    let text = std::fs::read_to_string(&path).expect("read");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("json");
    for (key, value) in [
        ("hidden_size", 4_000_000_000u64),
        ("hidden_size", 48),
        ("vocab_size", 3),
        ("num_hidden_layers", 1_000_000),
        ("num_attention_heads", 5),
        ("num_attention_heads", 0),
        ("max_position_embeddings", 0),
        ("intermediate_size", 7),
    ] {
        let good = config[key].clone();
        config[key] = value.into();
        std::fs::write(&path, config.to_string()).expect("write");
        refusal(&model, &[]);
        config[key] = good;
    }
}

#[test]
fn options_that_can_not_be_had_are_named() {
    let (_keep, model) = copy("bert");
    assert_names(&refusal(&model, &[("max_length", "100000")]), &["max_length", "100000"]);
    assert_names(&refusal(&model, &[("truncate_dim", "1000")]), &["truncate_dim", "1000"]);
    assert_names(&refusal(&model, &[("precision", "f16")]), &["f16"]);
    assert_names(&refusal(&model, &[("device", "cuda:7")]), &["cuda:7"]);
}

#[test]
fn a_cache_that_can_not_be_used_is_named() {
    let (keep, model) = copy("bert");
    let file = keep.path().join("file");
    std::fs::write(&file, "not a folder").expect("write");
    assert_names(&refusal(&model, &[("cache", &file.to_string_lossy())]), &["cache"]);
}
