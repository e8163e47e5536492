//! Makes an array of a format's own type one of the declared type.

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};

use super::Column;

/// The array as the column is declared. Whole numbers become times by `unit`. A value that the
/// declared type can't hold is an error, not NULL.
///
/// # Errors
/// One line that names the column.
pub(super) fn fit(
    array: &ArrayRef,
    column: &Column,
    unit: TimeUnit,
) -> std::result::Result<ArrayRef, String> {
    let (from, to) = (array.data_type(), &column.data_type);
    if from == to {
        return Ok(ArrayRef::clone(array));
    }
    if from.is_floating() && to.is_integer() {
        return Err(format!("column '{}' is {to}, but the data has {from}", column.name));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |array: &ArrayRef, to: &DataType| {
        cast_with_options(array, to, &strict).map_err(|error| {
            let text = error.to_string();
            let text = text.strip_prefix("Cast error: ").unwrap_or(&text);
            format!("column '{}': {text}", column.name)
        })
    };
    match to {
        DataType::Timestamp(_, zone) if from.is_integer() => {
            let numbers = cast(array, &DataType::Int64)?;
            cast(&cast(&numbers, &DataType::Timestamp(unit, zone.clone()))?, to)
        }
        _ => cast(array, to),
    }
}

/// The unit that an option names: `s`, `ms`, `us`.
pub(super) fn time_unit(name: &str) -> TimeUnit {
    match name {
        "s" => TimeUnit::Second,
        "us" => TimeUnit::Microsecond,
        _ => TimeUnit::Millisecond,
    }
}
