//! `tokenizer.json` as data: which tokens it has, and the same file with fewer of them.
//!
//! Which tokens stay is left to others, as is running it.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::{ModelError, Result};

/// The largest tokenizer that is read.
const BYTES_MAX: u64 = 256 << 20;

/// A tokenizer's file.
#[derive(Clone, Debug)]
pub(super) struct TokenizerFile {
    path: PathBuf,
    /// What it says.
    pub(super) json: Value,
}

impl TokenizerFile {
    /// Reads it.
    ///
    /// # Errors
    /// Those of the disk, and [`ModelError::BadModelFile`] for what is no JSON or too large.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bad = |problem: &str| ModelError::file(path, problem);
        let size = fs::metadata(path).map_err(|error| ModelError::io(path, error))?.len();
        if size > BYTES_MAX {
            return Err(bad("is too large for a tokenizer"));
        }
        let bytes = fs::read(path).map_err(|error| ModelError::io(path, error))?;
        let json = serde_json::from_slice(&bytes)
            .map_err(|error| bad(&format!("is not JSON: {error}")))?;
        Ok(Self { path: path.to_path_buf(), json })
    }

    /// Its algorithm, such as `WordPiece`; older files don't say it.
    pub(super) fn algorithm(&self) -> &str {
        let model = &self.json["model"];
        match model["type"].as_str() {
            Some(named) => named,
            None if model["vocab"].is_array() => "Unigram",
            None if model.get("merges").is_some() => "BPE",
            None => "WordPiece",
        }
    }

    /// The tokens of its vocabulary with their ids, ascending.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] where there is none that can be read.
    pub(super) fn tokens(&self) -> Result<Vec<(u32, String)>> {
        let read = || {
            let mut tokens: BTreeMap<u32, String> = BTreeMap::new();
            match &self.json["model"]["vocab"] {
                Value::Object(vocabulary) => {
                    for (token, id) in vocabulary {
                        tokens.insert(u32::try_from(id.as_u64()?).ok()?, token.clone());
                    }
                }
                Value::Array(vocabulary) => {
                    for (id, entry) in vocabulary.iter().enumerate() {
                        tokens.insert(u32::try_from(id).ok()?, entry[0].as_str()?.to_string());
                    }
                }
                _ => return None,
            }
            Some(tokens.into_iter().collect())
        };
        read().ok_or_else(|| ModelError::file(&self.path, "has no vocabulary that can be read"))
    }

    /// The tokens that are recognised in a text before it is cut, such as `[MASK]`.
    pub(super) fn added(&self) -> HashSet<String> {
        let tokens = self.json["added_tokens"].as_array().into_iter().flatten();
        tokens.filter_map(|token| token["content"].as_str()).map(str::to_string).collect()
    }

    /// The ids of those tokens, by name, whether the vocabulary has them or not.
    pub(super) fn added_ids(&self) -> BTreeMap<String, u32> {
        let tokens = self.json["added_tokens"].as_array().into_iter().flatten();
        let of = |token: &Value| {
            let id = u32::try_from(token["id"].as_u64()?).ok()?;
            Some((token["content"].as_str()?.to_string(), id))
        };
        tokens.filter_map(of).collect()
    }

    /// The token for what is not in the vocabulary.
    pub(super) fn unknown(&self) -> Option<String> {
        let model = &self.json["model"];
        let by_id = || {
            let id = usize::try_from(model["unk_id"].as_u64()?).ok()?;
            Some(model["vocab"].get(id)?[0].as_str()?.to_string())
        };
        model["unk_token"].as_str().map(str::to_string).or_else(by_id)
    }

    /// Of each token of a byte-pair encoding, the two that it is merged from first.
    pub(super) fn halves(&self) -> BTreeMap<String, (String, String)> {
        let mut found = BTreeMap::new();
        let merges = self.json["model"]["merges"].as_array().into_iter().flatten();
        for (first, second) in merges.filter_map(halves_of) {
            let both = (first.to_string(), second.to_string());
            found.entry(format!("{first}{second}")).or_insert(both);
        }
        found
    }

    /// Leaves only these tokens, which have their places as new ids: in the vocabulary, the merges,
    /// the added tokens, and what is put around a text.
    pub(super) fn retain(&mut self, kept: &[(u32, String)]) {
        let unknown = self.unknown();
        let new_ids: BTreeMap<&str, usize> =
            kept.iter().enumerate().map(|(new, (_, token))| (token.as_str(), new)).collect();
        let model = &mut self.json["model"];
        match &mut model["vocab"] {
            Value::Object(vocabulary) => {
                let of = |(token, id): (&&str, &usize)| ((*token).to_string(), json!(id));
                *vocabulary = new_ids.iter().map(of).collect::<Map<_, _>>();
            }
            Value::Array(vocabulary) => {
                let is_kept =
                    |entry: &Value| entry[0].as_str().is_some_and(|t| new_ids.contains_key(t));
                vocabulary.retain(is_kept);
            }
            _ => {}
        }
        if model.get("unk_id").is_some_and(Value::is_u64) {
            model["unk_id"] = json!(unknown.and_then(|token| new_ids.get(token.as_str())));
        }
        if let Some(merges) = model.get_mut("merges").and_then(Value::as_array_mut) {
            merges.retain(|merge| {
                halves_of(merge).is_some_and(|(a, b)| {
                    new_ids.contains_key(a)
                        && new_ids.contains_key(b)
                        && new_ids.contains_key(format!("{a}{b}").as_str())
                })
            });
        }
        if let Some(added) = self.json["added_tokens"].as_array_mut() {
            let is_kept =
                |token: &Value| token["content"].as_str().is_some_and(|t| new_ids.contains_key(t));
            added.retain(is_kept);
            for token in added {
                if let Some(id) = token["content"].as_str().and_then(|t| new_ids.get(t)) {
                    token["id"] = json!(id);
                }
            }
        }
        renumber(&mut self.json["post_processor"], &new_ids);
        let padding = &mut self.json["padding"];
        if let Some(id) = padding["pad_token"].as_str().and_then(|token| new_ids.get(token)) {
            padding["pad_id"] = json!(id);
        }
    }
}

/// The two sides of a merge, which older files write as one text.
fn halves_of(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(text) => text.split_once(' '),
        pair => pair[0].as_str().zip(pair[1].as_str()),
    }
}

/// Gives the tokens that are put around a text their new ids.
fn renumber(processor: &mut Value, new_ids: &BTreeMap<&str, usize>) {
    for side in ["sep", "cls"] {
        if let Some(id) = processor[side][0].as_str().and_then(|token| new_ids.get(token)) {
            processor[side][1] = json!(id);
        }
    }
    let special = processor.get_mut("special_tokens").and_then(Value::as_object_mut);
    for entry in special.into_iter().flat_map(|tokens| tokens.values_mut()) {
        let tokens = entry["tokens"].as_array().into_iter().flatten();
        let ids: Option<Vec<usize>> =
            tokens.map(|token| new_ids.get(token.as_str()?).copied()).collect();
        if let Some(ids) = ids {
            entry["ids"] = json!(ids);
        }
    }
    let parts = processor.get_mut("processors").and_then(Value::as_array_mut);
    parts.into_iter().flatten().for_each(|part| renumber(part, new_ids));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: Value) -> TokenizerFile {
        TokenizerFile { path: PathBuf::from("tokenizer.json"), json }
    }

    #[test]
    fn what_goes_is_gone_everywhere() {
        let mut tokenizer = file(json!({
            "model": {
                "type": "BPE",
                "unk_token": "<unk>",
                "vocab": {"<s>": 0, "<unk>": 1, "a": 2, "b": 3, "ab": 4},
                "merges": [["a", "b"], "a <s>"],
            },
            "added_tokens": [{"id": 0, "content": "<s>"}, {"id": 1, "content": "<unk>"}],
        }));
        assert_eq!(tokenizer.unknown().as_deref(), Some("<unk>"));
        assert_eq!(tokenizer.halves()["ab"], ("a".to_string(), "b".to_string()));
        let kept = tokenizer.tokens().expect("tokens").split_off(1);
        tokenizer.retain(&kept);
        let json = &tokenizer.json;
        assert_eq!(json["model"]["vocab"], json!({"<unk>": 0, "a": 1, "ab": 3, "b": 2}));
        assert_eq!(json["model"]["merges"], json!([["a", "b"]]));
        assert_eq!(json["added_tokens"], json!([{"id": 0, "content": "<unk>"}]));
        let mut unigram = file(json!({
            "model": {"type": "Unigram", "unk_id": 2, "vocab": [["<s>", 0.0], ["a", -1.0], ["<unk>", 0.0]]},
        }));
        let kept = unigram.tokens().expect("tokens").split_off(1);
        assert_eq!(unigram.unknown().as_deref(), Some("<unk>"));
        unigram.retain(&kept);
        assert_eq!(unigram.json["model"]["vocab"], json!([["a", -1.0], ["<unk>", 0.0]]));
        assert_eq!(unigram.json["model"]["unk_id"], 1);
    }

    #[test]
    fn what_stands_around_a_text_gets_its_new_number() {
        let mut tokenizer = file(json!({
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"x": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3}},
            "added_tokens": [],
            "padding": {"pad_id": 2, "pad_token": "[SEP]"},
            "post_processor": {"type": "Sequence", "processors": [
                {"type": "TemplateProcessing", "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}}},
                {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
            ]},
        }));
        let kept = tokenizer.tokens().expect("tokens").split_off(1);
        tokenizer.retain(&kept);
        let processors = &tokenizer.json["post_processor"]["processors"];
        assert_eq!(processors[0]["special_tokens"]["[CLS]"]["ids"], json!([0]));
        assert_eq!(processors[1]["sep"], json!(["[SEP]", 1]));
        assert_eq!(processors[1]["cls"], json!(["[CLS]", 0]));
        assert_eq!(tokenizer.json["padding"]["pad_id"], 1);
    }
}
