//! Principal components: which directions vectors vary in most, for vectors of fewer components.
//!
//! In 64 bits, from the covariance, as scikit-learn's `PCA(svd_solver="covariance_eigh")` does it.
//! Whether vectors are centred before they are projected is left to the caller.

use rayon::prelude::*;

use crate::eigen::symmetric;
use crate::error::{Result, TrainError};

/// Vectors that are enough to find the components of texts.
pub const SAMPLE: usize = 100_000;

/// Most components of a vector: the time is their number to the third power.
const WIDTH_MAX: usize = 4096;

/// Vectors of one piece of a sum.
const PIECE: usize = 512;

/// The directions in which vectors vary most.
#[derive(Clone, Debug)]
pub struct Pca {
    /// The mean of the vectors.
    pub mean: Vec<f32>,
    /// Directions of length 1, a row each, that with the largest variance first.
    pub components: Vec<f32>,
    /// The share of the variance that lies in these directions.
    pub explained: f64,
}

impl Pca {
    /// The first `count` components of vectors of `width` components, row after row. Each has the
    /// sign that makes its largest entry positive.
    ///
    /// Takes the time of `rows · width²` and of `width³` steps.
    ///
    /// # Errors
    /// [`TrainError::Option`] for more components than the vectors have, or more than there are
    /// vectors, and [`TrainError::Data`] for vectors that hold what is no number.
    pub fn fit(vectors: &[f32], width: usize, count: usize) -> Result<Self> {
        Self::fit_to(vectors, width, count, usize::MAX)
    }

    /// As [`Pca::fit`], but of at most [`SAMPLE`] vectors, evenly spaced.
    ///
    /// # Errors
    /// As [`Pca::fit`].
    pub fn fit_sample(vectors: &[f32], width: usize, count: usize) -> Result<Self> {
        Self::fit_to(vectors, width, count, SAMPLE)
    }

    fn fit_to(vectors: &[f32], width: usize, count: usize, most: usize) -> Result<Self> {
        let rows = vectors.len().checked_div(width).unwrap_or(0);
        if count == 0 || count > width || width > WIDTH_MAX {
            return Err(TrainError::Option(format!(
                "vectors of {width} components can be cut to 1 to {}, got {count}",
                width.min(WIDTH_MAX)
            )));
        }
        if rows <= count {
            return Err(TrainError::Option(format!(
                "{count} components need more than {count} texts to be found, got {rows}"
            )));
        }
        let step = rows as f64 / rows.min(most) as f64;
        let taken: Vec<&[f32]> = (0..rows.min(most))
            .map(|i| &vectors[(i as f64 * step) as usize * width..][..width])
            .collect();
        let mean = mean(&taken, width);
        let covariance = covariance(&taken, &mean);
        let total: f64 = (0..width).map(|i| covariance[i * width + i]).sum();
        let (values, mut components) = symmetric(covariance, width).ok_or_else(|| {
            TrainError::Data("the vectors hold values that are not numbers".to_string())
        })?;
        components.truncate(count * width);
        for row in components.chunks_exact_mut(width) {
            let largest =
                row.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
            if largest < 0.0 {
                row.iter_mut().for_each(|value| *value = -*value);
            }
        }
        let kept: f64 = values[..count].iter().sum();
        Ok(Self {
            mean: mean.iter().map(|value| *value as f32).collect(),
            components: components.iter().map(|value| *value as f32).collect(),
            explained: if total > 0.0 { kept / total } else { 1.0 },
        })
    }

    /// Vectors along the components, row after row; `centred` takes the mean off before.
    pub fn project(&self, vectors: &[f32], centred: bool) -> Vec<f32> {
        let width = self.mean.len();
        let mut out = vec![0f32; vectors.len() / width * (self.components.len() / width)];
        let count = self.components.len() / width;
        let zeros = vec![0f32; width];
        let mean = if centred { &self.mean } else { &zeros };
        out.par_chunks_mut(count).zip(vectors.par_chunks(width)).for_each(|(out, row)| {
            for (out, component) in out.iter_mut().zip(self.components.chunks_exact(width)) {
                let terms = row.iter().zip(mean).zip(component);
                let sum: f64 =
                    terms.map(|((x, mean), c)| f64::from(x - mean) * f64::from(*c)).sum();
                *out = sum as f32;
            }
        });
        out
    }
}

/// Divides each row of `width` components by its length.
pub fn to_unit(vectors: &mut [f32], width: usize) {
    crate::evaluate::to_unit(vectors, width);
}

fn mean(rows: &[&[f32]], width: usize) -> Vec<f64> {
    let mut sums = vec![0f64; width];
    for row in rows {
        sums.iter_mut().zip(*row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sums.iter().map(|sum| sum / rows.len() as f64).collect()
}

/// The covariance of rows, summed in pieces of one order.
fn covariance(rows: &[&[f32]], mean: &[f64]) -> Vec<f64> {
    let width = mean.len();
    let mut sum = vec![0f64; width * width];
    for piece in rows.chunks(PIECE) {
        let centred: Vec<f64> = piece
            .iter()
            .flat_map(|row| row.iter().zip(mean).map(|(value, mean)| f64::from(*value) - mean))
            .collect();
        // SAFETY: `centred` is `piece × width` and is read as it lies and transposed; `sum` is
        // `width × width`. All strides stay inside.
        unsafe {
            matrixmultiply::dgemm(
                width,
                piece.len(),
                width,
                1.0,
                centred.as_ptr(),
                1,
                width as isize,
                centred.as_ptr(),
                width as isize,
                1,
                1.0,
                sum.as_mut_ptr(),
                width as isize,
                1,
            );
        }
    }
    let count = rows.len().saturating_sub(1).max(1) as f64;
    sum.iter_mut().for_each(|value| *value /= count);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors that vary by 5 along (0.6, 0.8, 0), by 2 along (-0.8, 0.6, 0), and not at all
    /// otherwise, around (1, 2, 3).
    fn vectors() -> Vec<f32> {
        let point = |i: usize| {
            let angle = i as f64 * std::f64::consts::TAU / 64.0;
            let (a, b) = (5.0 * angle.cos(), 2.0 * angle.sin());
            [1.0 + 0.6 * a - 0.8 * b, 2.0 + 0.8 * a + 0.6 * b, 3.0].map(|value| value as f32)
        };
        (0..64).flat_map(point).collect()
    }

    #[test]
    fn components_are_the_axes_of_an_ellipse() {
        let pca = Pca::fit(&vectors(), 3, 2).expect("components");
        let want = [0.6, 0.8, 0.0, 0.8, -0.6, 0.0];
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(pca.components.iter().zip(&want).all(near), "{:?}", pca.components);
        assert!(pca.mean.iter().zip(&[1.0, 2.0, 3.0]).all(near), "{:?}", pca.mean);
        assert!((pca.explained - 1.0).abs() < 1e-9);
        let one = Pca::fit(&vectors(), 3, 1).expect("components");
        assert!((one.explained - 25.0 / 29.0).abs() < 1e-6, "{}", one.explained);
        assert!((one.project(&[1.6, 2.8, 3.0], true)[0] - 1.0).abs() < 1e-6);
        assert!((one.project(&[0.6, 0.8, 9.0], false)[0] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let refused =
            |values: &[f32], count| Pca::fit(values, 3, count).expect_err("refused").to_string();
        assert!(refused(&vectors(), 4).contains("1 to 3, got 4"));
        assert!(refused(&vectors(), 0).contains("got 0"));
        assert!(refused(&vectors()[..6], 2).contains("more than 2 texts"));
        let mut torn = vectors();
        torn[7] = f32::NAN;
        assert!(refused(&torn, 2).contains("not numbers"));
    }
}
