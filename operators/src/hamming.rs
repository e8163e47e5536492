//! Hamming distance of vectors that are packed into bits.

use crate::{DimensionMismatch, lanes, same_dimension};

/// Number of bits in which two packed vectors differ.
///
/// # Errors
/// [`DimensionMismatch`], counted in bytes.
///
/// # Examples
/// ```
/// assert_eq!(sembla_operators::hamming::distance(&[0b1010], &[0b0110])?, 2);
/// # Ok::<(), sembla_operators::DimensionMismatch>(())
/// ```
pub fn distance(a: &[u8], b: &[u8]) -> Result<u64, DimensionMismatch> {
    same_dimension(a, b)?;
    Ok(lanes::differing_bits(a, b))
}

/// The number of bits in which a packed vector differs from each of those that lie one after
/// another, as many as `out` has room for.
pub(crate) fn distances(a: &[u8], others: &[u8], out: &mut [i32]) {
    lanes::each_differing_bits(a, others, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_differ_are_counted() {
        assert_eq!(distance(&[0b1010_0000, 0xFF], &[0b0000_0001, 0xFF]), Ok(3));
        assert_eq!(distance(&[], &[]), Ok(0));
        assert!(distance(&[1], &[1, 2]).is_err());
    }
}
