//! Flags, sizes and times as people write them: `true`, `off`, `64 MiB`, `1048576`, `500 ms`,
//! `2 min`.

use std::time::Duration;

/// The longest time: a hundred years. Longer ones would overflow the clocks that they are added to.
const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Whether a text means yes: `true` and `on` do, `false` and `off` don't, in any case. `None` for
/// everything else.
///
/// ```
/// use sembla_options::parse_flag;
///
/// assert_eq!(parse_flag(" ON "), Some(true));
/// assert_eq!(parse_flag("maybe"), None);
/// ```
pub fn parse_flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "on" => Some(true),
        "false" | "off" => Some(false),
        _ => None,
    }
}

/// The number of bytes that a text means; a number alone is bytes. `None` where it means none.
///
/// ```
/// use sembla_options::parse_size;
///
/// assert_eq!(parse_size("64 MiB"), Some(64 << 20));
/// assert_eq!(parse_size("1.5 kB"), Some(1500));
/// assert_eq!(parse_size("-1"), None);
/// ```
pub fn parse_size(text: &str) -> Option<u64> {
    if let Ok(bytes) = text.trim().parse() {
        return Some(bytes);
    }
    let (number, unit) = number_and_unit(text)?;
    let scale: u64 = match unit.as_str() {
        "" | "b" | "bytes" => 1,
        "kb" => 1000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return None,
    };
    let bytes = number * scale as f64;
    (0.0..2f64.powi(53)).contains(&bytes).then_some(bytes as u64)
}

/// The length of time that a text means; a number needs its unit, except for zero. `None` where it
/// means none, and for more than a hundred years.
///
/// ```
/// use std::time::Duration;
/// use sembla_options::parse_time;
///
/// assert_eq!(parse_time("500 ms"), Some(Duration::from_millis(500)));
/// assert_eq!(parse_time("10"), None);
/// ```
pub fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit.as_str() {
        "" if number == 0.0 => 0.0,
        "us" | "microsecond" | "microseconds" => 1e-6,
        "ms" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    let time = Duration::try_from_secs_f64(number * seconds).ok()?;
    (time <= TIME_MAX).then_some(time)
}

/// `10s` and `10 s`, in two; the unit in lower case.
fn number_and_unit(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text.find(char::is_alphabetic).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.trim().parse().ok()?;
    Some((number, unit.trim().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_with_their_units() {
        for (text, bytes) in [
            ("64 MiB", 64 << 20),
            ("1000", 1000),
            ("2kb", 2000),
            (" 1GiB ", 1 << 30),
            ("0.5 kB", 500),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for (text, micros) in [
            ("500 ms", 500_000),
            ("10s", 10_000_000),
            ("1.5 S", 1_500_000),
            ("2 minutes", 120_000_000),
            ("7us", 7),
            ("0", 0),
        ] {
            assert_eq!(parse_time(text), Some(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_means_nothing_is_none() {
        for text in ["", "-1 kb", "1 parsec", "99999999999 GiB", "NaN b", "MiB", "-5"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        for text in ["", "10", "-1 s", "NaN s", "1e300 h", "inf s", "1000 years", "s"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!(parse_time("36500 days"), Some(TIME_MAX));
        assert_eq!(parse_time("36501 days"), None);
    }
}
