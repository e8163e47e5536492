//! A model that knows fewer tokens: which of them stay, and what its directory says of those.
//!
//! A table of words is most of many a model (four fifths of a small multilingual one), and texts of
//! one kind use few of its rows. How often a token occurs in such texts is left to the caller.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::tokenizer::TokenizerFile;
use super::{Body, FloatTensor, Trainable};
use crate::{ModelError, Result};

/// What a word that goes on is marked with, where a tokenizer doesn't say it.
const CONTINUES: &str = "##";

/// The tokens that a model keeps.
#[derive(Clone, Debug)]
pub(super) struct KeptTokens {
    /// Their ids before, in the order of their new ids.
    ids: Vec<u32>,
    /// `tokenizer.json` of the new model.
    tokenizer: Value,
}

impl KeptTokens {
    /// The rows of a table of words that stay.
    pub(super) fn rows_of(&self, table: FloatTensor) -> FloatTensor {
        let width = table.shape.last().copied().unwrap_or(1);
        let values = rows_of(&self.ids, &table.values, width);
        FloatTensor { shape: vec![self.ids.len(), width], values }
    }

    /// Writes what the new directory says of tokens; `config` is its `config.json`.
    pub(super) fn write(&self, work: &Path, config: &mut Map<String, Value>) -> Result<()> {
        let new_ids: BTreeMap<u64, usize> =
            self.ids.iter().enumerate().map(|(new, old)| (u64::from(*old), new)).collect();
        if config.contains_key("vocab_size") {
            config.insert("vocab_size".into(), json!(self.ids.len()));
        }
        for (key, value) in config.iter_mut() {
            let new = value.as_u64().and_then(|id| new_ids.get(&id));
            if let Some(new) = new.filter(|_| key.ends_with("_token_id")) {
                *value = json!(new);
            }
        }
        let path = work.join("tokenizer.json");
        fs::write(&path, self.tokenizer.to_string())
            .map_err(|error| ModelError::io(path, error))?;
        let path = work.join("tokenizer_config.json");
        let Ok(bytes) = fs::read(&path) else { return Ok(()) };
        let Ok(mut settings) = serde_json::from_slice::<Value>(&bytes) else { return Ok(()) };
        let named = settings.get_mut("added_tokens_decoder").and_then(Value::as_object_mut);
        let Some(named) = named else { return Ok(()) };
        let of = |(id, token): (&String, &Value)| {
            Some((new_ids.get(&id.parse().ok()?)?.to_string(), token.clone()))
        };
        *named = named.iter().filter_map(of).collect();
        fs::write(&path, format!("{settings:#}\n")).map_err(|error| ModelError::io(path, error))
    }
}

impl Trainable {
    /// Tokens of the vocabulary.
    pub fn token_count(&self) -> usize {
        match &self.body {
            Body::Transformer(anatomy) => anatomy.vocabulary,
            Body::Table { parts, .. } => parts.values.len() / parts.width.max(1),
        }
    }

    /// Keeps at most `most` tokens: those that stand for no text, those that any word can be spelt
    /// with, and then the most frequent ones. `counts` says by id how often a token occurs; what
    /// occurs equally often stays in the order of the ids. A text is cut into more tokens then,
    /// where it has others. Gives the number of tokens that are kept. What is written is the new
    /// model; the texts that this one reads stay cut as before.
    ///
    /// # Errors
    /// [`ModelError::BadOption`] when `most` has no room for what must stay, and
    /// [`ModelError::BadModelFile`] for a tokenizer whose vocabulary can't be read or isn't that of
    /// the weights.
    pub fn keep_tokens(&mut self, counts: &[u64], most: usize) -> Result<usize> {
        let path = self.layout.tokenizer.clone();
        let mut tokenizer = TokenizerFile::read(&path)?;
        let mut tokens = tokenizer.tokens()?;
        let known: BTreeSet<String> = tokens.iter().map(|(_, token)| token.clone()).collect();
        // Special tokens may follow a vocabulary that doesn't have them.
        for (token, id) in tokenizer.added_ids() {
            if !known.contains(&token) {
                tokens.push((id, token));
            }
        }
        tokens.sort_unstable();
        let rows = self.token_count();
        if tokens.last().is_none_or(|(id, _)| *id as usize >= rows) {
            return Err(ModelError::file(
                &path,
                format!("has other tokens than the {rows} that the weights are for"),
            ));
        }
        let must = self.must_stay(&tokenizer, &tokens);
        if must.len() > most {
            return Err(ModelError::BadOption(format!(
                "model '{}' can't keep {most} tokens: {} stand for no text or spell words that are not kept",
                self.name,
                must.len()
            )));
        }
        let kept = chosen(&tokenizer, &tokens, must, counts, most);
        let kept: Vec<(u32, String)> =
            tokens.into_iter().filter(|(id, _)| kept.contains(id)).collect();
        let ids: Vec<u32> = kept.iter().map(|(id, _)| *id).collect();
        tokenizer.retain(&kept);
        match &mut self.body {
            Body::Transformer(anatomy) => anatomy.vocabulary = ids.len(),
            Body::Table { parts, .. } => {
                let unknown = parts.unknown.and_then(|old| ids.iter().position(|id| *id == old));
                parts.unknown = unknown.and_then(|new| u32::try_from(new).ok());
                parts.values = rows_of(&ids, &parts.values, parts.width);
            }
        }
        let count = ids.len();
        self.changes.tokens = Some(KeptTokens { ids, tokenizer: tokenizer.json });
        Ok(count)
    }

    /// The tensor of that name in the directory, without the rows of tokens that go.
    pub(super) fn with_kept_tokens(&self, name: &str, tensor: FloatTensor) -> FloatTensor {
        match (&self.changes.tokens, &self.body) {
            (Some(kept), Body::Transformer(anatomy)) if anatomy.words == name => {
                kept.rows_of(tensor)
            }
            _ => tensor,
        }
    }

    /// The ids of what stands for no text, and of what any word can be spelt with.
    fn must_stay(&self, tokenizer: &TokenizerFile, tokens: &[(u32, String)]) -> BTreeSet<u32> {
        let added = tokenizer.added();
        let unknown = tokenizer.unknown();
        let spared = [unknown.as_deref(), self.layout.padding_token.as_deref()];
        // Positions are counted from the id of padding on, so it keeps its own.
        let below = match &self.body {
            Body::Transformer(anatomy) => anatomy.position_padding.map_or(0, |id| id + 1),
            Body::Table { .. } => 0,
        };
        // A piece of a unigram model that is missing makes one character unknown; in the others, a
        // whole word.
        let spells = tokenizer.algorithm() != "Unigram";
        let prefix = tokenizer.json["model"]["continuing_subword_prefix"].as_str();
        let prefix = prefix.unwrap_or(CONTINUES);
        let suffix = tokenizer.json["model"]["end_of_word_suffix"].as_str().unwrap_or_default();
        let is_letter = |token: &str| {
            let token = token.strip_suffix(suffix).filter(|rest| !rest.is_empty()).unwrap_or(token);
            let token = token.strip_prefix(prefix).filter(|rest| !rest.is_empty()).unwrap_or(token);
            token.chars().nth(1).is_none()
        };
        let is_byte = |token: &str| token.len() == 6 && token.starts_with("<0x");
        let stays = |(id, token): &&(u32, String)| {
            (*id as usize) < below
                || added.contains(token)
                || spared.contains(&Some(token.as_str()))
                || is_byte(token)
                || (spells && is_letter(token))
        };
        tokens.iter().filter(stays).map(|(id, _)| *id).collect()
    }
}

/// Some rows of a table, in this order.
fn rows_of(ids: &[u32], values: &[f32], width: usize) -> Vec<f32> {
    let row = |id: &u32| values.get(*id as usize * width..(*id as usize + 1) * width);
    ids.iter().filter_map(row).flatten().copied().collect()
}

/// Adds to `must` the most frequent tokens, each with all that it is merged from, while there is
/// room.
fn chosen(
    tokenizer: &TokenizerFile,
    tokens: &[(u32, String)],
    must: BTreeSet<u32>,
    counts: &[u64],
    most: usize,
) -> BTreeSet<u32> {
    let halves = tokenizer.halves();
    let ids: BTreeMap<&str, u32> = tokens.iter().map(|(id, token)| (token.as_str(), *id)).collect();
    let count = |id: u32| counts.get(id as usize).copied().unwrap_or(0);
    let mut by_count: Vec<&(u32, String)> = tokens.iter().collect();
    by_count.sort_by_key(|(id, _)| (std::cmp::Reverse(count(*id)), *id));
    let mut kept = must;
    for (id, token) in by_count {
        if kept.len() >= most {
            break;
        }
        let mut wanted = BTreeSet::from([*id]);
        let mut open = vec![token.as_str()];
        while let Some(token) = open.pop() {
            for half in halves.get(token).into_iter().flat_map(|(first, second)| [first, second]) {
                if ids.get(half.as_str()).is_some_and(|id| wanted.insert(*id)) {
                    open.push(half);
                }
            }
        }
        wanted.retain(|id| !kept.contains(id));
        if kept.len() + wanted.len() <= most {
            kept.extend(wanted);
        }
    }
    kept
}
