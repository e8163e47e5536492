//! The handle that SQL, the command line and streams share: one loaded model.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use crate::cache::VectorCache;
use crate::engine::{Engine, Output};
use crate::pool::{Activation, Head};
use crate::stats::{Counters, Work};
use crate::table::TokenTable;
use crate::tokenize::{Sequence, TextTokenizer};
use crate::workers;
use crate::{CancelToken, Device, ModelError, ModelSpec, Precision, Result};

/// Texts that are tokenised, run and cached together: long enough to fill every worker many times,
/// short enough that a killed job loses little.
const CHUNK_TEXTS: usize = 4096;

/// What a model does with text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// A transformer that turns a text into a vector.
    Encoder,
    /// A table of token vectors whose mean is the text's vector.
    Static,
    /// A transformer that scores a pair of texts.
    CrossEncoder,
}

/// How two vectors of a model are meant to be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Similarity {
    /// Cosine similarity.
    #[default]
    Cosine,
    /// Dot product.
    Dot,
    /// Negative euclidean distance.
    Euclidean,
    /// Negative manhattan distance.
    Manhattan,
}

/// Which of a model's prompts goes before the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prompt<'a> {
    /// The model's default prompt, if it has one.
    #[default]
    Default,
    /// The prompt that the model's configuration has under this name.
    Named(&'a str),
    /// What a search query gets: the prompt `query`, else none.
    Query,
    /// What a document gets: the first of `document`, `passage`, `corpus`, else none.
    Document,
    /// These words.
    Text(&'a str),
}

/// What is known of a loaded model.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    /// A short name for messages and metrics: the directory's name or the hub id.
    pub name: String,
    /// Where it was loaded from.
    pub path: std::path::PathBuf,
    /// What it does.
    pub kind: ModelKind,
    /// The architecture (`bert`, `mpnet`, `static`, `onnx`, …).
    pub architecture: String,
    /// Components of a vector; 0 for a cross-encoder.
    pub dimension: usize,
    /// Scores that a cross-encoder gives for a pair; 0 for others.
    pub labels: usize,
    /// Longest input in tokens, special tokens included; `None` is no limit.
    pub max_length: Option<usize>,
    /// How its vectors are compared.
    pub similarity: Similarity,
    /// The precision that runs.
    pub precision: Precision,
    /// The device that runs it.
    pub device: Device,
    /// The prompts that the model's configuration names.
    pub prompts: Vec<(String, String)>,
    /// The name of the prompt that is used when none is named.
    pub default_prompt: Option<String>,
    /// Hash of everything that decides its vectors: files, precision, max length, truncation.
    pub fingerprint: String,
    /// Number of parameters.
    pub parameters: u64,
}

/// Vectors of some texts, row after row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// Components per vector.
    pub dimension: usize,
    /// `rows × dimension` components.
    pub values: Vec<f32>,
}

/// Length of a text in a model's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCount {
    /// Tokens before truncation, special tokens included.
    pub tokens: usize,
    /// Whether the model sees only the beginning of the text.
    pub truncated: bool,
}

/// What a model has done since it was loaded. The same figures go to `metrics`, labelled with the
/// model's name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModelStats {
    /// Texts (or pairs) that were asked for, NULLs not counted.
    pub texts: u64,
    /// Tokens that went through the model, special tokens included; texts that came from the cache
    /// don't count.
    pub tokens: u64,
    /// Texts that were longer than the model's limit.
    pub truncated: u64,
    /// Texts whose vector came from the cache on disk.
    pub cache_hits: u64,
    /// Seconds spent in calls, waiting included.
    pub seconds: f64,
}

/// A loaded model. Cheap to clone; all clones share the sessions.
#[derive(Clone)]
pub struct Model(Arc<Loaded>);

/// The parts of a loaded model.
pub(crate) struct Loaded {
    pub(crate) info: ModelInfo,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) backend: Backend,
    pub(crate) head: Head,
    /// Whether the prompt's tokens take part in pooling.
    pub(crate) include_prompt: bool,
    /// What a cross-encoder's logits go through.
    pub(crate) activation: Activation,
    pub(crate) cache: Option<VectorCache>,
    pub(crate) counters: Counters,
}

/// What turns tokens into numbers.
pub(crate) enum Backend {
    Static(TokenTable),
    Transformer(Engine),
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("info", &self.0.info).finish_non_exhaustive()
    }
}

impl Model {
    /// Loads a model and checks everything about it.
    ///
    /// # Errors
    /// Any [`ModelError`] that concerns files, options, the device, the hub or ONNX Runtime.
    pub fn load(spec: &ModelSpec) -> Result<Self> {
        crate::load::load(spec).map(|loaded| Self(Arc::new(loaded)))
    }

    /// What is known of the model.
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// What the model has done since it was loaded.
    pub fn stats(&self) -> ModelStats {
        self.0.counters.read()
    }

    /// Vectors of `texts`, in their order, with the prompt before each. Equal texts run once.
    ///
    /// Memory is that of the result and of the tokens of a few thousand texts.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a cross-encoder, [`ModelError::BadOption`] for an unknown
    /// prompt, [`ModelError::Cancelled`] when `cancel` is set, and failures of the tokenizer or of
    /// ONNX Runtime.
    pub fn embed(
        &self,
        texts: &[&str],
        prompt: Prompt<'_>,
        cancel: &CancelToken,
    ) -> Result<Embeddings> {
        if self.info().kind == ModelKind::CrossEncoder {
            return Err(ModelError::Unsupported(format!(
                "model '{}' scores pairs and can't embed; use rerank(query, document, model)",
                self.info().name
            )));
        }
        let started = Instant::now();
        let prompt = self.prompt(prompt)?;
        let dimension = self.info().dimension;
        let (unique, places) = distinct(texts);
        let mut work = Work { texts: texts.len() as u64, ..Work::default() };
        let mut values = Vec::with_capacity(unique.len() * dimension);
        for chunk in unique.chunks(CHUNK_TEXTS) {
            cancel.check()?;
            let vectors = self.embed_chunk(chunk, prompt, cancel, &mut work)?;
            self.check_finite(&vectors)?;
            values.extend(vectors);
        }
        cancel.done(texts.len() - unique.len());
        if let Some(places) = places {
            let mut spread = Vec::with_capacity(texts.len() * dimension);
            for place in places {
                spread.extend_from_slice(&values[place * dimension..(place + 1) * dimension]);
            }
            values = spread;
        }
        self.0.counters.add(work, started.elapsed());
        Ok(Embeddings { dimension, values })
    }

    /// Checks that vectors are numbers: damaged weights give others.
    fn check_finite(&self, vectors: &[f32]) -> Result<()> {
        if vectors.iter().all(|x| x.is_finite()) {
            return Ok(());
        }
        Err(ModelError::file(
            &self.info().path,
            "gives vectors with components that are no numbers (NaN or infinite); its weights are damaged: fetch the model again",
        ))
    }

    /// Vectors of distinct texts: from the cache where it has them, else computed and remembered.
    fn embed_chunk(
        &self,
        texts: &[&str],
        prompt: &str,
        cancel: &CancelToken,
        work: &mut Work,
    ) -> Result<Vec<f32>> {
        let Some(cache) = &self.0.cache else {
            return self.compute(texts, prompt, cancel, work);
        };
        let dimension = self.info().dimension;
        let keys: Vec<_> = texts.iter().map(|text| cache.key(prompt, text)).collect();
        let mut values = vec![0f32; texts.len() * dimension];
        let missing = cache.read(&keys, dimension, &mut values)?;
        work.cache_hits += (texts.len() - missing.len()) as u64;
        cancel.done(texts.len() - missing.len());
        if missing.is_empty() {
            return Ok(values);
        }
        let unknown: Vec<&str> = missing.iter().map(|row| texts[*row]).collect();
        let computed = self.compute(&unknown, prompt, cancel, work)?;
        let rows = computed.chunks_exact(dimension);
        cache.write(missing.iter().map(|row| &keys[*row]).zip(rows.clone()))?;
        for (row, vector) in missing.iter().zip(rows) {
            values[row * dimension..(row + 1) * dimension].copy_from_slice(vector);
        }
        Ok(values)
    }

    /// Vectors of texts by the model.
    fn compute(
        &self,
        texts: &[&str],
        prompt: &str,
        cancel: &CancelToken,
        work: &mut Work,
    ) -> Result<Vec<f32>> {
        let loaded = &*self.0;
        let skip =
            if loaded.include_prompt { 0 } else { loaded.tokenizer.prompt_length(prompt)? };
        let sequences = match &loaded.backend {
            Backend::Static(TokenTable { characters_per_token: Some(per_token), .. }) => {
                let limit = loaded.info.max_length.map_or(usize::MAX, |max| max * per_token);
                let cut: Vec<&str> = texts.iter().map(|text| beginning(text, limit)).collect();
                let mut sequences = loaded.tokenizer.encode(&cut, prompt, skip, cancel)?;
                for ((sequence, cut), text) in sequences.iter_mut().zip(cut).zip(texts) {
                    sequence.truncated |= cut.len() < text.len();
                }
                sequences
            }
            _ => loaded.tokenizer.encode(texts, prompt, skip, cancel)?,
        };
        count(&sequences, work);
        match &loaded.backend {
            Backend::Static(table) => Ok(workers::run(|| {
                let vector = |sequence: &Sequence| loaded.head.finish(table.mean(&sequence.ids));
                let vectors = sequences.par_iter().flat_map_iter(vector).collect();
                cancel.done(sequences.len());
                vectors
            })),
            Backend::Transformer(engine) => {
                engine.run(&sequences, self.info().dimension, cancel, |sequence, output| {
                    match output {
                        Output::Tokens { values, width } => {
                            loaded.head.apply(values, width, sequence.skip)
                        }
                        Output::Text(values) => loaded.head.finish(values.to_vec()),
                    }
                })
            }
        }
    }

    /// Scores of pairs, in their order, after the model's activation: `labels` values per pair.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a model that embeds, and the errors of [`Model::embed`].
    pub fn score(&self, pairs: &[(&str, &str)], cancel: &CancelToken) -> Result<Vec<f32>> {
        let Backend::Transformer(engine) = &self.0.backend else {
            return Err(self.cannot_score());
        };
        if self.info().kind != ModelKind::CrossEncoder {
            return Err(self.cannot_score());
        }
        let started = Instant::now();
        let (unique, places) = distinct(pairs);
        let labels = self.info().labels;
        let mut work = Work { texts: pairs.len() as u64, ..Work::default() };
        cancel.done(pairs.len() - unique.len());
        let mut scores = Vec::with_capacity(unique.len() * labels);
        for chunk in unique.chunks(CHUNK_TEXTS) {
            let sequences = self.0.tokenizer.encode_pairs(chunk, cancel)?;
            count(&sequences, &mut work);
            scores.extend(engine.run(&sequences, labels, cancel, |_, output| {
                let (Output::Tokens { values, .. } | Output::Text(values)) = output;
                values.iter().map(|logit| self.0.activation.apply(*logit)).collect()
            })?);
        }
        if let Some(places) = places {
            scores = places
                .into_iter()
                .flat_map(|place| scores[place * labels..(place + 1) * labels].to_vec())
                .collect();
        }
        self.0.counters.add(work, started.elapsed());
        Ok(scores)
    }

    fn cannot_score(&self) -> ModelError {
        ModelError::Unsupported(format!(
            "model '{}' embeds texts and can't score pairs; rerank needs a cross-encoder, similarity compares its vectors",
            self.info().name
        ))
    }

    /// Length of each text in tokens, without a prompt.
    ///
    /// # Errors
    /// Failures of the tokenizer.
    pub fn count_tokens(&self, texts: &[&str]) -> Result<Vec<TokenCount>> {
        self.0.tokenizer.count(texts, &CancelToken::new())
    }

    /// The words that go before a text.
    fn prompt<'p>(&'p self, prompt: Prompt<'p>) -> Result<&'p str> {
        let info = self.info();
        let named = |name: &str| {
            info.prompts.iter().find(|(known, _)| known == name).map(|(_, prompt)| prompt.as_str())
        };
        let default = || info.default_prompt.as_deref().and_then(named).unwrap_or_default();
        Ok(match prompt {
            Prompt::Text(words) => words,
            Prompt::Default => default(),
            Prompt::Query => named("query").unwrap_or_default(),
            Prompt::Document => {
                ["document", "passage", "corpus"].into_iter().find_map(named).unwrap_or_default()
            }
            Prompt::Named(name) => named(name).ok_or_else(|| {
                let known: Vec<_> = info.prompts.iter().map(|(name, _)| name.as_str()).collect();
                let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
                ModelError::BadOption(format!(
                    "model '{}' has no prompt '{name}'; its prompts: {known}",
                    info.name
                ))
            })?,
        })
    }
}

/// The first `characters` characters of a text.
fn beginning(text: &str, characters: usize) -> &str {
    if text.len() <= characters {
        return text;
    }
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// Adds up what a chunk of sequences costs.
fn count(sequences: &[Sequence], work: &mut Work) {
    for sequence in sequences {
        work.tokens += sequence.ids.len() as u64;
        work.truncated += u64::from(sequence.truncated);
    }
}

/// The distinct inputs in order of first appearance, and for each input its place among them;
/// `None` where all differ.
fn distinct<T: Copy + Eq + std::hash::Hash>(inputs: &[T]) -> (Vec<T>, Option<Vec<usize>>) {
    let mut seen: HashMap<T, usize> = HashMap::with_capacity(inputs.len());
    let mut unique = Vec::with_capacity(inputs.len());
    let places: Vec<usize> = inputs
        .iter()
        .map(|input| {
            *seen.entry(*input).or_insert_with(|| {
                unique.push(*input);
                unique.len() - 1
            })
        })
        .collect();
    let repeated = unique.len() < inputs.len();
    (unique, repeated.then_some(places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_inputs_are_found() {
        assert_eq!(distinct(&["a", "b", "a"]), (vec!["a", "b"], Some(vec![0, 1, 0])));
        assert_eq!(distinct(&["a", "b"]), (vec!["a", "b"], None));
        assert_eq!(distinct::<&str>(&[]), (vec![], None));
    }
}
