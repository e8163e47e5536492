//! The handle that SQL, the command line and streams share: one loaded model.

use std::sync::Arc;

use crate::{CancelToken, Device, ModelError, ModelSpec, Precision, Result};

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
    /// What a search query gets: the prompt `query`, else the default.
    Query,
    /// What a document gets: the first of `document`, `passage`, `corpus`, else the default.
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

/// What a model has done since it was loaded. The same figures go to `metrics`, labelled with the model's name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModelStats {
    /// Texts (or pairs) that were asked for, NULLs not counted.
    pub texts: u64,
    /// Tokens that went through the model, special tokens included; texts that came from the cache don't count.
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
pub struct Model(Arc<ModelInfo>);

impl Model {
    /// Loads a model and checks everything about it.
    ///
    /// # Errors
    /// Any [`ModelError`] that concerns files, options, the device, the hub or ONNX Runtime.
    pub fn load(spec: &ModelSpec) -> Result<Self> {
        Err(ModelError::Bug(format!("loading {} is not there yet", spec.source)))
    }

    /// What is known of the model.
    pub fn info(&self) -> &ModelInfo {
        &self.0
    }

    /// What the model has done since it was loaded.
    pub fn stats(&self) -> ModelStats {
        ModelStats::default()
    }

    /// Vectors of `texts`, in their order, with the prompt before each.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a cross-encoder, [`ModelError::BadOption`] for an unknown prompt,
    /// [`ModelError::Cancelled`] when `cancel` is set, and failures of the tokenizer or of ONNX Runtime.
    pub fn embed(
        &self,
        _texts: &[&str],
        _prompt: Prompt<'_>,
        _cancel: &CancelToken,
    ) -> Result<Embeddings> {
        Err(ModelError::Bug("embed is not there yet".into()))
    }

    /// Scores of pairs, in their order, after the model's activation: `labels` values per pair.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a model that embeds, and the errors of [`Model::embed`].
    pub fn score(&self, _pairs: &[(&str, &str)], _cancel: &CancelToken) -> Result<Vec<f32>> {
        Err(ModelError::Bug("score is not there yet".into()))
    }

    /// Length of each text in tokens, without a prompt.
    ///
    /// # Errors
    /// Failures of the tokenizer.
    pub fn count_tokens(&self, _texts: &[&str]) -> Result<Vec<TokenCount>> {
        Err(ModelError::Bug("count_tokens is not there yet".into()))
    }
}
