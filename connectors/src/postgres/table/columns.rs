//! What the columns of a table are read as.
//!
//! A type that has no counterpart (`uuid`, `jsonb`, enumerations, arrays) is read as the text that
//! PostgreSQL shows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};

use crate::postgres::catalogue::TableColumn;
use crate::postgres::names::quoted;
use crate::postgres::provenance::metadata_of;
use crate::postgres::types::PgType;

/// Digits that a decimal number of 128 bits has.
const DIGITS_MAX: u8 = 38;

/// How the bytes of a column's values are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Digits, and how many of them are behind the point.
    Decimal(u8, i8),
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    /// Vectors of 32-bit floats, of one dimension if the column has one.
    Vector(Option<i32>),
    /// The same of 16 bits.
    Halfvec(Option<i32>),
    /// Bits, eight to a byte.
    Bits(i32),
}

/// A column that can be read.
#[derive(Clone, Debug)]
pub(in crate::postgres) struct ReadColumn {
    /// Its name and type, and where its vectors come from if its comment says so.
    pub(super) field: FieldRef,
    pub(super) form: Form,
    /// Whether the values are texts for PostgreSQL too, so that it can compare them.
    pub(super) is_text: bool,
    /// What it is cast to on its way, if it is.
    cast: Option<&'static str>,
}

impl ReadColumn {
    /// What a column of a table is read as.
    pub(in crate::postgres) fn of(column: &TableColumn) -> Self {
        let (form, cast) = form_of(column);
        let data_type = form.data_type();
        let field = Field::new(&column.name, data_type, true);
        let metadata = match form {
            Form::Vector(_) | Form::Halfvec(_) | Form::Bits(_) => {
                column.comment.as_deref().map(metadata_of).unwrap_or_default()
            }
            _ => Default::default(),
        };
        Self {
            field: Arc::new(field.with_metadata(metadata)),
            form,
            is_text: column.pg == Some(PgType::Text),
            cast,
        }
    }

    /// The same as text.
    pub(in crate::postgres) fn as_text(column: &TableColumn) -> Self {
        let field = Arc::new(Field::new(&column.name, DataType::Utf8, true));
        Self { field, form: Form::Text, is_text: false, cast: Some("text") }
    }

    /// The column in the list of a SELECT.
    pub(in crate::postgres) fn sql(&self) -> String {
        let name = quoted(self.field.name());
        self.cast.map_or_else(|| name.clone(), |cast| format!("{name}::{cast}"))
    }
}

fn form_of(column: &TableColumn) -> (Form, Option<&'static str>) {
    let size = |size: Option<usize>| size.and_then(|size| i32::try_from(size).ok());
    let form = match column.pg {
        Some(PgType::Bool) => Form::Bool,
        Some(PgType::Int2) => Form::Int2,
        Some(PgType::Int4) => Form::Int4,
        Some(PgType::Int8) => Form::Int8,
        Some(PgType::Float4) => Form::Float4,
        Some(PgType::Float8) => Form::Float8,
        Some(PgType::Numeric) => match decimal(column.modifier) {
            Some((digits, scale)) => Form::Decimal(digits, scale),
            None => return (Form::Float8, Some("float8")),
        },
        Some(PgType::Text) => return (Form::Text, Some("text")),
        Some(PgType::Bytea) => Form::Bytes,
        Some(PgType::Date) => Form::Date,
        Some(PgType::Time) => Form::Time,
        Some(PgType::Timestamp) => Form::Timestamp,
        Some(PgType::TimestampTz) => Form::TimestampTz,
        Some(PgType::Vector(dimension)) => Form::Vector(size(dimension)),
        Some(PgType::Halfvec(dimension)) => Form::Halfvec(size(dimension)),
        Some(PgType::Bit(bits)) if bits % 8 == 0 => match i32::try_from(bits / 8) {
            Ok(bytes) => Form::Bits(bytes),
            Err(_) => return (Form::Text, Some("text")),
        },
        Some(PgType::Bit(_) | PgType::Json | PgType::Jsonb | PgType::Uuid) | None => {
            return (Form::Text, Some("text"));
        }
    };
    (form, None)
}

/// Digits and scale of `numeric(digits, scale)`, where 128 bits hold it.
fn decimal(modifier: i64) -> Option<(u8, i8)> {
    const OFFSET: i64 = 4;
    let both = modifier.checked_sub(OFFSET).filter(|both| *both >= 0)?;
    let digits = u8::try_from(both >> 16).ok().filter(|digits| *digits <= DIGITS_MAX)?;
    // Eleven bits with a sign; a scale below zero or above the digits is rare enough to be a float.
    let scale = i8::try_from(both & 0x7ff).ok()?;
    (scale.unsigned_abs() <= digits).then_some((digits, scale))
}

impl Form {
    /// The type in Arrow.
    pub(super) fn data_type(self) -> DataType {
        let list = |item| Arc::new(Field::new_list_field(item, true));
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Decimal(digits, scale) => DataType::Decimal128(digits, scale),
            Self::Text => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Vector(Some(size)) | Self::Halfvec(Some(size)) => {
                DataType::FixedSizeList(list(DataType::Float32), size)
            }
            Self::Vector(None) | Self::Halfvec(None) => DataType::List(list(DataType::Float32)),
            Self::Bits(bytes) => DataType::FixedSizeList(list(DataType::UInt8), bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_a_precision_keep_it() {
        assert_eq!(decimal((10 << 16) + 2 + 4), Some((10, 2)));
        assert_eq!(decimal((38 << 16) + 4), Some((38, 0)));
        assert_eq!(decimal((39 << 16) + 4), None);
        assert_eq!(decimal((2 << 16) + 5 + 4), None);
        // numeric(5, -2) has its scale in eleven bits with a sign.
        assert_eq!(decimal((5 << 16) + 0x7fe + 4), None);
        assert_eq!(decimal(-1), None);
    }
}
