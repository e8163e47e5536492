//! The configurations of the modules after the transformer: pooling and dense layers.

use std::path::Path;

use serde_json::Value;

use super::{flag, json_file, whole};
use crate::pool::{Dense, PoolingMode, TorchActivation};
use crate::weights::Weights;
use crate::{ModelError, Result};

/// Pooling modes in the order in which Sentence-Transformers concatenates them.
pub(super) fn pooling_modes(config: &Value, path: &Path) -> Result<Vec<PoolingMode>> {
    let named: Vec<&str> = match config.get("pooling_mode") {
        Some(Value::String(name)) => name.split(['+', ',']).map(str::trim).collect(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if named.is_empty() {
        let found: Vec<_> = PoolingMode::ALL
            .iter()
            .filter(|(_, key, _)| flag(config, key))
            .map(|(_, _, mode)| *mode)
            .collect();
        return if found.is_empty() {
            Err(ModelError::file(path, "names no pooling mode"))
        } else {
            Ok(found)
        };
    }
    let unsupported = |name: &str| {
        ModelError::file(path, format!("names the pooling mode '{name}', which is not supported"))
    };
    named.into_iter().map(|name| PoolingMode::named(name).map_err(|_| unsupported(name))).collect()
}

/// A dense layer's folder.
pub(super) fn dense(root: &Path, folder: &Path) -> Result<Dense> {
    let path = folder.join("config.json");
    let config = json_file(&path)?.ok_or_else(|| ModelError::file(&path, "is missing"))?;
    let size = |key: &str| {
        whole(&config, key)
            .filter(|n| *n <= 1 << 20)
            .ok_or_else(|| ModelError::file(&path, format!("has no usable '{key}'")))
    };
    let (inputs, outputs) = (size("in_features")?, size("out_features")?);
    let name = config.get("activation_function").and_then(Value::as_str);
    let name = name.unwrap_or("torch.nn.modules.activation.Tanh");
    let activation = TorchActivation::from_torch(name).ok_or_else(|| {
        ModelError::file(&path, format!("names the activation '{name}', which is not supported"))
    })?;
    let weights = Weights::open(folder)?;
    let weight = weights.floats("linear.weight", &[outputs, inputs])?;
    let has_bias = config.get("bias").and_then(Value::as_bool).unwrap_or(true);
    let bias = if has_bias { weights.floats("linear.bias", &[outputs])? } else { Vec::new() };
    let folder = folder.strip_prefix(root).unwrap_or(folder).to_path_buf();
    Ok(Dense { folder, weight, bias, inputs, outputs, activation })
}
