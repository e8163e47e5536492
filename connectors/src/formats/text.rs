//! Payloads that are one value: `text` (UTF-8) and `raw` (any bytes).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, LargeBinaryArray, LargeStringArray, StringArray,
    StringViewArray,
};
use arrow::datatypes::DataType;
use sembla_runtime::{Error, Result};

use super::metadata::{is_bytes, is_text};
use super::{Column, Columns, PayloadReader};

/// Reads a payload as one value.
pub(super) struct ValueReader {
    data_type: DataType,
}

impl ValueReader {
    /// For the format `text` or `raw`, and the columns of the payload.
    ///
    /// # Errors
    /// [`Error::Option`] unless there is exactly one column of the right type.
    pub(super) fn new(format: &str, columns: &[Column]) -> Result<Self> {
        let (fits, wanted): (fn(&DataType) -> bool, _) = match format {
            "raw" => (is_bytes, "BYTEA"),
            _ => (is_text, "VARCHAR"),
        };
        match columns {
            [column] if fits(&column.data_type) => Ok(Self { data_type: column.data_type.clone() }),
            [column] => Err(Error::Option(format!(
                "column '{}' is {}, but format '{format}' yields {wanted}",
                column.name, column.data_type
            ))),
            _ => Err(Error::Option(format!(
                "format '{format}' fills one column of type {wanted}, but {} columns are declared \
                 beside those of METADATA FROM",
                columns.len()
            ))),
        }
    }
}

impl PayloadReader for ValueReader {
    fn read(&mut self, payloads: &[&[u8]]) -> std::result::Result<Columns, String> {
        let bytes = payloads.iter().copied();
        let array: ArrayRef = match self.data_type {
            DataType::Binary => Arc::new(BinaryArray::from_iter_values(bytes)),
            DataType::LargeBinary => Arc::new(LargeBinaryArray::from_iter_values(bytes)),
            DataType::BinaryView => Arc::new(BinaryViewArray::from_iter_values(bytes)),
            _ => {
                let texts = payloads.iter().map(|payload| as_text(payload));
                let texts = texts.collect::<std::result::Result<Vec<_>, _>>()?;
                match self.data_type {
                    DataType::Utf8View => Arc::new(StringViewArray::from_iter_values(texts)),
                    DataType::LargeUtf8 => Arc::new(LargeStringArray::from_iter_values(texts)),
                    _ => Arc::new(StringArray::from_iter_values(texts)),
                }
            }
        };
        Ok(Columns { arrays: vec![array], rows: None })
    }
}

/// Bytes as text.
///
/// # Errors
/// Where they stop being UTF-8.
pub(super) fn as_text(bytes: &[u8]) -> std::result::Result<&str, String> {
    std::str::from_utf8(bytes)
        .map_err(|error| format!("the payload is not UTF-8: bad byte at {}", error.valid_up_to()))
}
