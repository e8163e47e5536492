//! The event times of rows as microseconds since 1970 in UTC.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

use crate::SqlError;
use crate::error::arrow_error;

/// The times of a column of timestamps or dates. What is finer than a microsecond is cut off
/// towards the past, so that no row gets into a later window.
///
/// # Errors
/// [`SqlError::Data`] for a NULL, and for a time that microseconds can't hold. `function` and
/// `column` are for the message.
pub(super) fn micros(
    function: &str,
    column: &str,
    times: &ArrayRef,
) -> Result<Int64Array, SqlError> {
    if times.null_count() > 0 {
        return Err(SqlError::Data(format!(
            "{function}: {column} is NULL in a row, so the row is in no window; leave such rows out: \
             {function}((SELECT … WHERE {column} IS NOT NULL), …)"
        )));
    }
    converted(times).map_err(|error| {
        SqlError::Data(format!(
            "{function}: {column} has an impossible time: {}",
            arrow_error(&error)
        ))
    })
}

fn converted(times: &ArrayRef) -> Result<Int64Array, ArrowError> {
    let scaled = |factor: i64| {
        move |time: i64| {
            let out_of_range = || ArrowError::ComputeError(format!("{time} is too far from 1970"));
            time.checked_mul(factor).ok_or_else(out_of_range)
        }
    };
    match times.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let times = times.as_primitive::<TimestampNanosecondType>();
            Ok(times.unary::<_, Int64Type>(|time| time.div_euclid(1000)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Ok(times.as_primitive::<TimestampMicrosecondType>().reinterpret_cast::<Int64Type>())
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            times.as_primitive::<TimestampMillisecondType>().try_unary(scaled(1000))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            times.as_primitive::<TimestampSecondType>().try_unary(scaled(1_000_000))
        }
        _ => {
            let times = cast(times, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            Ok(times.as_primitive::<TimestampMicrosecondType>().reinterpret_cast::<Int64Type>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Date32Array, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
    };

    use super::*;

    fn of(times: impl Array + 'static) -> Result<Vec<i64>, SqlError> {
        let times: ArrayRef = Arc::new(times);
        Ok(micros("tumble", "ts", &times)?.values().to_vec())
    }

    #[test]
    fn every_unit_is_microseconds() {
        let nanos = TimestampNanosecondArray::from(vec![0, -1, -1000, 1999]);
        assert_eq!(of(nanos), Ok(vec![0, -1, -1, 1]));
        let zoned = TimestampMillisecondArray::from(vec![-5]).with_timezone("+02:00");
        assert_eq!(of(zoned), Ok(vec![-5000]));
        assert_eq!(of(TimestampSecondArray::from(vec![7])), Ok(vec![7_000_000]));
        assert_eq!(of(Date32Array::from(vec![-1])), Ok(vec![-86_400_000_000]));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let far = of(TimestampSecondArray::from(vec![i64::MAX])).expect_err("too far");
        assert!(far.to_string().contains("too far from 1970"), "{far}");
        let null = of(TimestampSecondArray::from(vec![None])).expect_err("no time");
        assert!(null.to_string().contains("WHERE ts IS NOT NULL"), "{null}");
    }
}
