//! Numbers as people read them.

/// A number with commas between its thousands.
///
/// ```
/// assert_eq!(sembla_jobs::numbers::count(1_234_567), "1,234,567");
/// ```
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `events` in `seconds` as events per second, with at most three significant digits below 100.
///
/// ```
/// assert_eq!(sembla_jobs::numbers::rate(7, 2.0), "3.5");
/// assert_eq!(sembla_jobs::numbers::rate(50_000, 2.0), "25,000");
/// ```
pub fn rate(events: u64, seconds: f64) -> String {
    per_second(events as f64 / seconds.max(1e-9))
}

/// A number of events per second.
pub fn per_second(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { count(rate.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }
}
