//! A static model made of a transformer's tokens: which tokens it has, and its directory.
//!
//! The directory has the form of model2vec, which Sentence-Transformers loads too. What the vectors
//! of the tokens are is left to the caller.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Body, Trainable, replace};
use crate::directory::{floats, sibling, write_tensors};
use crate::{CancelToken, ModelError, Result};

/// The largest tokenizer that is read.
const TOKENIZER_BYTES_MAX: u64 = 256 << 20;

/// The tokens of a static model.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// `tokenizer.json` of the static model.
    tokenizer: Value,
    /// The id of each token in the transformer's vocabulary, in the order of the new ids.
    pub ids: Vec<u32>,
    /// What the transformer puts before a text.
    pub before: Vec<u32>,
    /// What it puts after a text.
    pub after: Vec<u32>,
}

/// How a static model came about, for its `config.json`.
#[derive(Clone, Copy, Debug)]
pub struct StaticFacts {
    /// Components of a vector.
    pub width: usize,
    /// The coefficient of the weights of tokens.
    pub sif_coefficient: f64,
}

impl Trainable {
    /// The tokens that a static model of this transformer has: all but those that stand for no
    /// text (`[CLS]`, `<mask>`, `[unused7]`), numbered anew.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a model without a transformer, and
    /// [`ModelError::BadModelFile`] for a tokenizer whose vocabulary can't be read.
    pub fn vocabulary(&self, cancel: &CancelToken) -> Result<Vocabulary> {
        if matches!(self.body, Body::Table { .. }) {
            return Err(ModelError::Unsupported(format!(
                "model '{}' is static already",
                self.name
            )));
        }
        let path = &self.layout.tokenizer;
        let bad = |problem: &str| ModelError::file(path, problem);
        let size = fs::metadata(path).map_err(|error| ModelError::io(path, error))?.len();
        if size > TOKENIZER_BYTES_MAX {
            return Err(bad("is too large for a tokenizer"));
        }
        let bytes = fs::read(path).map_err(|error| ModelError::io(path, error))?;
        let mut tokenizer: Value = serde_json::from_slice(&bytes)
            .map_err(|error| bad(&format!("is not JSON: {error}")))?;
        let tokens = tokens(&tokenizer).ok_or_else(|| bad("has no vocabulary that can be read"))?;
        let unknown = unknown(&tokenizer);
        let spared = [unknown.as_deref(), self.layout.padding_token.as_deref()];
        let added: HashSet<&str> = tokenizer["added_tokens"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|token| token["content"].as_str())
            .collect();
        let stays = |token: &str| {
            spared.contains(&Some(token)) || !(added.contains(token) || is_unused(token))
        };
        let kept: Vec<(u32, String)> =
            tokens.into_iter().filter(|(_, token)| stays(token)).collect();
        if kept.is_empty() {
            return Err(bad("has no token that stands for text"));
        }
        let ids = kept.iter().map(|(id, _)| *id).collect();
        rewrite(&mut tokenizer, &kept, unknown.as_deref());
        let (before, after) = self.around(cancel)?;
        Ok(Vocabulary { tokenizer, ids, before, after })
    }

    /// What the tokenizer puts before and after each text.
    fn around(&self, cancel: &CancelToken) -> Result<(Vec<u32>, Vec<u32>)> {
        let ids = self.texts(&["", "a"], "", cancel)?;
        let (around, one) = (&ids[0].ids, &ids[1].ids);
        let shared = around.iter().zip(one).take_while(|(a, b)| a == b).count();
        Ok((around[..shared].to_vec(), around[shared..].to_vec()))
    }

    /// Writes the directory `target` of a static model with these tokens and a vector for each.
    ///
    /// # Errors
    /// Those of the disk; then `target` is as it was.
    pub fn save_static(
        &self,
        target: &Path,
        vocabulary: &Vocabulary,
        vectors: &[f32],
        facts: StaticFacts,
    ) -> Result<()> {
        let work = sibling(target);
        let outcome = self
            .write_static(&work, vocabulary, vectors, facts)
            .and_then(|()| replace(&work, target));
        if outcome.is_err() {
            let _ = fs::remove_dir_all(&work);
        }
        outcome
    }

    fn write_static(
        &self,
        work: &Path,
        vocabulary: &Vocabulary,
        vectors: &[f32],
        facts: StaticFacts,
    ) -> Result<()> {
        fs::create_dir_all(work).map_err(|error| ModelError::io(work, error))?;
        let write = |name: &str, text: String| {
            let path = work.join(name);
            fs::write(&path, text).map_err(|error| ModelError::io(path, error))
        };
        let config = json!({
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "tokenizer_name": self.name,
            "apply_pca": facts.width,
            "sif_coefficient": facts.sif_coefficient,
            "hidden_dim": facts.width,
            // Texts of any length are a mean.
            "seq_length": 1_000_000,
            "normalize": true,
            "pooling": "mean",
            "embedding_dtype": "float32",
        });
        let module = |number: usize, path: &str, class: &str| {
            json!({
                "idx": number,
                "name": number.to_string(),
                "path": path,
                "type": format!("sentence_transformers.models.{class}"),
            })
        };
        let modules =
            json!([module(0, ".", "StaticEmbedding"), module(1, "1_Normalize", "Normalize")]);
        write("config.json", format!("{config:#}\n"))?;
        write("modules.json", format!("{modules:#}\n"))?;
        write("tokenizer.json", vocabulary.tokenizer.to_string())?;
        let rows = vocabulary.ids.len();
        let table = floats(vectors, vec![rows, facts.width]);
        write_tensors(&work.join("model.safetensors"), &[("embeddings".to_string(), table)])
    }
}

/// Whether a token is a place that the makers of a vocabulary left free.
fn is_unused(token: &str) -> bool {
    let number = token.strip_prefix("[unused").and_then(|rest| rest.split(']').next());
    number.is_some_and(|n| {
        !n.is_empty()
            && n.bytes().all(|byte| byte.is_ascii_digit())
            && token.as_bytes().get(7 + n.len()) == Some(&b']')
    })
}

/// The tokens of a vocabulary with their ids, ascending.
fn tokens(tokenizer: &Value) -> Option<Vec<(u32, String)>> {
    let mut tokens: BTreeMap<u32, String> = BTreeMap::new();
    match &tokenizer["model"]["vocab"] {
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
}

/// The token for what is not in the vocabulary.
fn unknown(tokenizer: &Value) -> Option<String> {
    let model = &tokenizer["model"];
    let by_id = || {
        let id = usize::try_from(model["unk_id"].as_u64()?).ok()?;
        Some(model["vocab"].get(id)?[0].as_str()?.to_string())
    };
    model["unk_token"].as_str().map(str::to_string).or_else(by_id)
}

/// Leaves only the tokens that are kept, with new ids, and nothing around a text.
fn rewrite(tokenizer: &mut Value, kept: &[(u32, String)], unknown: Option<&str>) {
    let new_ids: BTreeMap<&str, usize> =
        kept.iter().enumerate().map(|(new, (_, token))| (token.as_str(), new)).collect();
    let model = &mut tokenizer["model"];
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
        model["unk_id"] = json!(unknown.and_then(|token| new_ids.get(token)));
    }
    if let Some(merges) = model.get_mut("merges").and_then(Value::as_array_mut) {
        merges.retain(|merge| {
            let halves = match merge {
                Value::String(text) => text.split_once(' '),
                pair => pair[0].as_str().zip(pair[1].as_str()),
            };
            halves.is_some_and(|(a, b)| {
                new_ids.contains_key(a)
                    && new_ids.contains_key(b)
                    && new_ids.contains_key(format!("{a}{b}").as_str())
            })
        });
    }
    if let Some(added) = tokenizer["added_tokens"].as_array_mut() {
        added.retain(|token| token["content"].as_str().is_some_and(|t| new_ids.contains_key(t)));
        for token in added {
            if let Some(id) = token["content"].as_str().and_then(|t| new_ids.get(t)) {
                token["id"] = json!(id);
            }
        }
    }
    for part in ["post_processor", "truncation", "padding"] {
        tokenizer[part] = Value::Null;
    }
    add_prefix_space(&mut tokenizer["pre_tokenizer"]);
}

/// A first word is a word like any other: byte-level tokenizers see a space before it.
fn add_prefix_space(pre_tokenizer: &mut Value) {
    if pre_tokenizer["type"] == "ByteLevel" {
        pre_tokenizer["add_prefix_space"] = json!(true);
    }
    let parts = pre_tokenizer.get_mut("pretokenizers").and_then(Value::as_array_mut);
    parts.into_iter().flatten().for_each(add_prefix_space);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_places_are_known_by_their_name() {
        assert!(is_unused("[unused0]") && is_unused("[unused993]") && is_unused("[unused1]x"));
        assert!(!is_unused("[unused]") && !is_unused("unused1") && !is_unused("[unused1"));
    }

    #[test]
    fn what_goes_is_gone_everywhere() {
        let mut tokenizer = json!({
            "model": {
                "type": "BPE",
                "unk_token": "<unk>",
                "vocab": {"<s>": 0, "<unk>": 1, "a": 2, "b": 3, "ab": 4},
                "merges": [["a", "b"], "a <s>"],
            },
            "added_tokens": [{"id": 0, "content": "<s>"}, {"id": 1, "content": "<unk>"}],
            "post_processor": {"type": "TemplateProcessing"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": false}]},
        });
        assert_eq!(unknown(&tokenizer).as_deref(), Some("<unk>"));
        let kept: Vec<_> = tokens(&tokenizer).expect("tokens").split_off(1);
        rewrite(&mut tokenizer, &kept, Some("<unk>"));
        assert_eq!(tokenizer["model"]["vocab"], json!({"<unk>": 0, "a": 1, "ab": 3, "b": 2}));
        assert_eq!(tokenizer["model"]["merges"], json!([["a", "b"]]));
        assert_eq!(tokenizer["added_tokens"], json!([{"id": 0, "content": "<unk>"}]));
        assert_eq!(tokenizer["post_processor"], Value::Null);
        assert_eq!(tokenizer["pre_tokenizer"]["pretokenizers"][0]["add_prefix_space"], json!(true));
        let mut unigram = json!({
            "model": {"type": "Unigram", "unk_id": 2, "vocab": [["<s>", 0.0], ["a", -1.0], ["<unk>", 0.0]]},
        });
        let kept: Vec<_> = tokens(&unigram).expect("tokens").split_off(1);
        assert_eq!(unknown(&unigram).as_deref(), Some("<unk>"));
        rewrite(&mut unigram, &kept, Some("<unk>"));
        assert_eq!(unigram["model"]["vocab"], json!([["a", -1.0], ["<unk>", 0.0]]));
        assert_eq!(unigram["model"]["unk_id"], 1);
    }
}
