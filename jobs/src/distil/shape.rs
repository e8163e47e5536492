//! Changes of a model that need no training: fewer layers or tokens, or shorter vectors by
//! principal components. A directory in, a directory out.

use std::path::Path;

use arrow::array::RecordBatch;
use sembla_models::trainable::Trainable;
use sembla_models::{CancelToken, InputKind, Model, ModelSpec};
use sembla_training::pca::Pca;
use sembla_training::{Network, distil};

use super::{TEXTS_AT_ONCE, embed, in_floats};
use crate::failure::{Failure, Result};
use crate::input::Notice;
use crate::train::failure;
use crate::train::rows::Rows;

/// Which layers of a model are kept.
#[derive(Clone, Debug)]
pub enum Kept {
    /// So many, evenly spaced.
    Count(usize),
    /// These, numbered from 0 and ascending.
    Layers(Vec<usize>),
}

/// What a model had and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Layers before and after.
    pub layers: (usize, usize),
    /// Tokens before and after.
    pub tokens: (usize, usize),
}

/// Which tokens of a model are kept.
#[derive(Clone, Copy, Debug)]
pub struct KeptTokens<'a> {
    /// So many at most.
    pub most: usize,
    /// Rows with the texts in which the kept ones are the most frequent.
    pub data: &'a [RecordBatch],
}

/// Writes a copy of a model, in 32-bit floats, that keeps some of its layers and tokens.
///
/// # Errors
/// Layers that the model doesn't have, too few tokens to spell words, rows that are no texts, a
/// model that can't be taken apart, and an output that exists or can't be written;
/// [`Failure::Interrupted`].
pub fn prune(
    source: &str,
    output: &Path,
    layers: Option<&Kept>,
    tokens: Option<KeptTokens<'_>>,
    cancel: &CancelToken,
    notice: Notice<'_>,
) -> Result<Pruned> {
    check_new(output)?;
    let whole = Trainable::open(&ModelSpec::new(source))?;
    let before = (whole.layers(), whole.token_count());
    let mut model = match layers {
        None => whole,
        Some(Kept::Count(count)) => distil::spread(whole, *count).map_err(failure)?,
        Some(Kept::Layers(layers)) => {
            let mut model = whole;
            model.keep_layers(layers)?;
            model
        }
    };
    if let Some(KeptTokens { most, data }) = tokens {
        let rows = Rows::read(data, "the rows of --data", notice)?;
        let columns = rows.into_texts(1, "one column, text")?;
        let counts = counts_of(&model, &columns[0], cancel)?;
        model.keep_tokens(&counts, most)?;
    }
    let after = (model.layers(), model.token_count());
    let network = Network::of(model).map_err(failure)?;
    network.save(output).map_err(failure)?;
    Ok(Pruned { layers: (before.0, after.0), tokens: (before.1, after.1) })
}

/// How often each token occurs in texts, by id.
fn counts_of(model: &Trainable, texts: &[String], cancel: &CancelToken) -> Result<Vec<u64>> {
    let mut counts = vec![0; model.token_count()];
    for texts in texts.chunks(TEXTS_AT_ONCE) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for sequence in model.texts(&texts, "", cancel)? {
            for id in sequence.ids {
                if let Some(count) = counts.get_mut(id as usize) {
                    *count += 1;
                }
            }
        }
    }
    Ok(counts)
}

/// Writes a copy of a model, in 32-bit floats, whose vectors have `dimensions` components: a dense
/// layer of the principal components of its vectors of the texts of `data`, which are not centred.
/// Vectors that had length 1 have it again after it. Gives the share of the variance that is kept;
/// `observe` is told how many of all texts are done.
///
/// # Errors
/// Rows that are no texts, or too few; sizes that don't fit; a model that gives no vectors or can't
/// be taken apart; an output that exists or can't be written; [`Failure::Interrupted`].
pub fn pca(
    source: &str,
    output: &Path,
    dimensions: usize,
    data: &[RecordBatch],
    cancel: &CancelToken,
    notice: Notice<'_>,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<f64> {
    check_new(output)?;
    let rows = Rows::read(data, "the rows of --data", notice)?;
    let columns = rows.into_texts(1, "one column, text")?;
    let spec = in_floats(&ModelSpec::new(source));
    let mut changed = Trainable::open(&spec)?;
    let model = Model::load(&spec)?;
    if model.info().takes == InputKind::Pair {
        return Err(Failure::user(format!(
            "model '{}' scores pairs and has no vectors to shorten",
            model.info().name
        )));
    }
    let vectors = embed(&model, &columns[0], cancel, observe)?;
    let pca = Pca::fit_sample(&vectors, model.info().dimension, dimensions).map_err(failure)?;
    changed.add_dense(pca.components, pca.mean.len())?;
    Network::of(changed).and_then(|network| network.save(output)).map_err(failure)?;
    Ok(pca.explained)
}

/// Refuses an output that is there already.
pub(crate) fn check_new(output: &Path) -> Result<()> {
    match output.exists() {
        true => {
            Err(Failure::user(format!("{} already exists; name a new folder", output.display())))
        }
        false => crate::train::check_output(output, false),
    }
}
