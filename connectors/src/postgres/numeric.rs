//! Decimal numbers in the binary form of `numeric`: digits to the base of 10,000.

use bytes::BufMut;

/// Decimal digits in one of `numeric`'s.
const GROUP: usize = 4;

/// Writes a number that is given as decimal digits, with a point and a sign if it has them.
///
/// # Errors
/// A text that is no such number.
pub(super) fn put_numeric(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    const NEGATIVE: u16 = 0x4000;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (NEGATIVE, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|digit| digit.is_ascii_digit()) {
        return Err(format!("'{}' is no decimal number", text.escape_debug()));
    }
    let before = "0".repeat((GROUP - whole.len() % GROUP) % GROUP);
    let behind = "0".repeat((GROUP - fraction.len() % GROUP) % GROUP);
    let all = format!("{before}{whole}{fraction}{behind}");
    let mut groups: Vec<i16> = all
        .as_bytes()
        .chunks(GROUP)
        .map(|group| group.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0')))
        .collect();
    let too_long = |_| "a decimal number has too many digits".to_string();
    let mut weight = i16::try_from((before.len() + whole.len()) / GROUP).map_err(too_long)? - 1;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..zeros);
    weight = weight.saturating_sub(i16::try_from(zeros).map_err(too_long)?);
    let is_zero = groups.is_empty();
    out.put_u16(u16::try_from(groups.len()).map_err(too_long)?);
    out.put_i16(if is_zero { 0 } else { weight });
    out.put_u16(if is_zero { 0 } else { sign });
    out.put_u16(u16::try_from(fraction.len()).map_err(too_long)?);
    groups.iter().for_each(|group| out.put_i16(*group));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of the binary form: weight, sign, scale, digits.
    fn fields(text: &str) -> (i16, u16, u16, Vec<i16>) {
        let mut out = Vec::new();
        put_numeric(text, &mut out).expect("a number");
        let number = |place: usize| i16::from_be_bytes([out[place], out[place + 1]]);
        let digits = (8..out.len()).step_by(2).map(number).collect::<Vec<_>>();
        assert_eq!(number(0) as usize, digits.len());
        (number(2), number(4) as u16, number(6) as u16, digits)
    }

    #[test]
    fn numbers_are_written_as_the_server_does() {
        assert_eq!(fields("0"), (0, 0, 0, vec![]));
        assert_eq!(fields("0.00"), (0, 0, 2, vec![]));
        assert_eq!(fields("1"), (0, 0, 0, vec![1]));
        assert_eq!(fields("-12345.678"), (1, 0x4000, 3, vec![1, 2345, 6780]));
        assert_eq!(fields("0.00012"), (-1, 0, 5, vec![1, 2000]));
        assert_eq!(fields("10000000"), (1, 0, 0, vec![1000]));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for wrong in ["1e5", "NaN", "--1", "1.2.3"] {
            assert!(put_numeric(wrong, &mut Vec::new()).is_err(), "{wrong}");
        }
    }
}
