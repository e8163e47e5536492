//! The result of `SHOW MODELS`: one row for each model that has a name. Loads none.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use sembla_models::{ModelKind, Precision};

use crate::{ModelEntry, Models, SqlError};

/// The rows, by name. What is known only of a loaded model is NULL for the others.
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
