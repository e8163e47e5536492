//! The type of a column, found from all of its values.

use arrow::datatypes::DataType;

/// What was seen in a column. Guesses of parts of a file and of several files can be united, in
/// any order, with the same result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guess {}

impl Guess {
    /// Adds what was seen in another part or file.
    pub fn unite(&mut self, _other: &Guess) {}

    /// The narrowest type that holds every value seen: `Boolean`, `Int64`, `UInt64`, `Float64`,
    /// `Date32`, `Timestamp` without a time zone, `Utf8`, a `List` or a `Struct`. A column without
    /// a value is `Utf8`, and so is one of values that no other type holds without a loss.
    pub fn data_type(&self) -> DataType {
        DataType::Utf8
    }
}
