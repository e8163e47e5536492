//! Columns of files as a source declares them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;

/// The option that says what a time given as a number counts.
const UNIT_OPTION: &str = "timestamp_unit";

/// What a time that is given as a number counts: the microseconds of its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NumberUnit(i64);

impl NumberUnit {
    /// The unit by the name that options have for it; milliseconds if none was given.
    pub(super) fn parse(given: Option<&str>) -> Result<Self, String> {
        match given {
            Some("s") => Ok(Self(1_000_000)),
            None | Some("ms") => Ok(Self(1000)),
            Some("us") => Ok(Self(1)),
            Some(other) => Err(format!("{UNIT_OPTION} is '{other}'; it is 's', 'ms' or 'us'")),
        }
    }

    /// The option's name.
    pub(super) const OPTION: &str = UNIT_OPTION;
}

/// Values of a declared type. Numbers become times by their unit; all else is cast as in SQL.
///
/// # Errors
/// For a value that the type can't hold.
pub(super) fn convert(
    values: &ArrayRef,
    declared: &DataType,
    unit: NumberUnit,
) -> Result<ArrayRef, ArrowError> {
    let strict = CastOptions { safe: false, ..Default::default() };
    let cast = |to: &DataType| cast_with_options(values, to, &strict);
    let is_time = matches!(declared, DataType::Timestamp(TimeUnit::Microsecond, _));
    let times: TimestampMicrosecondArray = if is_time && values.data_type().is_integer() {
        let numbers = cast(&DataType::Int64)?;
        numbers.as_primitive::<Int64Type>().try_unary::<_, TimestampMicrosecondType, _>(
            |number| number.checked_mul(unit.0).ok_or_else(|| out_of_range(&number.to_string())),
        )?
    } else if is_time && values.data_type().is_floating() {
        let numbers = cast(&DataType::Float64)?;
        numbers.as_primitive::<Float64Type>().try_unary::<_, TimestampMicrosecondType, _>(
            |number| {
                let micros = (number * unit.0 as f64).floor();
                let fits = micros.abs() < 9e18;
                fits.then_some(micros as i64).ok_or_else(|| out_of_range(&number.to_string()))
            },
        )?
    } else {
        return cast(declared);
    };
    Ok(Arc::new(times.with_data_type(declared.clone())))
}

fn out_of_range(number: &str) -> ArrowError {
    ArrowError::CastError(format!("{number} is no time"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray, UInt64Array};

    use super::*;
    use crate::catalogue::TIME_TYPE;

    fn times(values: impl Array + 'static, unit: &str) -> Result<Vec<Option<i64>>, ArrowError> {
        let unit = NumberUnit::parse(Some(unit)).expect("a unit");
        let values: ArrayRef = Arc::new(values);
        let times = convert(&values, &TIME_TYPE, unit)?;
        Ok(times.as_primitive::<TimestampMicrosecondType>().iter().collect())
    }

    #[test]
    fn numbers_are_times_by_their_unit() {
        let numbers = || Int64Array::from(vec![Some(-2), None, Some(3)]);
        assert_eq!(
            times(numbers(), "s").expect("times"),
            [Some(-2_000_000), None, Some(3_000_000)]
        );
        assert_eq!(times(numbers(), "ms").expect("times"), [Some(-2000), None, Some(3000)]);
        assert_eq!(times(numbers(), "us").expect("times"), [Some(-2), None, Some(3)]);
        let fractions = Float64Array::from(vec![1.5, -0.0000015]);
        assert_eq!(times(fractions, "s").expect("times"), [Some(1_500_000), Some(-2)]);
        assert_eq!(NumberUnit::parse(None), NumberUnit::parse(Some("ms")));
        assert!(NumberUnit::parse(Some("ns")).is_err());
    }

    #[test]
    fn texts_are_times_in_utc() {
        let texts = StringArray::from(vec!["1970-01-01 00:00:01", "1970-01-01T01:00:00+01:00"]);
        assert_eq!(times(texts, "ms").expect("times"), [Some(1_000_000), Some(0)]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(times(Int64Array::from(vec![i64::MAX]), "s").is_err());
        assert!(times(UInt64Array::from(vec![u64::MAX]), "us").is_err());
        assert!(times(Float64Array::from(vec![f64::NAN]), "s").is_err());
        assert!(times(StringArray::from(vec!["soon"]), "s").is_err());
    }
}
