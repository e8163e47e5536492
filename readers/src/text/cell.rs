//! Values of one column, put together one by one from text or JSON.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanBuilder, PrimitiveBuilder, StringBuilder,
};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::text::json::nested::{ListCell, ObjectCell};
use crate::text::json::scan::{Scanner, Value};
use crate::text::records::Fault;
use crate::text::temporal;

/// Letters of a value that a message shows.
const SHOWN_CHARS_MAX: usize = 60;

/// A value that can't be read as its column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The fields within the column that lead to it, the innermost first.
    path: Vec<String>,
    what: String,
    is_limit: bool,
}

impl Misfit {
    /// A value that isn't of the type.
    pub(crate) fn value(value: &str, to: &DataType) -> Self {
        let shown = match value.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
            None => value.to_string(),
        };
        Self::because(format!("'{shown}' can't be read as {to}"))
    }

    pub(crate) fn because(what: String) -> Self {
        Self { path: Vec::new(), what, is_limit: false }
    }

    pub(crate) fn too_long(limits: &Limits) -> Self {
        let what = format!("a value exceeds value_bytes_max ({} bytes)", limits.value_bytes_max);
        Self { path: Vec::new(), what, is_limit: true }
    }

    /// The same, within a field.
    pub(crate) fn within(mut self, field: &str) -> Self {
        self.path.push(field.to_string());
        self
    }

    /// The fault of a record that has the value in that column; without one the outermost field is
    /// the column.
    pub(crate) fn fault(&self, record: &str, column: Option<&str>) -> Fault {
        let path: Vec<&str> =
            column.into_iter().chain(self.path.iter().rev().map(String::as_str)).collect();
        let what = format!("{record}, column '{}': {}", path.join("."), self.what);
        Fault { what, is_limit: self.is_limit }
    }
}

pub(crate) type Fits = std::result::Result<(), Misfit>;

/// Values of one type. Each call of a `push` appends one value; where it doesn't fit, that is NULL.
pub(crate) trait Cell: Send {
    fn push_null(&mut self);

    /// Appends what a text says, which isn't empty.
    fn push_text(&mut self, text: &str) -> Fits;

    /// Appends the JSON value at the scanner, which was checked before, and moves behind it.
    fn push_json(&mut self, scanner: &mut Scanner<'_>) -> Fits {
        match scanner.value() {
            Value::Null => {
                self.push_null();
                Ok(())
            }
            Value::Text("") => self.push_empty(),
            Value::Text(text) | Value::Scalar(text) => self.push_text(text),
            Value::Nested(text) => self.push_nested(text),
        }
    }

    /// Appends an empty text, which only a text can be.
    fn push_empty(&mut self) -> Fits {
        self.push_null();
        Ok(())
    }

    /// Appends the JSON of a list or an object.
    fn push_nested(&mut self, json: &str) -> Fits {
        self.push_text(json)
    }

    fn len(&self) -> usize;

    /// The values so far, and the positions of those that turned out not to fit and are NULL.
    fn finish(&mut self) -> (ArrayRef, Vec<usize>);
}

/// An empty column of a type. Numbers in a column of times count `epoch_unit` since 1970.
///
/// # Errors
/// [`Error::Option`] for a type that can't be read from text.
pub(crate) fn cell(to: &DataType, epoch_unit: TimeUnit) -> Result<Box<dyn Cell>> {
    Ok(match to {
        DataType::Boolean => Box::new(Booleans(BooleanBuilder::new())),
        DataType::Int8 => numbers::<Int8Type>(),
        DataType::Int16 => numbers::<Int16Type>(),
        DataType::Int32 => numbers::<Int32Type>(),
        DataType::Int64 => numbers::<Int64Type>(),
        DataType::UInt8 => numbers::<UInt8Type>(),
        DataType::UInt16 => numbers::<UInt16Type>(),
        DataType::UInt32 => numbers::<UInt32Type>(),
        DataType::UInt64 => numbers::<UInt64Type>(),
        DataType::Float32 => numbers::<Float32Type>(),
        DataType::Float64 => numbers::<Float64Type>(),
        DataType::Date32 => Box::new(Dates(PrimitiveBuilder::new())),
        DataType::Timestamp(unit, None) => match unit {
            TimeUnit::Second => times::<TimestampSecondType>(*unit, epoch_unit),
            TimeUnit::Millisecond => times::<TimestampMillisecondType>(*unit, epoch_unit),
            TimeUnit::Microsecond => times::<TimestampMicrosecondType>(*unit, epoch_unit),
            TimeUnit::Nanosecond => times::<TimestampNanosecondType>(*unit, epoch_unit),
        },
        DataType::List(item) => Box::new(ListCell::new(item, to, epoch_unit)?),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Box::new(ListCell::new(item, to, epoch_unit)?)
        }
        DataType::Struct(fields) => Box::new(ObjectCell::new(fields, epoch_unit)?),
        _ if can_cast_types(&DataType::Utf8, to) => {
            Box::new(Texts { texts: StringBuilder::new(), to: to.clone() })
        }
        _ => return Err(Error::Option(format!("text can't be read as {to}"))),
    })
}

/// Texts, and what Arrow makes of them.
struct Texts {
    texts: StringBuilder,
    to: DataType,
}

impl Texts {
    fn holds_any_text(&self) -> bool {
        matches!(self.to, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    }
}

impl Cell for Texts {
    fn push_null(&mut self) {
        self.texts.append_null();
    }

    fn push_text(&mut self, text: &str) -> Fits {
        self.texts.append_value(text);
        Ok(())
    }

    fn push_empty(&mut self) -> Fits {
        match self.holds_any_text() {
            true => self.texts.append_value(""),
            false => self.texts.append_null(),
        }
        Ok(())
    }

    fn len(&self) -> usize {
        arrow::array::ArrayBuilder::len(&self.texts)
    }

    fn finish(&mut self) -> (ArrayRef, Vec<usize>) {
        let texts: ArrayRef = Arc::new(self.texts.finish());
        if self.to == DataType::Utf8 {
            return (texts, Vec::new());
        }
        let lenient = CastOptions { safe: true, ..CastOptions::default() };
        match cast_with_options(&texts, &self.to, &lenient) {
            Ok(values) => {
                let misfits = (0..texts.len())
                    .filter(|at| values.is_null(*at) && !texts.is_null(*at))
                    .collect();
                (values, misfits)
            }
            Err(_) => {
                let misfits = (0..texts.len()).filter(|at| !texts.is_null(*at)).collect();
                (arrow::array::new_null_array(&self.to, texts.len()), misfits)
            }
        }
    }
}

struct Booleans(BooleanBuilder);

impl Cell for Booleans {
    fn push_null(&mut self) {
        self.0.append_null();
    }

    fn push_text(&mut self, text: &str) -> Fits {
        let value = match text {
            _ if text.eq_ignore_ascii_case("true") => true,
            _ if text.eq_ignore_ascii_case("false") => false,
            _ => {
                self.0.append_null();
                return Err(Misfit::value(text, &DataType::Boolean));
            }
        };
        self.0.append_value(value);
        Ok(())
    }

    fn len(&self) -> usize {
        arrow::array::ArrayBuilder::len(&self.0)
    }

    fn finish(&mut self) -> (ArrayRef, Vec<usize>) {
        (Arc::new(self.0.finish()), Vec::new())
    }
}

/// Numbers that the standard library parses.
struct Numbers<T: ArrowPrimitiveType>(PrimitiveBuilder<T>);

fn numbers<T: ArrowPrimitiveType>() -> Box<dyn Cell>
where
    T::Native: std::str::FromStr,
{
    Box::new(Numbers::<T>(PrimitiveBuilder::new()))
}

impl<T: ArrowPrimitiveType> Cell for Numbers<T>
where
    T::Native: std::str::FromStr,
{
    fn push_null(&mut self) {
        self.0.append_null();
    }

    fn push_text(&mut self, text: &str) -> Fits {
        match text.parse() {
            Ok(value) => {
                self.0.append_value(value);
                Ok(())
            }
            Err(_) => {
                self.0.append_null();
                Err(Misfit::value(text, &T::DATA_TYPE))
            }
        }
    }

    fn len(&self) -> usize {
        arrow::array::ArrayBuilder::len(&self.0)
    }

    fn finish(&mut self) -> (ArrayRef, Vec<usize>) {
        (Arc::new(self.0.finish()), Vec::new())
    }
}

struct Dates(PrimitiveBuilder<Date32Type>);

impl Cell for Dates {
    fn push_null(&mut self) {
        self.0.append_null();
    }

    fn push_text(&mut self, text: &str) -> Fits {
        match temporal::date(text.as_bytes()) {
            Some(days) => {
                self.0.append_value(days);
                Ok(())
            }
            None => {
                self.0.append_null();
                Err(Misfit::value(text, &DataType::Date32))
            }
        }
    }

    fn len(&self) -> usize {
        arrow::array::ArrayBuilder::len(&self.0)
    }

    fn finish(&mut self) -> (ArrayRef, Vec<usize>) {
        (Arc::new(self.0.finish()), Vec::new())
    }
}

/// Times without a zone, which are in UTC.
struct Times<T: ArrowPrimitiveType<Native = i64>> {
    values: PrimitiveBuilder<T>,
    unit: TimeUnit,
    epoch_unit: TimeUnit,
}

fn times<T: ArrowPrimitiveType<Native = i64>>(
    unit: TimeUnit,
    epoch_unit: TimeUnit,
) -> Box<dyn Cell> {
    Box::new(Times { values: PrimitiveBuilder::<T>::new(), unit, epoch_unit })
}

impl<T: ArrowPrimitiveType<Native = i64>> Times<T> {
    fn value(&self, text: &str) -> Option<i64> {
        match temporal::time(text) {
            Some(time) => time.since_1970(self.unit),
            None => temporal::of_number(text, self.epoch_unit)?.since_1970(self.unit),
        }
    }
}

impl<T: ArrowPrimitiveType<Native = i64>> Cell for Times<T> {
    fn push_null(&mut self) {
        self.values.append_null();
    }

    fn push_text(&mut self, text: &str) -> Fits {
        match self.value(text) {
            Some(value) => {
                self.values.append_value(value);
                Ok(())
            }
            None => {
                self.values.append_null();
                Err(Misfit::value(text, &DataType::Timestamp(self.unit, None)))
            }
        }
    }

    fn len(&self) -> usize {
        arrow::array::ArrayBuilder::len(&self.values)
    }

    fn finish(&mut self) -> (ArrayRef, Vec<usize>) {
        (Arc::new(self.values.finish()), Vec::new())
    }
}
