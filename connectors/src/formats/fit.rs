//! Makes an array of a format's own type one of the declared type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, TimeUnit};

use super::Column;

/// The array as the column is declared. Numbers become times by `unit`. A value that the
/// declared type can't hold is an error, not NULL.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, Int64Array, StringArray};
/// use arrow::datatypes::{DataType, TimeUnit};
/// use sembla_connectors::formats::{Column, fit};
///
/// let texts: ArrayRef = Arc::new(StringArray::from(vec!["7", "8"]));
/// let numbers = fit(&texts, &Column::new("id", DataType::Int64, true), TimeUnit::Millisecond);
/// assert_eq!(numbers.expect("numbers").as_ref(), &Int64Array::from(vec![7, 8]));
/// ```
///
/// # Errors
/// One line that names the column.
pub fn fit(
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
        DataType::Timestamp(_, zone) if from.is_floating() => {
            let numbers = cast(array, &DataType::Float64)?;
            let micros = numbers
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|number| (number * micros_in(unit)).floor());
            let micros: ArrayRef = Arc::new(micros);
            let whole = cast(&micros, &DataType::Int64)?;
            cast(&cast(&whole, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?, to)
        }
        _ => cast(array, to),
    }
}

fn micros_in(unit: TimeUnit) -> f64 {
    match unit {
        TimeUnit::Second => 1e6,
        TimeUnit::Millisecond => 1e3,
        TimeUnit::Microsecond => 1.0,
        TimeUnit::Nanosecond => 1e-3,
    }
}

/// The unit that an option names: `s`, `ms`, `us`.
pub fn time_unit(name: &str) -> TimeUnit {
    match name {
        "s" => TimeUnit::Second,
        "us" => TimeUnit::Microsecond,
        _ => TimeUnit::Millisecond,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray};
    use arrow::datatypes::TimestampMicrosecondType;

    use super::*;

    fn times(array: impl Array + 'static, unit: &str) -> Result<Vec<Option<i64>>, String> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let array: ArrayRef = Arc::new(array);
        let times = fit(&array, &Column::new("at", time, true), time_unit(unit))?;
        Ok(times.as_primitive::<TimestampMicrosecondType>().iter().collect())
    }

    #[test]
    fn numbers_are_times_by_their_unit() {
        let numbers = || Int64Array::from(vec![Some(-2), None, Some(3)]);
        assert_eq!(times(numbers(), "s"), Ok(vec![Some(-2_000_000), None, Some(3_000_000)]));
        assert_eq!(times(numbers(), "ms"), Ok(vec![Some(-2000), None, Some(3000)]));
        assert_eq!(times(numbers(), "us"), Ok(vec![Some(-2), None, Some(3)]));
        let fractions = Float64Array::from(vec![1.5, -0.0000015]);
        assert_eq!(times(fractions, "s"), Ok(vec![Some(1_500_000), Some(-2)]));
    }

    #[test]
    fn texts_are_times_in_utc() {
        let texts = StringArray::from(vec!["1970-01-01 00:00:01", "1970-01-01T01:00:00+01:00"]);
        assert_eq!(times(texts, "ms"), Ok(vec![Some(1_000_000), Some(0)]));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for refused in [
            times(Int64Array::from(vec![i64::MAX]), "s"),
            times(Float64Array::from(vec![f64::NAN]), "s"),
            times(Float64Array::from(vec![1e300]), "us"),
            times(StringArray::from(vec!["soon"]), "ms"),
        ] {
            let error = refused.expect_err("refused");
            assert!(error.contains("column 'at'"), "{error}");
        }
    }
}
