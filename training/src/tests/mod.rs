//! Gradients and losses, compared with finite differences and with what PyTorch and
//! Sentence-Transformers computed (scripts/make-training-fixtures.py).

mod gradients;
mod losses;
mod runs;
mod students;

use std::path::{Path, PathBuf};

use sembla_models::ModelSpec;
use serde_json::Value;

use crate::Network;

/// A tiny random model.
pub(crate) fn model_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/fixtures").join(name)
}

pub(crate) fn open(name: &str) -> Network {
    let folder = model_folder(name).display().to_string();
    Network::open(&ModelSpec::new(folder)).expect("a model that can be trained")
}

/// What the Python libraries said.
pub(crate) fn expected(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let text = std::fs::read_to_string(path).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn floats(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        number => vec![number.as_f64().expect("a number") as f32],
    }
}

pub(crate) fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect()
}
