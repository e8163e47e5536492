//! Vectors of length one: what all findings by meaning are computed from.
//!
//! The cosine of two rows is their dot product. There is one sum for it in the whole crate
//! ([`UnitVectors::cosine`]), the same on every processor and for both orders of the two rows, so
//! two operators never disagree about a pair. Rows that are equal have the cosine 1, exactly.

use rayon::prelude::*;

use crate::error::{OperatorError, Result};
use crate::{lanes, same_dimension, similarity};

/// Rows that are normalised together by one thread.
const ROWS_PER_TASK: usize = 1024;

/// Vectors of one dimension, each of length one. A row that has no direction (all zeros, or a
/// component that is not finite) is kept as zeros, and no operator finds it similar to anything.
///
/// # Examples
/// ```
/// use sembla_operators::UnitVectors;
///
/// // Two rows of two components, one after another.
/// let vectors = UnitVectors::new(2, vec![3.0, 4.0, 0.0, 2.0])?;
/// assert_eq!(vectors.row(0), [0.6, 0.8]);
/// assert_eq!(vectors.cosine(0, &vectors, 1), 0.8);
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitVectors {
    values: Vec<f32>,
    dimension: usize,
    rows: usize,
}

impl UnitVectors {
    /// Normalises vectors that lie one after another, in their own memory.
    ///
    /// # Errors
    /// [`OperatorError::Data`] when the dimension is 0, the values are not a whole number of rows,
    /// or there are more than 2³¹ rows.
    pub fn new(dimension: usize, mut values: Vec<f32>) -> Result<Self> {
        if dimension == 0 || !values.len().is_multiple_of(dimension) {
            return Err(OperatorError::Data(format!(
                "{} values are not a whole number of vectors of {dimension} components",
                values.len()
            )));
        }
        let rows = values.len() / dimension;
        if rows > i32::MAX as usize {
            return Err(OperatorError::Data(format!(
                "{rows} rows are too many for one call; the limit is 2147483647"
            )));
        }
        values.par_chunks_mut(dimension * ROWS_PER_TASK).for_each(|rows| {
            rows.chunks_exact_mut(dimension).for_each(normalize);
        });
        Ok(Self { values, dimension, rows })
    }

    /// Vectors that are of length one or zeros already, one after another: what [`Self::values`]
    /// gave. They keep their bits.
    pub(crate) fn of_units(dimension: usize, values: Vec<f32>) -> Self {
        Self { rows: values.len() / dimension.max(1), dimension, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of components of a row.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// All components, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// A row.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimension..][..self.dimension]
    }

    /// Whether a row has a direction, so that it can be similar to anything.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn has_direction(&self, row: usize) -> bool {
        self.row(row).iter().any(|x| *x != 0.0)
    }

    /// The cosine of a row of these vectors and one of the others, in -1..=1.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn cosine(&self, row: usize, others: &UnitVectors, other: usize) -> f32 {
        cosine(self.row(row), others.row(other))
    }

    /// Checks that these and other vectors can be compared. Without rows, any can.
    ///
    /// # Errors
    /// [`OperatorError::Dimension`].
    pub fn check_dimension(&self, others: &UnitVectors) -> Result<()> {
        if self.rows > 0 && others.rows > 0 {
            same_dimension(self.row(0), others.row(0))?;
        }
        Ok(())
    }

    /// The rows at `positions`, in that order.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn select(&self, positions: &[u32]) -> UnitVectors {
        let mut values = Vec::with_capacity(positions.len() * self.dimension);
        positions.iter().for_each(|row| values.extend_from_slice(self.row(*row as usize)));
        Self { values, dimension: self.dimension, rows: positions.len() }
    }
}

/// Equal vectors have a dot product above this, whatever rounding has done to their length and to
/// the sum: it is off by less at any dimension that an index or a model has.
const EQUAL_DOT_MIN: f32 = 0.98;

/// The cosine of two vectors of length one.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = lanes::dot(a, b) as f32;
    // A sum of rounded squares is seldom 1, and `threshold => 1.0` is to find equal texts.
    if dot > EQUAL_DOT_MIN && a == b {
        return 1.0;
    }
    // Adding zero leaves one zero only, so that equal scores are equal in every order.
    dot.clamp(-1.0, 1.0) + 0.0
}

/// Makes a vector's length one, or all its components zero if it has no direction.
pub(crate) fn normalize(vector: &mut [f32]) {
    let norm = similarity::norm(vector);
    if norm > 0.0 && norm.is_finite() {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    } else {
        vector.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_length_one_or_no_direction() {
        let values = vec![3.0, 4.0, 0.0, 0.0, f32::NAN, 1.0, f32::INFINITY, 1.0, 1e-30, 0.0];
        let vectors = UnitVectors::new(2, values).expect("five rows");
        assert_eq!(vectors.rows(), 5);
        assert_eq!(vectors.row(0), [0.6, 0.8]);
        assert_eq!(vectors.row(4), [1.0, 0.0]);
        let directed: Vec<bool> = (0..5).map(|row| vectors.has_direction(row)).collect();
        assert_eq!(directed, [true, false, false, false, true]);
        assert_eq!(vectors.cosine(0, &vectors, 4), 0.6);
    }

    #[test]
    fn equal_rows_have_the_cosine_one() {
        use crate::similarity::tests::random_vector;
        for dimension in [1, 3, 17, 128, 384, 1000, 4096, 65_536] {
            let row = random_vector(dimension, dimension as u64);
            let mut other = row.clone();
            other[dimension / 2] *= 1.5;
            let rows = [row.clone(), row, other].concat();
            let vectors = UnitVectors::new(dimension, rows).expect("three rows");
            assert_eq!(vectors.cosine(0, &vectors, 1), 1.0, "{dimension}");
            assert!(vectors.cosine(0, &vectors, 2) <= 1.0, "{dimension}");
        }
    }

    #[test]
    fn values_that_are_no_rows_are_refused() {
        assert!(UnitVectors::new(2, vec![1.0; 3]).is_err());
        assert!(UnitVectors::new(0, vec![]).is_err());
        assert_eq!(UnitVectors::new(3, vec![]).expect("no rows").rows(), 0);
    }
}
