//! Rows that can't be read, as a column beside those that can.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use sembla_connectors::replay::unreadable;
use sembla_runtime::row_json;

use super::Place;
use crate::SqlError;
use crate::error::arrow_error;

/// A row that can't be read.
pub(super) struct Letter {
    pub(super) file: String,
    pub(super) line: i64,
    pub(super) reason: String,
    pub(super) bytes: Vec<u8>,
}

impl Letter {
    /// For all of a file, or what is left of it.
    pub(super) fn of_file(file: String, reason: String) -> Self {
        Self { file, line: 0, reason, bytes: Vec::new() }
    }

    /// For a row that was read, which is given as JSON.
    pub(super) fn of_row(file: &str, place: Place, reason: String, row: &RecordBatch) -> Self {
        let bytes = row_json(row).map(|json| json.to_vec()).unwrap_or_default();
        Self { file: file.to_string(), line: place.line.unwrap_or(place.row), reason, bytes }
    }
}

/// What is known of rows that can't be read, behind so many that could be.
pub(super) fn letters_column(good: usize, letters: &[Letter]) -> Result<ArrayRef, SqlError> {
    let DataType::Struct(fields) = unreadable() else {
        return Err(SqlError::Bug("what is known of a row is not a struct".into()));
    };
    let text = |of: fn(&Letter) -> &str| -> ArrayRef {
        let nothing = std::iter::repeat_n("", good);
        Arc::new(StringArray::from_iter_values(nothing.chain(letters.iter().map(of))))
    };
    let lines = std::iter::repeat_n(0, good).chain(letters.iter().map(|letter| letter.line));
    let nothing: &[u8] = b"";
    let bytes = letters.iter().map(|letter| letter.bytes.as_slice());
    let bytes = std::iter::repeat_n(nothing, good).chain(bytes);
    let columns: Vec<ArrayRef> = vec![
        text(|letter| &letter.file),
        Arc::new(Int64Array::from_iter_values(lines)),
        text(|letter| &letter.reason),
        Arc::new(BinaryArray::from_iter_values(bytes)),
    ];
    let valid = (0..good + letters.len()).map(|row| row >= good).collect::<Vec<bool>>();
    StructArray::try_new(fields, columns, Some(NullBuffer::from(valid)))
        .map(|column| Arc::new(column) as ArrayRef)
        .map_err(|error| arrow_error(&error))
}
