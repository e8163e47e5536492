//! Models with a vector for each token (late interaction, ColBERT): told from those with one vector
//! for a text, so that they are rejected and not taken for what they are not.
//!
//! They are saved in several ways, and each leaves marks: PyLate and Sentence-Transformers name
//! their similarity, ColBERT names its architecture and keeps a file of its own, and all have a
//! projection of each token's vector. A plain directory that only its name gives away is believed.

use std::path::Path;

use serde_json::Value;

use super::class_of;
use crate::weights::Weights;
use crate::{ModelError, Result};

/// Keys that only configurations of such models have.
const OWN_KEYS: &[&str] =
    &["query_length", "document_length", "attend_to_expansion_tokens", "skiplist_words"];

/// A file that ColBERT's own training saves.
const ARTIFACT: &str = "artifact.metadata";

/// The projection of ColBERT's checkpoints.
const PROJECTION: &str = "linear.weight";

/// Rejects a directory whose model has several vectors for a text.
///
/// # Errors
/// [`ModelError::BadModelFile`] that says what gives it away.
pub(super) fn refuse(
    root: &Path,
    folder: &Path,
    modules: Option<&Value>,
    config: &Value,
    settings: &Value,
) -> Result<()> {
    let Some(mark) = mark(root, folder, modules, config, settings) else { return Ok(()) };
    Err(ModelError::file(
        root,
        format!(
            "holds a multi-vector model (late interaction, ColBERT): {mark}. Sembla runs models with one vector per text; \
             choose one of those, such as a sentence-transformers model"
        ),
    ))
}

/// What gives such a model away.
fn mark(
    root: &Path,
    folder: &Path,
    modules: Option<&Value>,
    config: &Value,
    settings: &Value,
) -> Option<String> {
    let is_colbert = |text: &str| text.to_lowercase().contains("colbert");
    let word = |key: &str| settings.get(key).and_then(Value::as_str);
    if let Some(name) =
        word("similarity_fn_name").filter(|name| name.eq_ignore_ascii_case("maxsim"))
    {
        return Some(format!("its similarity is {name}"));
    }
    if let Some(name) =
        word("model_type").filter(|name| is_colbert(name) || name.contains("MultiVector"))
    {
        return Some(format!("its model type is {name}"));
    }
    if let Some(key) = OWN_KEYS.iter().find(|key| settings.get(**key).is_some()) {
        return Some(format!("its settings have {key}"));
    }
    let architectures = config.get("architectures").and_then(Value::as_array);
    let mut names = architectures.into_iter().flatten().filter_map(Value::as_str);
    if let Some(name) = names.find(|name| is_colbert(name)) {
        return Some(format!("its architecture is {name}"));
    }
    if root.join(ARTIFACT).is_file() {
        return Some(format!("it has the file {ARTIFACT}"));
    }
    match modules.and_then(Value::as_array) {
        Some(modules) => {
            let is_a = |class: &str| modules.iter().any(|module| class_of(module) == class);
            let of_pylate = modules.iter().any(|module| {
                module.get("type").and_then(Value::as_str).is_some_and(|t| t.starts_with("pylate."))
            });
            let unpooled = is_a("Transformer") && is_a("Dense") && !is_a("Pooling");
            (of_pylate || unpooled).then(|| "its modules project tokens and pool nothing".into())
        }
        None => plain_mark(root, folder, config, is_colbert),
    }
}

/// What gives a plain transformers directory away.
fn plain_mark(
    root: &Path,
    folder: &Path,
    config: &Value,
    is_colbert: impl Fn(&str) -> bool,
) -> Option<String> {
    let architecture = config.pointer("/architectures/0").and_then(Value::as_str);
    let is_encoder = architecture.is_none_or(|name| name.ends_with("Model"));
    if !is_encoder {
        return None;
    }
    if Weights::open(folder).is_ok_and(|weights| weights.contains(PROJECTION)) {
        return Some(format!("its weights have the projection {PROJECTION}"));
    }
    let name = root.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.filter(|name| is_colbert(name));
    name.map(|name| format!("its name is {name}, and it has no modules.json that says otherwise"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(root: &Path, modules: Option<Value>, config: Value, settings: Value) -> Option<String> {
        let refused = refuse(root, root, modules.as_ref(), &config, &settings);
        refused.err().map(|error| error.to_string())
    }

    #[test]
    fn each_way_of_saving_is_recognised() {
        let root = std::env::temp_dir();
        let bert = || json!({ "architectures": ["BertModel"] });
        let module =
            |class: &str| json!({ "type": format!("sentence_transformers.models.{class}") });
        let pooled = json!([module("Transformer"), module("Pooling"), module("Dense")]);
        assert_eq!(told(&root, Some(pooled), bert(), json!({})), None);
        assert_eq!(told(&root, None, bert(), json!({ "similarity_fn_name": "cosine" })), None);
        let unpooled = json!([module("Transformer"), module("Dense")]);
        let pylate = json!([module("Transformer"), { "type": "pylate.models.Dense.Dense" }]);
        for (modules, config, settings) in [
            (None, bert(), json!({ "similarity_fn_name": "MaxSim" })),
            (None, bert(), json!({ "query_length": 32 })),
            (None, bert(), json!({ "model_type": "MultiVectorEncoder" })),
            (None, json!({ "architectures": ["HF_ColBERT"] }), json!({})),
            (Some(unpooled), bert(), json!({})),
            (Some(pylate), bert(), json!({})),
        ] {
            let message = told(&root, modules, config, settings).expect("refused");
            assert!(
                message.contains("multi-vector model (late interaction, ColBERT)"),
                "{message}"
            );
        }
        let named = root.join("answerai-colbert-small-v1");
        assert!(told(&named, None, bert(), json!({})).is_some());
        let scores = json!({ "architectures": ["BertForSequenceClassification"] });
        assert_eq!(told(&named, None, scores, json!({})), None);
    }
}
