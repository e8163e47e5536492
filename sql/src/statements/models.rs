//! `CREATE MODEL`, `DROP MODEL` and `SHOW MODELS`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use sembla_models::{ModelKind, ModelSpec, Precision};

use super::Outcome;
use crate::SqlError;
use crate::engine::{ModelEntry, Models};
use crate::query::blocking;
use crate::syntax::CreateModel;

/// Loads a model and gives it a name.
///
/// # Errors
/// A name that is taken, options that can't be, and whatever loading says.
pub(crate) fn create(models: &Models, create: CreateModel) -> Result<Outcome, SqlError> {
    let CreateModel { name, or_replace, if_not_exists, options, .. } = create;
    if let Some(outcome) = taken(models, &name, or_replace, if_not_exists)? {
        return Ok(outcome);
    }
    let mut spec = ModelSpec::new("");
    for (key, value) in &options {
        spec.set(key, value)?;
    }
    if spec.source.is_empty() {
        return Err(SqlError::Statement(format!(
            "CREATE MODEL {name} needs the option path = '…'"
        )));
    }
    let model = blocking(|| models.add(&name, spec))?;
    let info = model.info();
    Ok(Outcome::Done(format!(
        "model '{name}' created: {} in {} on {}",
        info.architecture, info.precision, info.device
    )))
}

/// What is to be done where a model has the name of a new one already: nothing (`None`) if there is
/// none, or it gives way.
///
/// # Errors
/// When neither the statement nor the model gives way.
pub(super) fn taken(
    models: &Models,
    name: &str,
    or_replace: bool,
    if_not_exists: bool,
) -> Result<Option<Outcome>, SqlError> {
    if !models.contains(name) || or_replace {
        return Ok(None);
    }
    if if_not_exists {
        return Ok(Some(Outcome::Done(format!("model '{name}' already exists"))));
    }
    Err(SqlError::Statement(format!(
        "model '{name}' already exists; CREATE OR REPLACE MODEL replaces it"
    )))
}

/// Forgets the name of a model.
///
/// # Errors
/// When there is no model of that name.
pub(crate) fn drop(models: &Models, name: &str, if_exists: bool) -> Result<Outcome, SqlError> {
    if models.remove(name) {
        return Ok(Outcome::Done(format!("model '{name}' dropped")));
    }
    if if_exists {
        return Ok(Outcome::Done(format!("model '{name}' does not exist")));
    }
    Err(models.unknown(name).into())
}

/// The rows of `SHOW MODELS`, by name. Loads none; what is known only of a loaded model is NULL for
/// the others.
///
/// # Errors
/// When arrow can't put the columns together.
pub(crate) fn rows(models: &Models) -> Result<RecordBatch, SqlError> {
    let entries = models.list();
    let text = |value: fn(&ModelEntry) -> Option<String>| -> ArrayRef {
        Arc::new(entries.iter().map(value).collect::<StringArray>())
    };
    let number = |value: fn(&ModelEntry) -> Option<u64>| -> ArrayRef {
        Arc::new(entries.iter().map(value).collect::<UInt64Array>())
    };
    let flag = |value: fn(&ModelEntry) -> bool| -> ArrayRef {
        Arc::new(entries.iter().map(|entry| Some(value(entry))).collect::<BooleanArray>())
    };
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("name", text(|entry| Some(entry.name.clone())), false),
        ("is_default", flag(|entry| entry.is_default), false),
        ("loaded", flag(|entry| entry.model.is_some()), false),
        ("kind", text(kind), true),
        ("takes", text(takes), true),
        ("dimension", number(dimension), true),
        ("max_length", number(max_length), true),
        ("precision", text(precision), true),
        ("device", text(|entry| Some(entry.spec.device.to_string())), false),
        ("path", text(|entry| Some(entry.spec.source.clone())), false),
    ]);
    batch.map_err(|error| SqlError::Bug(error.to_string()))
}

fn kind(entry: &ModelEntry) -> Option<String> {
    let kind = match entry.model.as_ref()?.info().kind {
        ModelKind::Encoder => "encoder",
        ModelKind::Static => "static",
        ModelKind::CrossEncoder => "cross-encoder",
    };
    Some(kind.to_string())
}

fn takes(entry: &ModelEntry) -> Option<String> {
    Some(entry.model.as_ref()?.info().takes.to_string())
}

fn dimension(entry: &ModelEntry) -> Option<u64> {
    let dimension = entry.model.as_ref()?.info().dimension;
    (dimension > 0).then_some(dimension as u64)
}

fn max_length(entry: &ModelEntry) -> Option<u64> {
    let loaded = entry.model.as_ref().and_then(|model| model.info().max_length);
    loaded.or(entry.spec.max_length).map(|tokens| tokens as u64)
}

fn precision(entry: &ModelEntry) -> Option<String> {
    let loaded = entry.model.as_ref().map(|model| model.info().precision);
    loaded.or(entry.spec.precision).as_ref().map(Precision::to_string)
}
