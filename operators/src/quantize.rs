//! Vectors in eight bits or one bit a component, with the arithmetic of sentence-transformers'
//! `quantize_embeddings`.
//!
//! Where its NumPy code computes in f32, so does this, operation for operation, so that the results
//! are equal.

use crate::{DimensionMismatch, same_dimension};

/// Steps between the least and the greatest code.
const STEPS: f32 = 255.0;

/// The range of one component: what maps to code 0, and how far codes lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    start: f32,
    step: f32,
}

/// The ranges of all components of a kind of vectors.
///
/// # Examples
/// ```
/// use sembla_operators::quantize::Ranges;
///
/// let mut codes = Vec::new();
/// Ranges::unit(3).uint8(&[-1.0, 0.0, 2.0], &mut codes)?;
/// assert_eq!(codes, [0, 127, 255]);
/// # Ok::<(), sembla_operators::DimensionMismatch>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges(Vec<Range>);

impl Ranges {
    /// Ranges from the least and the greatest value of each component. Where both are equal, codes
    /// lie 1 apart.
    ///
    /// # Errors
    /// [`DimensionMismatch`].
    pub fn new(min: &[f32], max: &[f32]) -> Result<Self, DimensionMismatch> {
        same_dimension(min, max)?;
        let range = |(start, end): (&f32, &f32)| {
            let step = (end - start) / STEPS;
            Range { start: *start, step: if step == 0.0 { 1.0 } else { step } }
        };
        Ok(Self(min.iter().zip(max).map(range).collect()))
    }

    /// The range -1 to 1 for each of `dimension` components: what the components of a normalised
    /// vector lie in.
    pub fn unit(dimension: usize) -> Self {
        Self(vec![Range { start: -1.0, step: 2.0 / STEPS }; dimension])
    }

    /// Number of components.
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    /// Appends the codes 0 to 255 of a vector. What lies outside its range gets the nearest code;
    /// NaN gets 0.
    ///
    /// # Errors
    /// [`DimensionMismatch`]; nothing is appended then.
    pub fn uint8(&self, vector: &[f32], out: &mut Vec<u8>) -> Result<(), DimensionMismatch> {
        same_dimension(vector, &self.0)?;
        out.extend(vector.iter().zip(&self.0).map(|(value, range)| range.code(*value)));
        Ok(())
    }

    /// Appends the codes -128 to 127 of a vector: those of [`Ranges::uint8`] less 128.
    ///
    /// # Errors
    /// [`DimensionMismatch`]; nothing is appended then.
    pub fn int8(&self, vector: &[f32], out: &mut Vec<i8>) -> Result<(), DimensionMismatch> {
        same_dimension(vector, &self.0)?;
        out.extend(vector.iter().zip(&self.0).map(|(value, range)| signed(range.code(*value))));
        Ok(())
    }
}

impl Range {
    fn code(self, value: f32) -> u8 {
        // A cast from float to integer rounds towards zero, stops at the ends, so that negative
        // numbers are 0 as well, and takes NaN to 0.
        ((value - self.start) / self.step) as u8
    }
}

/// A code less 128, which is the code with its top bit turned.
fn signed(code: u8) -> i8 {
    (code ^ 0x80) as i8
}

/// Appends one bit for each component, set where it is greater than 0, eight to a byte, the first
/// in the top bit. The last byte is filled up with zeros.
///
/// # Examples
/// ```
/// let mut bits = Vec::new();
/// sembla_operators::quantize::ubinary(&[0.5, -0.5, 1.0], &mut bits);
/// assert_eq!(bits, [0b1010_0000]);
/// ```
pub fn ubinary(vector: &[f32], out: &mut Vec<u8>) {
    out.extend(vector.chunks(8).map(pack));
}

/// Appends the bytes of [`ubinary`] less 128.
pub fn binary(vector: &[f32], out: &mut Vec<i8>) {
    out.extend(vector.chunks(8).map(|eight| signed(pack(eight))));
}

/// Bytes that [`ubinary`] and [`binary`] give for a vector of so many components.
pub fn packed_len(dimension: usize) -> usize {
    dimension.div_ceil(8)
}

fn pack(eight: &[f32]) -> u8 {
    eight.iter().zip((0..8).rev()).fold(0, |byte, (x, bit)| byte | (u8::from(*x > 0.0) << bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_run_from_end_to_end() {
        let ranges = Ranges::new(&[-1.0, 0.0, 5.0], &[1.0, 255.0, 5.0]).expect("equal");
        let mut codes = Vec::new();
        ranges.uint8(&[-1.0, 0.0, 5.0], &mut codes).expect("three");
        ranges.uint8(&[1.0, 254.5, 7.9], &mut codes).expect("three");
        ranges.uint8(&[9.0, -1.0, f32::NAN], &mut codes).expect("three");
        // The step of the first range is a little over 2/255 in f32, so its end gets 254, as in
        // NumPy.
        assert_eq!(codes, [0, 0, 0, 254, 254, 2, 255, 0, 0]);
    }

    #[test]
    fn signed_codes_are_128_less() {
        let mut unsigned = Vec::new();
        let mut with_sign = Vec::new();
        let vector: Vec<f32> = (0..=100).map(|x| x as f32 / 50.0 - 1.0).collect();
        Ranges::unit(101).uint8(&vector, &mut unsigned).expect("equal");
        Ranges::unit(101).int8(&vector, &mut with_sign).expect("equal");
        for (u, i) in unsigned.iter().zip(&with_sign) {
            assert_eq!(i16::from(*u) - 128, i16::from(*i));
        }
    }

    #[test]
    fn bits_are_packed_from_the_top() {
        let vector = [1.0, -1.0, 0.0, 2.0, 0.1, -0.1, f32::NAN, 3.0, 1.0];
        let mut bytes = Vec::new();
        ubinary(&vector, &mut bytes);
        assert_eq!(bytes, [0b1001_1001, 0b1000_0000]);
        let mut with_sign = Vec::new();
        binary(&vector, &mut with_sign);
        assert_eq!(with_sign, [25, 0]);
        assert_eq!(packed_len(9), 2);
    }

    #[test]
    fn a_mismatch_is_an_error() {
        assert!(Ranges::new(&[0.0], &[]).is_err());
        assert!(Ranges::unit(2).int8(&[0.0], &mut Vec::new()).is_err());
    }
}
