//! What kind of number a text is, if it is one.
//!
//! A text is a number only where nothing of it is lost as one: no leading zeros, no leading `+`, no
//! more digits than 64 bits hold.

use super::guess::Seen;

/// Integers up to here in size are exact as `Float64`.
const FLOAT_EXACT_MAX: u64 = 1 << 53;
/// Digits that certainly fit 64 bits.
const DIGITS_SAFE: usize = 18;

/// What a text is, if it is a number.
///
/// A fraction is a `Float64` and may be rounded there, as everywhere; its digits before the point
/// are never.
pub(crate) fn number(text: &[u8]) -> Option<Seen> {
    let (is_negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (integer, rest) = digits.split_at(whole);
    if whole > 1 && integer.first() == Some(&b'0') {
        return None;
    }
    if rest.is_empty() {
        return (whole > 0).then(|| self::integer(integer, is_negative)).flatten();
    }
    fraction(integer, rest)
}

fn integer(digits: &[u8], is_negative: bool) -> Option<Seen> {
    let sign = if is_negative { Seen::NEGATIVE } else { Seen::NOTHING };
    if digits.len() < 16 {
        return Some(Seen::INTEGER | sign);
    }
    let size = value(digits)?;
    let limit = i64::MAX as u64 + u64::from(is_negative);
    match size {
        size if size <= FLOAT_EXACT_MAX => Some(Seen::INTEGER | sign),
        size if size <= limit => Some(Seen::INTEGER | Seen::WIDE | sign),
        _ if is_negative => None,
        _ => Some(Seen::INTEGER | Seen::WIDE | Seen::UNSIGNED),
    }
}

/// The value of digits, if 64 bits hold it.
fn value(digits: &[u8]) -> Option<u64> {
    if digits.len() <= DIGITS_SAFE {
        return Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
    }
    digits
        .iter()
        .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// What follows the integer's digits: a point and digits, an exponent, or both.
fn fraction(integer: &[u8], rest: &[u8]) -> Option<Seen> {
    let mut rest = rest;
    let mut digits = integer.len();
    let mut is_exact = true;
    if let Some(after) = rest.strip_prefix(b".") {
        let count = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits += count;
        rest = after.get(count..).unwrap_or_default();
        is_exact = integer.len() < 16 || value(integer).is_some_and(|size| size <= FLOAT_EXACT_MAX);
    }
    if digits == 0 {
        return None;
    }
    if let Some((b'e' | b'E', after)) = rest.split_first() {
        let after = match after.split_first() {
            Some((b'+' | b'-', after)) => after,
            _ => after,
        };
        let is_number = !after.is_empty() && after.iter().all(u8::is_ascii_digit);
        return (is_number && after.len() <= 3 && exponent_fits(integer.len(), after))
            .then_some(Seen::FLOAT);
    }
    (rest.is_empty() && is_exact).then_some(Seen::FLOAT)
}

/// Whether a number with so many digits before the exponent certainly is finite.
fn exponent_fits(digits: usize, exponent: &[u8]) -> bool {
    value(exponent).is_some_and(|exponent| exponent as usize + digits <= 308)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loses_a_digit_is_no_number() {
        let seen = |text: &str| number(text.as_bytes());
        for text in ["0", "7", "-0", "123456789012345", "9007199254740992"] {
            assert_eq!(seen(text).map(|seen| seen & Seen::WIDE), Some(Seen::NOTHING), "{text}");
        }
        let wide = Some(Seen::INTEGER | Seen::WIDE);
        assert_eq!(seen("9007199254740993"), wide);
        assert_eq!(seen("9223372036854775807"), wide);
        assert_eq!(seen("-9223372036854775808"), wide.map(|seen| seen | Seen::NEGATIVE));
        assert_eq!(seen("18446744073709551615"), wide.map(|seen| seen | Seen::UNSIGNED));
        for text in ["1.5", "-0.25", ".5", "5.", "1e5", "1E-5", "2.5e+10", "0.1234567890123456789"]
        {
            assert_eq!(seen(text), Some(Seen::FLOAT), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "-.",
            "+1",
            "007",
            "-01",
            "00",
            "00.5",
            "1_000",
            "1,000",
            "1 ",
            " 1",
            "0x1",
            "1e",
            "e5",
            "1e400",
            "1e+",
            "1.2.3",
            "1-2",
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901",
            "12345678901234567.5",
            "1f",
            "١",
        ] {
            assert_eq!(seen(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_called_a_number_is_one_for_the_standard_library() {
        let alphabet = b"0019.-+eE ";
        let mut state = 7u64;
        for _ in 0..50_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let length = (state >> 60) as usize % 7;
            let text: Vec<u8> = (0..length)
                .map(|at| alphabet[(state >> (8 + 7 * at)) as usize % alphabet.len()])
                .collect();
            let text = std::str::from_utf8(&text).expect("ASCII");
            let Some(seen) = number(text.as_bytes()) else { continue };
            if seen.has(Seen::INTEGER) {
                let value: i64 = text.parse().expect(text);
                assert!(value.to_string() == text || text == "-0", "{text}");
            } else {
                assert!(text.parse::<f64>().expect(text).is_finite(), "{text}");
            }
        }
    }
}
