//! A static student of a transformer, as model2vec distils it: every token runs through the
//! transformer alone, principal components make its vector shorter, and a weight makes that of a
//! frequent token smaller. Where the model goes is left to the caller.

use std::path::Path;

use sembla_models::CancelToken;
use sembla_models::trainable::{Sequence, StaticFacts};

use crate::error::{Result, TrainError};
use crate::network::Network;
use crate::pca::Pca;

/// Components of a vector, unless other ones are asked for.
pub const DIMENSIONS: usize = 256;

/// What a token's probability is compared with.
const SIF_COEFFICIENT: f64 = 1e-4;

/// Tokens that run between two reports of progress.
const TOKENS_AT_ONCE: usize = 1024;

/// Makes a static model of `dimensions` components (at most the transformer's) of a transformer's
/// vocabulary and writes it to `target`; `observe` is told how many of all tokens have run. Gives
/// the number of tokens.
///
/// Takes the time of as many texts of three tokens as the vocabulary has tokens, and the memory of
/// their vectors.
///
/// # Errors
/// A model that is static already, a tokenizer that can't be rewritten, those of the disk, and
/// [`ModelError::Cancelled`](sembla_models::ModelError::Cancelled).
pub fn make(
    network: &mut Network,
    dimensions: usize,
    target: &Path,
    cancel: &CancelToken,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<usize> {
    let vocabulary = network.source().vocabulary(cancel)?;
    let text = |id: &u32| {
        let ids = [&vocabulary.before[..], &[*id], &vocabulary.after].concat();
        Sequence { ids, type_ids: None, skip: 0, truncated: false }
    };
    let texts: Vec<Sequence> = vocabulary.ids.iter().map(text).collect();
    let texts = network.checked(texts)?;
    let count = texts.len();
    let mut vectors = Vec::new();
    for (number, texts) in texts.chunks(TOKENS_AT_ONCE).enumerate() {
        observe(number * TOKENS_AT_ONCE, count);
        let texts: Vec<&Sequence> = texts.iter().collect();
        vectors.extend(network.token_means(&texts, cancel)?);
    }
    observe(count, count);
    let width = vectors.len() / count;
    let dimensions = dimensions.min(width);
    if dimensions >= count {
        return Err(TrainError::Option(format!(
            "a static student of {dimensions} components needs more tokens than the {count} of model '{}'",
            network.name()
        )));
    }
    let mut table = shortened(&vectors, width, dimensions)?;
    for (row, weight) in table.chunks_exact_mut(dimensions).zip(weights(count)) {
        row.iter_mut().for_each(|value| *value = (f64::from(*value) * weight) as f32);
    }
    let facts = StaticFacts { width: dimensions, sif_coefficient: SIF_COEFFICIENT };
    network.source().save_static(target, &vocabulary, &table, facts)?;
    Ok(count)
}

/// Centred vectors along their principal components, each of which has the sign that makes its
/// largest value over all vectors positive.
fn shortened(vectors: &[f32], width: usize, dimensions: usize) -> Result<Vec<f32>> {
    let mut table = Pca::fit(vectors, width, dimensions)?.project(vectors, true);
    let mut largest = vec![0f32; dimensions];
    for row in table.chunks_exact(dimensions) {
        for (largest, value) in largest.iter_mut().zip(row) {
            if value.abs() > largest.abs() {
                *largest = *value;
            }
        }
    }
    for row in table.chunks_exact_mut(dimensions) {
        row.iter_mut().zip(&largest).for_each(|(value, largest)| *value *= largest.signum());
    }
    Ok(table)
}

/// The weight of each token: vocabularies begin with what is frequent, and by Zipf's law the
/// probability of a token is as one to its rank.
fn weights(count: usize) -> impl Iterator<Item = f64> {
    let share = |place: usize| 1.0 / (place as f64 + 2.0);
    let total: f64 = (0..count).map(share).sum();
    (0..count).map(move |place| SIF_COEFFICIENT / (SIF_COEFFICIENT + share(place) / total))
}
