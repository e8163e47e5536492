//! Static models: a text's vector is the mean of its tokens' vectors. No ONNX Runtime involved.
//!
//! Covers Sentence-Transformers' `StaticEmbedding` and model2vec with its 8-bit and
//! vocabulary-quantised forms. Normalisation and truncation are left to the head.

use rayon::prelude::*;

use super::{Backend, Each, Facts, Output};
use crate::inputs::{Sequence, TextReader};
use crate::layout::{Layout, LayoutKind, WeightFile};
use crate::weights::Weights;
use crate::workers;
use crate::{CancelToken, Device, ModelError, ModelSpec, Precision, Result};

/// Vectors of all tokens.
pub(crate) struct TokenTable {
    vectors: Vectors,
    facts: Facts,
    /// Components per vector.
    width: usize,
    /// Row of each token, where several tokens share one.
    mapping: Option<Vec<u32>>,
    /// Factor of each token.
    factors: Option<Vec<f32>>,
    /// The token that is left out of the mean.
    unknown: Option<u32>,
}

/// A table of token vectors in floats, one row a token: rows that tokens share are repeated, and
/// factors multiplied in. A text's vector is the mean over its tokens that are not `unknown`.
#[derive(Clone, Debug)]
pub struct TableParts {
    /// Vectors, row after row.
    pub values: Vec<f32>,
    /// Components per vector.
    pub width: usize,
    /// The token that is left out of the mean.
    pub unknown: Option<u32>,
}

enum Vectors {
    F32(Vec<f32>),
    I8(Vec<i8>),
}

/// A table of vectors has no precision to choose and no device.
///
/// # Errors
/// [`ModelError::Device`] or [`ModelError::BadOption`] that says so.
pub(super) fn check_options(spec: &ModelSpec, name: &str) -> Result<()> {
    if let Device::Cuda(_) = spec.device {
        return Err(ModelError::Device {
            device: spec.device.to_string(),
            reason: format!("model '{name}' is static and runs on the cpu"),
        });
    }
    if spec.precision == Some(Precision::F16) {
        return Err(ModelError::BadOption(format!(
            "model '{name}' is static and runs as it is stored; leave precision out"
        )));
    }
    Ok(())
}

impl Backend for TokenTable {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn run(
        &self,
        sequences: &[Sequence],
        width: usize,
        cancel: &CancelToken,
        each: &Each<'_>,
    ) -> Result<Vec<f32>> {
        let mut values = vec![0f32; sequences.len() * width];
        workers::run(|| {
            let rows = values.par_chunks_exact_mut(width.max(1)).zip(sequences);
            rows.try_for_each(|(target, sequence)| {
                let mean = self.mean(&sequence.ids);
                super::place(&each(sequence, Output::Whole(&mean)), target)
            })
        })?;
        cancel.done(sequences.len());
        Ok(values)
    }
}

impl TokenTable {
    /// Reads the table and checks it against the tokenizer's vocabulary.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] when a tensor is missing, too small for the vocabulary, or
    /// points outside.
    pub(crate) fn load(layout: &Layout, reader: &TextReader) -> Result<Self> {
        let WeightFile::Safetensors(folder) = &layout.weights else {
            return Err(ModelError::file(&layout.root, "a static model needs model.safetensors"));
        };
        let weights = Weights::open(folder)?;
        let name = if weights.contains("embeddings") { "embeddings" } else { "embedding.weight" };
        let shape = weights.shape(name).ok_or_else(|| weights.missing(name))?.to_vec();
        let [rows, width] = shape[..] else {
            return Err(ModelError::file(
                weights.path(),
                format!("tensor '{name}' has shape {shape:?}; a table of vectors has two"),
            ));
        };
        let vectors = if weights.is_bytes(name) {
            Vectors::I8(weights.bytes(name, &shape)?)
        } else {
            Vectors::F32(weights.floats(name, &shape)?)
        };
        let vocabulary = reader.vocabulary_size();
        let mapping = mapping(&weights, vocabulary, rows)?;
        let factors = match weights.shape("weights").map(<[usize]>::to_vec) {
            Some(shape) if shape[..] == [vocabulary] => Some(weights.floats("weights", &shape)?),
            Some(shape) => {
                return Err(ModelError::file(
                    weights.path(),
                    format!("tensor 'weights' has shape {shape:?} for {vocabulary} tokens"),
                ));
            }
            None => None,
        };
        if width == 0 || (mapping.is_none() && rows < vocabulary) {
            return Err(ModelError::file(
                weights.path(),
                format!("tensor '{name}' is {rows} × {width} for {vocabulary} tokens"),
            ));
        }
        let model2vec = layout.kind == LayoutKind::Static { model2vec: true };
        let facts = Facts {
            width,
            pooled: true,
            normalised: false,
            labels: 0,
            architecture: "static".into(),
            precision: match vectors {
                Vectors::F32(_) => Precision::F32,
                Vectors::I8(_) => Precision::Q8,
            },
            parameters: weights.parameters(),
        };
        let unknown = if model2vec { reader.unknown_id() } else { None };
        Ok(Self { vectors, facts, width, mapping, factors, unknown })
    }

    /// What training needs of it.
    pub(crate) fn into_parts(self) -> TableParts {
        let TokenTable { vectors, width, mapping, factors, unknown, .. } = self;
        let stored: Vec<f32> = match vectors {
            Vectors::F32(values) => values,
            Vectors::I8(values) => values.into_iter().map(f32::from).collect(),
        };
        let values = match (&mapping, &factors) {
            (None, None) => stored,
            _ => {
                let tokens = mapping.as_ref().map_or(stored.len() / width, Vec::len);
                let row = |token: usize| {
                    let row = mapping.as_ref().map_or(token, |mapping| mapping[token] as usize);
                    let factor = factors.as_ref().and_then(|factors| factors.get(token).copied());
                    let factor = factor.unwrap_or(1.0);
                    stored[row * width..(row + 1) * width].iter().map(move |value| value * factor)
                };
                (0..tokens).flat_map(row).collect()
            }
        };
        TableParts { values, width, unknown }
    }

    /// The mean vector of some tokens; zeros where there is none.
    fn mean(&self, ids: &[u32]) -> Vec<f32> {
        let mut sum = vec![0f32; self.width];
        let mut count = 0usize;
        for id in ids.iter().filter(|id| Some(**id) != self.unknown) {
            let row = self.mapping.as_ref().map_or(*id, |mapping| mapping[*id as usize]) as usize;
            let factor = self.factors.as_ref().map_or(1.0, |factors| factors[*id as usize]);
            let range = row * self.width..(row + 1) * self.width;
            match &self.vectors {
                Vectors::F32(values) => {
                    for (sum, value) in sum.iter_mut().zip(&values[range]) {
                        *sum += value * factor;
                    }
                }
                Vectors::I8(values) => {
                    for (sum, value) in sum.iter_mut().zip(&values[range]) {
                        *sum += f32::from(*value) * factor;
                    }
                }
            }
            count += 1;
        }
        if count > 0 {
            let count = count as f32;
            sum.iter_mut().for_each(|value| *value /= count);
        }
        sum
    }
}

/// The row of each token, checked to be inside the table.
fn mapping(weights: &Weights, vocabulary: usize, rows: usize) -> Result<Option<Vec<u32>>> {
    if !weights.contains("mapping") {
        return Ok(None);
    }
    let mapping = weights.whole_numbers("mapping", &[vocabulary])?;
    mapping
        .into_iter()
        .map(|row| u32::try_from(row).ok().filter(|row| (*row as usize) < rows))
        .collect::<Option<Vec<u32>>>()
        .map(Some)
        .ok_or_else(|| {
            ModelError::file(
                weights.path(),
                format!("tensor 'mapping' points outside the {rows} vectors"),
            )
        })
}
