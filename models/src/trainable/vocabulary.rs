//! A static model made of a transformer's tokens: which tokens it has, and its directory.
//!
//! The directory has the form of model2vec, which Sentence-Transformers loads too. What the vectors
//! of the tokens are is left to the caller, and what a tokenizer's file says of a token to
//! `tokenizer`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::tokenizer::TokenizerFile;
use super::{Body, Trainable, replace};
use crate::directory::{floats, sibling, write_tensors};
use crate::{CancelToken, ModelError, Result};

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
        let mut tokenizer = TokenizerFile::read(&self.layout.tokenizer)?;
        let unknown = tokenizer.unknown();
        let spared = [unknown.as_deref(), self.layout.padding_token.as_deref()];
        let added = tokenizer.added();
        let stays = |token: &str| {
            spared.contains(&Some(token)) || !(added.contains(token) || is_unused(token))
        };
        let kept: Vec<(u32, String)> =
            tokenizer.tokens()?.into_iter().filter(|(_, token)| stays(token)).collect();
        if kept.is_empty() {
            let path = &self.layout.tokenizer;
            return Err(ModelError::file(path, "has no token that stands for text"));
        }
        let ids = kept.iter().map(|(id, _)| *id).collect();
        tokenizer.retain(&kept);
        let mut tokenizer = tokenizer.json;
        takes_text_alone(&mut tokenizer);
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

/// Puts nothing around a text, and leaves its length to the caller.
fn takes_text_alone(tokenizer: &mut Value) {
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
    fn nothing_stands_around_a_text() {
        let mut tokenizer = json!({
            "post_processor": {"type": "TemplateProcessing"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": false}]},
        });
        takes_text_alone(&mut tokenizer);
        assert_eq!(tokenizer["post_processor"], Value::Null);
        assert_eq!(tokenizer["pre_tokenizer"]["pretokenizers"][0]["add_prefix_space"], json!(true));
    }
}
