//! Changes of a model that need no training: fewer layers, or shorter vectors by principal
//! components. A directory in, a directory out.

use std::path::Path;

use arrow::array::RecordBatch;
use sembla_models::trainable::Trainable;
use sembla_models::{CancelToken, InputKind, Model, ModelSpec};
use sembla_training::pca::Pca;
use sembla_training::{Network, distil};

use super::{embed, in_floats};
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

/// Writes a copy of a model that keeps some of its layers, in 32-bit floats, and gives their
/// number before and after.
///
/// # Errors
/// Layers that the model doesn't have, a model that can't be taken apart, and an output that
/// exists or can't be written.
pub fn prune(source: &str, output: &Path, kept: &Kept) -> Result<(usize, usize)> {
    check_new(output)?;
    let spec = ModelSpec::new(source);
    let mut model = Trainable::open(&spec)?;
    let before = model.layers();
    let model = match kept {
        Kept::Count(count) => distil::with_layers(&spec, *count).map_err(failure)?,
        Kept::Layers(layers) => {
            model.keep_layers(layers)?;
            model
        }
    };
    let after = model.layers();
    let network = Network::of(model).map_err(failure)?;
    network.save(output).map_err(failure)?;
    Ok((before, after))
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
pub(super) fn check_new(output: &Path) -> Result<()> {
    match output.exists() {
        true => {
            Err(Failure::user(format!("{} already exists; name a new folder", output.display())))
        }
        false => crate::train::check_output(output, false),
    }
}
