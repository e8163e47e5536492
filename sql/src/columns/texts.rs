//! Text arguments of functions, whatever string type they come in.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ColumnarValue;

use crate::SqlError;

/// A column of texts, or one text that stands for every row.
pub(crate) struct Texts {
    array: ArrayRef,
    /// Whether the array's one row stands for all.
    is_scalar: bool,
}

impl Texts {
    /// Reads an argument whose type [`check_text`] has passed.
    ///
    /// # Errors
    /// When the type is none of text.
    pub(crate) fn new(value: &ColumnarValue) -> Result<Self, DataFusionError> {
        let (array, is_scalar) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let array = match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => array,
            DataType::Null => new_null_array(&DataType::Utf8, array.len()),
            DataType::Dictionary(_, values) => cast(&array, values)?,
            other => return Err(not_a_text("the function", other).into()),
        };
        Ok(Self { array, is_scalar })
    }

    /// The text of a row; `None` for NULL.
    pub(crate) fn row(&self, row: usize) -> Option<&str> {
        let row = if self.is_scalar { 0 } else { row };
        if self.array.is_null(row) {
            return None;
        }
        Some(match self.array.data_type() {
            DataType::Utf8 => self.array.as_string::<i32>().value(row),
            DataType::LargeUtf8 => self.array.as_string::<i64>().value(row),
            _ => self.array.as_string_view().value(row),
        })
    }
}

/// Checks that an argument is text.
///
/// # Errors
/// [`SqlError::Statement`] with the function and the type.
pub(crate) fn check_text(function: &str, data_type: &DataType) -> Result<(), SqlError> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Ok(()),
        DataType::Dictionary(_, values) => check_text(function, values),
        other => Err(not_a_text(function, other)),
    }
}

/// The text of a literal; `None` for NULL.
///
/// # Errors
/// When it is not a text.
pub(crate) fn literal_text<'a>(
    what: &str,
    value: &'a ScalarValue,
) -> Result<Option<&'a str>, SqlError> {
    if value.is_null() {
        return Ok(None);
    }
    match value.try_as_str() {
        Some(text) => Ok(text),
        None => Err(SqlError::Statement(format!("{what} must be a text, got {value}"))),
    }
}

fn not_a_text(function: &str, data_type: &DataType) -> SqlError {
    SqlError::Statement(format!(
        "{function} takes a text, not {data_type}; cast it with CAST(… AS VARCHAR)"
    ))
}
