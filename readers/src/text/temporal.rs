//! Dates and times in ISO form.
//!
//! The plain forms are read here; times with a zone are left to Arrow.

use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::TimeUnit;
use chrono::Utc;

use super::guess::Seen;

const DAY_SECONDS: i64 = 86_400;
const SECOND_NANOS: i64 = 1_000_000_000;

/// A time in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// Whole seconds since 1970, rounded down.
    seconds: i64,
    nanos: u32,
    /// Digits of the fraction as they are written.
    digits: usize,
}

impl Time {
    /// In a unit since 1970; `None` where 64 bits don't hold it. What is smaller than the unit is
    /// cut off.
    pub(crate) fn since_1970(self, unit: TimeUnit) -> Option<i64> {
        let per_second = match unit {
            TimeUnit::Second => 1,
            TimeUnit::Millisecond => 1_000,
            TimeUnit::Microsecond => 1_000_000,
            TimeUnit::Nanosecond => SECOND_NANOS,
        };
        let fraction = i64::from(self.nanos) / (SECOND_NANOS / per_second);
        let whole = i128::from(self.seconds) * i128::from(per_second) + i128::from(fraction);
        i64::try_from(whole).ok()
    }

    fn seen(self) -> Option<Seen> {
        let unit = match self.digits {
            0 => Seen::SECONDS,
            1..=3 => Seen::MILLIS,
            4..=6 => Seen::MICROS,
            7..=9 => Seen::NANOS,
            _ => return None,
        };
        Some(unit | self.range())
    }

    fn range(self) -> Seen {
        match self.since_1970(TimeUnit::Nanosecond) {
            Some(_) => Seen::NOTHING,
            None => Seen::FAR,
        }
    }
}

/// What a text is, if it is a date or a time: `2024-05-31`, `2024-05-31T12:30:00.25`, with `T` or a
/// space between, and optionally a zone.
pub(crate) fn seen(text: &str) -> Option<Seen> {
    let bytes = text.as_bytes();
    if bytes.len() < 10 || bytes.get(4) != Some(&b'-') {
        return None;
    }
    match bytes.len() {
        10 => {
            let seconds = i64::from(date(bytes)?) * DAY_SECONDS;
            Some(Seen::DATE | Time { seconds, nanos: 0, digits: 0 }.range())
        }
        _ => time(text)?.seen(),
    }
}

/// Days since 1970 of `YYYY-MM-DD`.
pub(crate) fn date(text: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = pair(*y1, *y2)? * 100 + pair(*y3, *y4)?;
    let (month, day) = (pair(*m1, *m2)?, pair(*d1, *d2)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i32::from(is_leap),
        _ => return None,
    };
    (1..=days).contains(&day).then(|| days_since_1970(year, month, day))
}

/// Counts from 1 March of year 0, so that a leap day is the last of a year, and then from 1970.
fn days_since_1970(year: i32, month: i32, day: i32) -> i32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// The time that a text is; a date is its midnight.
pub(crate) fn time(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    let days = date(bytes.get(..10)?)?;
    let midnight = i64::from(days) * DAY_SECONDS;
    if bytes.len() == 10 {
        return Some(Time { seconds: midnight, nanos: 0, digits: 0 });
    }
    let [b'T' | b' ', h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = bytes.get(10..)? else {
        return None;
    };
    let (hour, minute, second) = (pair(*h1, *h2)?, pair(*m1, *m2)?, pair(*s1, *s2)?);
    let fraction = rest.strip_prefix(b".").unwrap_or_default();
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if rest.first() == Some(&b'.') && !(1..=9).contains(&digits) {
        return None;
    }
    let used = if digits == 0 { 0 } else { digits + 1 };
    if used < rest.len() || hour > 23 || minute > 59 || second > 59 {
        return zoned(text, digits);
    }
    let nanos = fraction.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(Time {
        seconds: midnight + i64::from(hour * 3600 + minute * 60 + second),
        nanos: nanos * 10u32.pow(9 - digits as u32),
        digits,
    })
}

/// The time that a number is, which counts `unit` since 1970 and may have a fraction.
pub(crate) fn of_number(text: &str, unit: TimeUnit) -> Option<Time> {
    let per_unit = match unit {
        TimeUnit::Second => SECOND_NANOS,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    let nanos = match text.parse::<i64>() {
        Ok(whole) => i128::from(whole) * i128::from(per_unit),
        Err(_) => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
            let nanos = (number * (per_unit as f64 / 1e3)).floor() * 1e3;
            (nanos.abs() < i128::MAX as f64).then_some(nanos as i128)?
        }
    };
    let second = i128::from(SECOND_NANOS);
    Some(Time {
        seconds: i64::try_from(nanos.div_euclid(second)).ok()?,
        nanos: nanos.rem_euclid(second) as u32,
        digits: 9,
    })
}

/// A time with something behind it, or a leap second.
fn zoned(text: &str, digits: usize) -> Option<Time> {
    let time = string_to_datetime(&Utc, text).ok()?;
    Some(Time { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos(), digits })
}

fn pair(tens: u8, ones: u8) -> Option<i32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i32::from(tens - b'0') * 10 + i32::from(ones - b'0'))
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};

    use super::*;

    #[test]
    fn days_are_those_of_chrono() {
        let first = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
        for days in (-719_528..2_932_896).step_by(17) {
            let day = first + chrono::Duration::days(days);
            let text = format!("{:04}-{:02}-{:02}", day.year(), day.month(), day.day());
            assert_eq!(date(text.as_bytes()), Some(days as i32), "{text}");
        }
        for text in
            ["2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01", "2024-04-31", "2024-4-3"]
        {
            assert_eq!(date(text.as_bytes()), None, "{text}");
        }
        assert!(date(b"2000-02-29").is_some());
    }

    #[test]
    fn times_are_those_of_arrow() {
        for text in [
            "2024-05-31",
            "2024-05-31T12:30:01",
            "1969-12-31 23:59:59.9",
            "1601-01-01 00:00:00.000001",
            "2262-01-01T00:00:00.123456789",
            "2024-05-31T12:30:01Z",
            "2024-05-31T12:30:01.5+02:00",
            "2024-05-31 12:30:01 -05:30",
        ] {
            let ours = time(text).expect(text);
            let theirs = string_to_datetime(&Utc, text).expect(text);
            assert_eq!(ours.since_1970(TimeUnit::Microsecond), Some(theirs.timestamp_micros()));
        }
    }

    #[test]
    fn the_fraction_decides_the_unit() {
        assert_eq!(seen("2024-05-31"), Some(Seen::DATE));
        assert_eq!(seen("2024-05-31 00:00:00"), Some(Seen::SECONDS));
        assert_eq!(seen("2024-05-31 00:00:00.1Z"), Some(Seen::MILLIS));
        assert_eq!(seen("2024-05-31 00:00:00.1234"), Some(Seen::MICROS));
        assert_eq!(seen("2024-05-31 00:00:00.123456789"), Some(Seen::NANOS));
        assert_eq!(seen("9999-12-31 00:00:00"), Some(Seen::SECONDS | Seen::FAR));
        for text in [
            "2024-05-31 24:00:00",
            "2024-05-31 12:30",
            "2024-05-31 12:30:01.",
            "2024-05-31x",
            "2024-05-31 00:00:00.1234567890",
            "31.05.2024",
            "2024-02-30 00:00:00",
            "2024-05-31T12:00:00 today",
        ] {
            assert_eq!(seen(text), None, "{text}");
        }
    }
}
