//! A linear classifier on a model's vectors: the folder `classifier/` of a model directory.
//!
//! `model.safetensors` in it has `weight` (labels × components) and `bias` (labels), both f32, and
//! `config.json` the labels in their order and whether the vectors are of texts or images. The
//! rest of the directory is the model that gives the vectors, unchanged. How a classifier is fitted
//! is left to others.

mod copy;

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::directory::{self, floats};
use crate::info::{InputKind, ModelInfo, ModelKind};
use crate::layout::{CLASSIFIER as FOLDER, json_file};
use crate::weights::Weights;
use crate::{ModelError, ModelSpec, Result};

pub use copy::save;

/// Most labels.
pub const LABELS_MAX: usize = 10_000;

/// Longest label, in bytes.
pub const LABEL_BYTES_MAX: usize = 1024;

/// Products that are added up side by side.
const LANES: usize = 16;

/// Labels, and what a vector is multiplied by to get a score for each.
///
/// # Examples
/// ```
/// use sembla_models::{Classifier, InputKind};
///
/// let labels = vec!["no".to_string(), "yes".to_string()];
/// let head = Classifier::new(labels, InputKind::Text, vec![-1.0, 0.0, 1.0, 0.0], vec![0.0; 2])?;
/// assert_eq!(head.probabilities(&[0.0, 5.0]), [0.5, 0.5]);
/// assert!(head.probabilities(&[1.0, 0.0])[1] > 0.8);
/// # Ok::<(), sembla_models::ModelError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    labels: Vec<String>,
    takes: InputKind,
    /// `labels × components`.
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl Classifier {
    /// A classifier of vectors of texts or of images (`takes`): `weights` has a row of components
    /// for each label, `biases` a number.
    ///
    /// # Errors
    /// [`ModelError::BadOption`] for labels that are fewer than two, too many, empty, too long or
    /// twice there, and for lengths that don't fit.
    pub fn new(
        labels: Vec<String>,
        takes: InputKind,
        weights: Vec<f32>,
        biases: Vec<f32>,
    ) -> Result<Self> {
        let bad = |problem: String| Err(ModelError::BadOption(problem));
        if !(2..=LABELS_MAX).contains(&labels.len()) {
            return bad(format!("a classifier has 2 to {LABELS_MAX} labels, got {}", labels.len()));
        }
        let mut seen = HashSet::new();
        for label in &labels {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                return bad(format!(
                    "a label must have 1 to {LABEL_BYTES_MAX} bytes, got {}",
                    label.len()
                ));
            }
            if !seen.insert(label) {
                return bad(format!("the label '{label}' is there twice"));
            }
        }
        let fits = biases.len() == labels.len()
            && !weights.is_empty()
            && weights.len().is_multiple_of(labels.len());
        if !fits {
            return bad(format!(
                "{} labels don't go with {} weights and {} biases",
                labels.len(),
                weights.len(),
                biases.len()
            ));
        }
        if weights.iter().chain(&biases).any(|value| !value.is_finite()) {
            return bad("a classifier has a weight that is NaN or infinite".into());
        }
        if !matches!(takes, InputKind::Text | InputKind::Image) {
            return bad(format!("a classifier takes texts or images, not {takes}"));
        }
        Ok(Self { labels, takes, weights, biases })
    }

    /// The labels, in the order of [`Classifier::probabilities`].
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Whether it was fitted to vectors of texts or of images.
    pub fn takes(&self) -> InputKind {
        self.takes
    }

    /// Components of a vector.
    pub fn dimension(&self) -> usize {
        self.weights.len() / self.labels.len()
    }

    /// A probability for each label; they add up to 1. Missing components count as 0.
    pub fn probabilities(&self, vector: &[f32]) -> Vec<f32> {
        let rows = self.weights.chunks_exact(self.dimension()).zip(&self.biases);
        let scores: Vec<f64> =
            rows.map(|(row, bias)| dot(row, vector) + f64::from(*bias)).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let parts: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f64 = parts.iter().sum();
        parts.iter().map(|part| (part / total) as f32).collect()
    }

    /// The classifier of a model directory, if it has one that goes with the model.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] for one that does not, or is damaged, and
    /// [`ModelError::BadOption`] where options give vectors other than it was fitted to.
    pub(crate) fn read(spec: &ModelSpec, info: &ModelInfo) -> Result<Option<Self>> {
        let folder = info.path.join(FOLDER);
        let path = folder.join("config.json");
        let Some(config) = json_file(&path)? else { return Ok(None) };
        let bad = |problem: String| ModelError::file(&path, problem);
        let labels = config.get("labels").and_then(Value::as_array);
        let labels: Option<Vec<String>> = labels.and_then(|labels| {
            labels.iter().map(|label| label.as_str().map(str::to_string)).collect()
        });
        let labels = labels.ok_or_else(|| bad("has no list of texts 'labels'".into()))?;
        let takes = match config.get("input").and_then(Value::as_str) {
            Some("text") => InputKind::Text,
            Some("image") => InputKind::Image,
            _ => return Err(bad("must have text or image as 'input'".into())),
        };
        if info.kind == ModelKind::CrossEncoder {
            return Err(bad("lies in a cross-encoder, which gives no vectors".into()));
        }
        if spec.truncate_dim.is_some() || spec.normalize {
            return Err(ModelError::BadOption(format!(
                "model '{}' has a classifier, which takes vectors as the model gives them: leave out truncate_dim and normalize",
                info.name
            )));
        }
        let weights = Weights::open(&folder)?;
        let shape = [labels.len(), info.dimension];
        let (weights, biases) =
            (weights.floats("weight", &shape)?, weights.floats("bias", &shape[..1])?);
        Self::new(labels, takes, weights, biases).map(Some).map_err(|error| bad(error.to_string()))
    }

    /// Writes the folder of the classifier into a model directory.
    pub(crate) fn write(&self, model: &Path) -> Result<()> {
        let folder = model.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(|error| ModelError::io(&folder, error))?;
        let input = if self.takes == InputKind::Image { "image" } else { "text" };
        let config = json!({ "input": input, "labels": self.labels });
        let path = folder.join("config.json");
        std::fs::write(&path, format!("{config:#}\n"))
            .map_err(|error| ModelError::io(path, error))?;
        let labels = self.labels.len();
        let tensors = [
            ("weight".to_string(), floats(&self.weights, vec![labels, self.dimension()])),
            ("bias".to_string(), floats(&self.biases, vec![labels])),
        ];
        directory::write_tensors(&folder.join("model.safetensors"), &tensors)
    }
}

/// The sum of products, in one order: product `i` in lane `i % LANES`, then lane by lane.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0_f32; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    lanes.iter().map(|lane| f64::from(*lane)).sum()
}
