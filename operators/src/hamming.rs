//! Hamming distance of vectors that are packed into bits.

use crate::{DimensionMismatch, lanes, same_dimension};

/// Number of bits in which two packed vectors differ.
///
/// # Errors
/// [`DimensionMismatch`], counted in bytes.
pub fn distance(a: &[u8], b: &[u8]) -> Result<u64, DimensionMismatch> {
    same_dimension(a, b)?;
    Ok(lanes::differing_bits(a, b))
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
