//! Models that load and would do harm: what a tokenizer or weights can be made to do to the process
//! is an error of that model.

use std::path::{Path, PathBuf};

use sembla_models::{CancelToken, Fault, Model, ModelSpec, Prompt};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A copy of a small good model.
fn copy(name: &str) -> (TempDir, PathBuf) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let folder = tempfile::tempdir().expect("folder");
    let target = folder.path().join(name);
    std::fs::create_dir_all(&target).expect("folder");
    for entry in std::fs::read_dir(source).expect("read").flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), target.join(entry.file_name())).expect("copy");
        }
    }
    (folder, target)
}

/// Changes a JSON file of a model.
fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string(path).expect("read");
    let mut value: Value = serde_json::from_str(&text).expect("json");
    change(&mut value);
    std::fs::write(path, value.to_string()).expect("write");
}

fn embed(path: &Path, text: &str) -> Result<Vec<f32>, sembla_models::ModelError> {
    let model = Model::load(&ModelSpec::new(path.to_string_lossy()))?;
    Ok(model.embed(&[text], Prompt::Default, &CancelToken::new())?.values)
}

#[test]
fn a_padding_of_the_tokenizer_is_not_taken() {
    let (_keep, model) = copy("bert");
    let plain = embed(&model, "a text").expect("embedded");
    change(&model.join("tokenizer.json"), |tokenizer| {
        tokenizer["padding"] = json!({
            "strategy": { "Fixed": 1_u64 << 40 }, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
        });
    });
    assert_eq!(embed(&model, "a text").expect("embedded"), plain);
}

#[test]
fn a_regular_expression_that_gives_up_is_an_error_of_the_model() {
    let (_keep, model) = copy("bert");
    change(&model.join("tokenizer.json"), |tokenizer| {
        tokenizer["pre_tokenizer"] = json!({
            "type": "Split", "pattern": { "Regex": "(a+)+$" }, "behavior": "Isolated", "invert": false
        });
    });
    assert!(embed(&model, "a text").is_ok());
    let error =
        embed(&model, &format!("{}!", "a".repeat(40))).expect_err("it gives up").to_string();
    assert!(error.starts_with("model 'bert': tokenizer: it failed on a text: "), "{error}");
}

#[test]
fn weights_that_are_no_numbers_are_told() {
    let (_keep, model) = copy("bert");
    let path = model.join("model.safetensors");
    let mut bytes = std::fs::read(&path).expect("read");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    bytes[8 + header..].fill(0xff);
    std::fs::write(&path, bytes).expect("write");
    let error = embed(&model, "a text").expect_err("no numbers");
    assert_eq!(error.fault(), Fault::User);
    assert!(error.to_string().contains("weights are damaged"), "{error}");
}

#[test]
fn a_model_with_several_vectors_for_a_text_is_refused() {
    let (_keep, model) = copy("bert");
    change(&model.join("config.json"), |config| config["architectures"] = json!(["HF_ColBERT"]));
    let error = embed(&model, "a text").expect_err("refused").to_string();
    assert!(error.contains("holds a multi-vector model (late interaction, ColBERT)"), "{error}");
    assert!(error.contains("HF_ColBERT"), "{error}");
}
