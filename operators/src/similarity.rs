//! How near two vectors are: dot product, cosine, euclidean and manhattan distance, and the length
//! of one.
//!
//! Cost: one pass over the components, no allocation. Sums run in f32 lanes that are folded in f64
//! (see `lanes`), with a relative error of about 1e-6 at a thousand components. Where squares leave
//! the range of f32, the sums are taken again in f64.

use crate::{DimensionMismatch, lanes, same_dimension};

/// Below this a sum of squares may have lost components to underflow.
const SQUARES_MIN: f64 = 1e-24;

/// Above this a sum of squares is near overflow.
const SQUARES_MAX: f64 = 1e36;

/// `Σ aᵢ·bᵢ`.
///
/// # Errors
/// [`DimensionMismatch`].
pub fn dot(a: &[f32], b: &[f32]) -> Result<f64, DimensionMismatch> {
    same_dimension(a, b)?;
    let sum = lanes::dot(a, b);
    Ok(if sum.is_finite() { sum } else { exact_dot(a, b) })
}

/// `√Σ aᵢ²`, the euclidean length.
pub fn norm(a: &[f32]) -> f64 {
    squares(a).sqrt()
}

/// `Σ aᵢ²`.
pub fn squares(a: &[f32]) -> f64 {
    let sum = lanes::dot(a, a);
    if (SQUARES_MIN..=SQUARES_MAX).contains(&sum) { sum } else { exact_dot(a, a) }
}

/// Cosine of the angle between two vectors, in `-1..=1`; `None` if one of them has no length.
///
/// # Errors
/// [`DimensionMismatch`].
///
/// # Examples
/// ```
/// use sembla_operators::similarity::cosine;
///
/// assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0])?, Some(0.0));
/// assert_eq!(cosine(&[1.0, 0.0], &[0.0, 0.0])?, None);
/// assert!(cosine(&[1.0], &[1.0, 2.0]).is_err());
/// # Ok::<(), sembla_operators::DimensionMismatch>(())
/// ```
pub fn cosine(a: &[f32], b: &[f32]) -> Result<Option<f64>, DimensionMismatch> {
    Direction::new(b).cosine(a)
}

/// A vector that is compared with many others: its own sum of squares is taken once.
#[derive(Clone, Copy, Debug)]
pub struct Direction<'a> {
    vector: &'a [f32],
    squares: f64,
}

impl<'a> Direction<'a> {
    /// The direction of a vector.
    pub fn new(vector: &'a [f32]) -> Self {
        Self { vector, squares: squares(vector) }
    }

    /// What [`cosine`] gives for `other` and this vector, bit for bit.
    ///
    /// # Errors
    /// [`DimensionMismatch`].
    pub fn cosine(&self, other: &[f32]) -> Result<Option<f64>, DimensionMismatch> {
        same_dimension(other, self.vector)?;
        let (mut product, mut squares) = lanes::dot_and_squares(other, self.vector);
        let fits = |sum| (SQUARES_MIN..=SQUARES_MAX).contains(&sum);
        if !fits(squares) || !fits(self.squares) {
            product = exact_dot(other, self.vector);
            squares = self::squares(other);
        }
        if squares == 0.0 || self.squares == 0.0 {
            return Ok(None);
        }
        let cosine = product / (squares * self.squares).sqrt();
        Ok(Some(if cosine.is_nan() { cosine } else { cosine.clamp(-1.0, 1.0) }))
    }
}

/// `√Σ (aᵢ - bᵢ)²`, the euclidean distance.
///
/// # Errors
/// [`DimensionMismatch`].
pub fn l2_distance(a: &[f32], b: &[f32]) -> Result<f64, DimensionMismatch> {
    same_dimension(a, b)?;
    let mut sum = lanes::squared_distance(a, b);
    if !(SQUARES_MIN..=SQUARES_MAX).contains(&sum) {
        sum = exact_sum(a, b, |x, y| (x - y) * (x - y));
    }
    Ok(sum.sqrt())
}

/// `Σ |aᵢ - bᵢ|`, the manhattan distance.
///
/// # Errors
/// [`DimensionMismatch`].
pub fn manhattan_distance(a: &[f32], b: &[f32]) -> Result<f64, DimensionMismatch> {
    same_dimension(a, b)?;
    let sum = lanes::absolute_distance(a, b);
    Ok(if sum.is_finite() { sum } else { exact_sum(a, b, |x, y| (x - y).abs()) })
}

/// The vector divided by its length; `None` if it has none.
pub fn normalized(a: &[f32]) -> Option<Vec<f32>> {
    let norm = norm(a);
    (norm != 0.0).then(|| a.iter().map(|x| (f64::from(*x) / norm) as f32).collect())
}

fn exact_dot(a: &[f32], b: &[f32]) -> f64 {
    exact_sum(a, b, |x, y| x * y)
}

/// The slow sum, in f64, for components that f32 can't square.
fn exact_sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let terms = a.iter().zip(b).map(|(x, y)| term(f64::from(*x), f64::from(*y)));
    terms.fold(0.0, |sum, term| sum + term)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Components in -1..1 from a small generator, so that failures can be repeated.
    pub(crate) fn random_vector(len: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    fn close(fast: f64, slow: f64, scale: f64) {
        assert!((fast - slow).abs() <= 1e-6 * scale.max(1e-30), "{fast} and {slow}");
    }

    #[test]
    fn each_measure_agrees_with_its_plain_sibling() {
        for len in (0..70).chain([127, 128, 384, 385, 768, 1023]) {
            for seed in 0..4 {
                let (a, b) = (random_vector(len, seed + 10), random_vector(len, seed + 90));
                let scale = exact_sum(&a, &b, |x, y| (x * y).abs()).max(1.0);
                close(dot(&a, &b).expect("equal"), exact_dot(&a, &b), scale);
                let (aa, bb) = (exact_dot(&a, &a), exact_dot(&b, &b));
                close(norm(&a), aa.sqrt(), aa.sqrt().max(1.0));
                let l2 = exact_sum(&a, &b, |x, y| (x - y).powi(2)).sqrt();
                close(l2_distance(&a, &b).expect("equal"), l2, l2.max(1.0));
                let l1 = exact_sum(&a, &b, |x, y| (x - y).abs());
                close(manhattan_distance(&a, &b).expect("equal"), l1, l1.max(1.0));
                match cosine(&a, &b).expect("equal") {
                    Some(fast) => close(fast, exact_dot(&a, &b) / (aa.sqrt() * bb.sqrt()), 1.0),
                    None => assert_eq!(len, 0),
                }
            }
        }
    }

    #[test]
    fn a_vector_without_length_has_no_cosine() {
        assert_eq!(cosine(&[0.0, -0.0], &[1.0, 2.0]), Ok(None));
        assert_eq!(cosine(&[1.0, 2.0], &[0.0, 0.0]), Ok(None));
        assert_eq!(cosine(&[], &[]), Ok(None));
        assert_eq!(normalized(&[0.0; 5]), None);
        assert!(norm(&[]).is_sign_positive());
    }

    #[test]
    fn huge_and_tiny_components_keep_their_cosine() {
        for scale in [1e-40_f32, 1e-25, 1e-12, 1.0, 1e18, 1e30, 5e37] {
            let a = [3.0 * scale, 4.0 * scale];
            let found = cosine(&a, &[4.0, 3.0]).expect("equal").expect("has length");
            assert!((found - 0.96).abs() < 1e-5, "{scale}: {found}");
            assert!((norm(&a) / f64::from(scale) - 5.0).abs() < 1e-4, "{scale}");
        }
    }

    #[test]
    fn cosine_does_not_leave_its_range_and_is_symmetric() {
        for len in 1..300 {
            let (a, b) = (random_vector(len, 7), random_vector(len, 8));
            assert_eq!(cosine(&a, &a), Ok(Some(1.0)));
            assert_eq!(cosine(&a, &b), cosine(&b, &a));
        }
    }

    #[test]
    fn a_mismatch_names_both_dimensions() {
        let error = dot(&[1.0], &[1.0, 2.0]).expect_err("different");
        assert_eq!(error.to_string(), "vectors of 1 and 2 components can't be combined");
        assert!(cosine(&[1.0], &[]).is_err());
        assert!(l2_distance(&[1.0], &[]).is_err());
        assert!(manhattan_distance(&[1.0], &[]).is_err());
    }
}
