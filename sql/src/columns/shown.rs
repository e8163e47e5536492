//! A value of a column as messages show it.

use arrow::array::ArrayRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::SqlError;
use crate::error::arrow_error;

/// A value as messages show it.
///
/// # Errors
/// When arrow can't write values of its type.
pub(crate) fn shown(column: &ArrayRef, row: usize) -> Result<String, SqlError> {
    let options = FormatOptions::default();
    let column = ArrayFormatter::try_new(column.as_ref(), &options);
    Ok(column.map_err(|error| arrow_error(&error))?.value(row).to_string())
}
