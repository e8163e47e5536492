//! Rows that have no value in a column that must have one.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Schema;

/// The rows with a NULL in a NOT NULL column of the schema, and why each can't be used.
pub(crate) fn missing(schema: &Schema, columns: &[ArrayRef]) -> BTreeMap<usize, String> {
    let mut reasons = BTreeMap::new();
    let strict = schema.fields().iter().zip(columns).filter(|(field, _)| !field.is_nullable());
    for (field, column) in strict {
        let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) else {
            continue;
        };
        for row in (0..column.len()).filter(|row| nulls.is_null(*row)) {
            reasons
                .entry(row)
                .or_insert_with(|| format!("column '{}' must not be NULL, but is", field.name()));
        }
    }
    reasons
}
