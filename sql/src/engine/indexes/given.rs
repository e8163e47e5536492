//! Rows as `index_rows` gives them to an index: their columns, their vectors, and what those say of
//! where they come from.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use sembla_models::provenance::PROMPT;
use sembla_operators::UnitVectors;

use crate::SqlError;
use crate::columns::VECTORS_COLUMN;
use crate::columns::provenance::{self, Metadata};
use crate::columns::vectors::Vectors;
use crate::error::arrow_error;

/// What an index keeps of rows. Only ids must be there: rows that come later may lack the rest.
pub(super) fn rows_schema(schema: &SchemaRef) -> Schema {
    let kept = schema.fields().iter().filter(|field| field.name() != VECTORS_COLUMN);
    let fields = kept.enumerate().map(|(n, field)| {
        let nullable = field.is_nullable() || n > 0;
        field.as_ref().clone().with_nullable(nullable)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// What rows as `index_rows` gives them say of where their vectors come from, but for the prompt.
/// In an index its key is an option of how rows are read, which is a prompt's name.
pub(crate) fn provenance_of(schema: &SchemaRef) -> Result<Metadata, SqlError> {
    let field = schema.field_with_name(VECTORS_COLUMN);
    let mut provenance = provenance::said(field.map_err(|error| arrow_error(&error))?.metadata());
    provenance.remove(PROMPT);
    Ok(provenance)
}

pub(super) fn dimension(schema: &SchemaRef) -> Result<usize, SqlError> {
    match schema.field_with_name(VECTORS_COLUMN).map(|field| field.data_type()) {
        Ok(DataType::FixedSizeList(_, size)) => Ok(usize::try_from(*size).unwrap_or_default()),
        _ => Err(SqlError::Bug("rows of an index have no vectors".into())),
    }
}

pub(super) fn unit_vectors(array: &ArrayRef) -> Result<UnitVectors, SqlError> {
    let vectors = Vectors::from_array(array, false)?;
    let mut values = Vec::new();
    for row in 0..array.len() {
        values.extend_from_slice(vectors.row(row).unwrap_or_default());
    }
    let dimension = values.len().checked_div(array.len()).unwrap_or(1);
    Ok(UnitVectors::new(dimension.max(1), values)?)
}
