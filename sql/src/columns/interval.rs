//! Lengths of time that SQL gives as intervals, in microseconds.
//!
//! A day has 24 hours here. Months are rejected, because they differ in length.

use std::fmt;

use datafusion::common::ScalarValue;

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// An interval in microseconds.
///
/// # Errors
/// What it must be, to follow the name of what was given.
pub(crate) fn micros(value: &ScalarValue) -> Result<i64, &'static str> {
    const NO_INTERVAL: &str = "must be an interval such as INTERVAL '10 minutes'";
    let (days, nanos) = match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months != 0 => {
            return Err("must be in days or smaller units, as months differ in length");
        }
        ScalarValue::IntervalYearMonth(Some(_)) => {
            return Err("must be in days or smaller units, as months differ in length");
        }
        ScalarValue::IntervalMonthDayNano(Some(interval)) => (interval.days, interval.nanoseconds),
        ScalarValue::IntervalDayTime(Some(interval)) => {
            (interval.days, i64::from(interval.milliseconds) * 1_000_000)
        }
        _ => return Err(NO_INTERVAL),
    };
    if nanos % 1000 != 0 {
        return Err("must be a whole number of microseconds");
    }
    i64::from(days)
        .checked_mul(DAY_US)
        .and_then(|days| days.checked_add(nanos / 1000))
        .ok_or("must be shorter than 292471 years")
}

/// A length of time for people, in the largest unit that it is a whole number of: `10 minutes`.
pub(crate) struct Shown(pub(crate) i64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: &[(&str, i64)] = &[
            ("day", DAY_US),
            ("hour", HOUR_US),
            ("minute", MINUTE_US),
            ("second", SECOND_US),
            ("millisecond", 1000),
        ];
        let whole = UNITS.iter().find(|(_, unit)| self.0 != 0 && self.0 % unit == 0);
        let (name, unit) = whole.copied().unwrap_or(("microsecond", 1));
        let count = self.0 / unit;
        write!(f, "{count} {name}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{IntervalDayTime, IntervalMonthDayNano};

    use super::*;

    fn of(months: i32, days: i32, nanos: i64) -> ScalarValue {
        ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos)))
    }

    #[test]
    fn intervals_are_microseconds() {
        assert_eq!(micros(&of(0, 1, 1000)), Ok(DAY_US + 1));
        assert_eq!(micros(&of(0, -1, 0)), Ok(-DAY_US));
        let day_time = ScalarValue::IntervalDayTime(Some(IntervalDayTime::new(2, 5)));
        assert_eq!(micros(&day_time), Ok(2 * DAY_US + 5000));
        assert_eq!(
            micros(&of(1, 0, 0)),
            Err("must be in days or smaller units, as months differ in length")
        );
        assert_eq!(micros(&of(0, 0, 1)), Err("must be a whole number of microseconds"));
        for other in [ScalarValue::Null, ScalarValue::from("1 day"), ScalarValue::Int64(Some(5))] {
            assert!(micros(&other).is_err_and(|why| why.contains("INTERVAL")), "{other}");
        }
        assert_eq!(micros(&of(0, i32::MAX, 0)), Err("must be shorter than 292471 years"));
        assert_eq!(micros(&of(0, 0, i64::MAX / 1000 * 1000)), Ok(i64::MAX / 1000));
    }

    #[test]
    fn lengths_are_for_people() {
        let shown = |us: i64| Shown(us).to_string();
        assert_eq!(shown(0), "0 microseconds");
        assert_eq!(shown(DAY_US), "1 day");
        assert_eq!(shown(90 * MINUTE_US), "90 minutes");
        assert_eq!(shown(1500), "1500 microseconds");
        assert_eq!(shown(-2000), "-2 milliseconds");
    }
}
