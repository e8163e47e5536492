//! What can be known of a model, and what it gives: its description, vectors, lengths, counts.
//!
//! Plain data; who fills and shows it is left to others.

use std::fmt;
use std::path::PathBuf;

use crate::images::ImageError;
use crate::{Device, Precision};

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

/// What a model is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InputKind {
    /// A text; [`Model::embed`](crate::Model::embed) takes these.
    Text,
    /// Two texts; [`Model::score`](crate::Model::score) takes these.
    Pair,
    /// An image; [`Model::embed_images`](crate::Model::embed_images) takes these.
    Image,
    /// Texts and images, into one space.
    TextOrImage,
}

impl InputKind {
    /// Whether a text becomes a vector.
    pub fn has_texts(self) -> bool {
        matches!(self, Self::Text | Self::TextOrImage)
    }

    /// Whether an image becomes a vector.
    pub fn has_images(self) -> bool {
        matches!(self, Self::Image | Self::TextOrImage)
    }
}

impl fmt::Display for InputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "texts",
            Self::Pair => "pairs of texts",
            Self::Image => "images",
            Self::TextOrImage => "texts and images",
        })
    }
}

/// How a model of texts and images was trained to score a pair of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// What the cosine of the two vectors is multiplied by.
    pub scale: f32,
    /// What is added to that before a sigmoid, where every pair is scored by itself; `None` where
    /// scores compete and go through a softmax.
    pub bias: Option<f32>,
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
///
/// # Examples
/// ```
/// use sembla_models::{InputKind, Model, ModelKind, ModelSpec};
///
/// let model = Model::load(&ModelSpec::new("potion"))?;
/// let info = model.info();
/// assert_eq!((info.kind, info.takes), (ModelKind::Static, InputKind::Text));
/// assert_eq!((info.dimension, info.labels), (128, 0));
/// # Ok::<(), sembla_models::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModelInfo {
    /// A short name for messages and metrics: the directory's name or the hub id.
    pub name: String,
    /// Where it was loaded from.
    pub path: PathBuf,
    /// What it does.
    pub kind: ModelKind,
    /// What it is given.
    pub takes: InputKind,
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
    /// How pairs of a text and an image are scored, for a model that was trained on such.
    pub contrast: Option<Contrast>,
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
    /// Hash of its files alone: whatever the precision and the options, vectors of one space can
    /// be compared. `None` for one tower of a model of texts and images, whose vectors also lie in
    /// one space with those of the other directory.
    pub space: Option<String>,
    /// Whether its vectors have the length 1.
    pub normalized: bool,
    /// Number of parameters.
    pub parameters: u64,
}

/// Vectors of some images, row after row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageEmbeddings {
    /// Components per vector.
    pub dimension: usize,
    /// `rows × dimension` components; zeros where there is a problem.
    pub values: Vec<f32>,
    /// Numbers of the rows that are no usable image, in order, and what is wrong with them.
    pub problems: Vec<(usize, ImageError)>,
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
    /// Texts (or pairs, or images) that were asked for, NULLs not counted.
    pub texts: u64,
    /// Tokens that went through the model, special tokens and patches of images included; what came
    /// from the cache doesn't count.
    pub tokens: u64,
    /// Texts that were longer than the model's limit.
    pub truncated: u64,
    /// Texts whose vector came from the cache on disk.
    pub cache_hits: u64,
    /// Seconds spent in calls, waiting included.
    pub seconds: f64,
}
