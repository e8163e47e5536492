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

/// Reads a number as a whole number of units of `10^-scale`.
///
/// # Errors
/// Bytes that are no number, NaN and infinities, and what 128 bits do not hold.
pub(super) fn numeric(bytes: &[u8], scale: u8) -> Result<i128, String> {
    const TORN: &str = "a number that is cut short";
    let words: Vec<u16> = bytes
        .chunks(2)
        .map(|pair| pair.try_into().map(u16::from_be_bytes))
        .collect::<Result<_, _>>()
        .map_err(|_| TORN)?;
    let [count, weight, sign, _, digits @ ..] = words.as_slice() else { return Err(TORN.into()) };
    if usize::from(*count) != digits.len() {
        return Err(TORN.into());
    }
    let is_negative = match sign {
        0 => false,
        0x4000 => true,
        _ => return Err("NaN and infinities have no decimal form".into()),
    };
    if digits.is_empty() {
        return Ok(0);
    }
    let too_long = || "a number has more digits than its column".to_string();
    let mut value: i128 = 0;
    for digit in digits {
        let next = value.checked_mul(10_000).and_then(|v| v.checked_add(i128::from(*digit)));
        value = next.ok_or_else(too_long)?;
    }
    // The last group counts units of 10,000 to this power.
    let weight = i32::from(weight.cast_signed());
    let last = weight + 1 - i32::from(*count);
    let shift = last * GROUP as i32 + i32::from(scale);
    let power = 10_i128.checked_pow(shift.unsigned_abs()).ok_or_else(too_long)?;
    let value = match shift >= 0 {
        true => value.checked_mul(power).ok_or_else(too_long)?,
        false => value / power,
    };
    Ok(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let read = |text: &str, scale| {
            let mut out = Vec::new();
            put_numeric(text, &mut out).expect("a number");
            numeric(&out, scale)
        };
        assert_eq!(read("-12345.678", 3), Ok(-12_345_678));
        assert_eq!(read("0.00012", 5), Ok(12));
        assert_eq!(read("10000000", 2), Ok(1_000_000_000));
        assert_eq!(read("0.00", 2), Ok(0));
        assert_eq!(read("0", 38), Ok(0));
        assert_eq!(read("0.5", 38), Ok(5 * 10_i128.pow(37)));
        assert_eq!(read(&"9".repeat(38), 0), Ok(10_i128.pow(38) - 1));
        assert!(read(&"9".repeat(40), 0).is_err());
        assert!(numeric(&[0, 1, 0, 0, 0, 0, 0, 0], 0).is_err());
        assert!(numeric(&[0, 0, 0, 0, 0xc0, 0, 0, 0], 0).is_err());
    }

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
