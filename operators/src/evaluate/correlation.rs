//! How well two series of numbers go together: Pearson's correlation, and Spearman's, which looks
//! at ranks only.

use crate::same_dimension;

use crate::DimensionMismatch;

/// Pearson's correlation `Σ (x - x̄)(y - ȳ) / √(Σ (x - x̄)² · Σ (y - ȳ)²)`, in -1..=1.
///
/// `None` where it has no meaning: fewer than two pairs, a series that doesn't vary, a number
/// that is not finite. Cost: two passes.
///
/// # Errors
/// [`DimensionMismatch`] for series of different lengths.
pub fn pearson(x: &[f64], y: &[f64]) -> Result<Option<f64>, DimensionMismatch> {
    same_dimension(x, y)?;
    let varies = |series: &[f64]| series.iter().any(|value| Some(value) != series.first());
    let finite = |series: &[f64]| series.iter().all(|value| value.is_finite());
    if !(varies(x) && varies(y) && finite(x) && finite(y)) {
        return Ok(None);
    }
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    let correlation = xy / (xx.sqrt() * yy.sqrt());
    Ok(correlation.is_finite().then(|| correlation.clamp(-1.0, 1.0)))
}

/// Spearman's correlation: Pearson's of the ranks, equal numbers sharing their mean rank.
///
/// `None` where it has no meaning: fewer than two pairs, a series that doesn't vary, a NaN.
/// Cost: two sorts.
///
/// # Errors
/// [`DimensionMismatch`] for series of different lengths.
///
/// # Examples
/// ```
/// use sembla_operators::evaluate::spearman;
///
/// let correlation = spearman(&[1.0, 2.0, 3.0], &[10.0, 100.0, 1000.0])?;
/// assert!(correlation.is_some_and(|correlation| correlation > 0.999_999));
/// assert_eq!(spearman(&[1.0, 2.0], &[5.0, 5.0])?, None);
/// # Ok::<(), sembla_operators::DimensionMismatch>(())
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> Result<Option<f64>, DimensionMismatch> {
    same_dimension(x, y)?;
    if x.iter().chain(y).any(|value| value.is_nan()) {
        return Ok(None);
    }
    pearson(&average_ranks(x), &average_ranks(y))
}

/// The rank of each number from 1, the smallest first; equal numbers share their mean rank.
pub fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    // Adding zero makes -0.0 and 0.0 one number.
    order.sort_by(|a, b| (values[*a] + 0.0).total_cmp(&(values[*b] + 0.0)));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for ties in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = before as f64 + (ties.len() + 1) as f64 / 2.0;
        ties.iter().for_each(|position| ranks[*position] = rank);
        before += ties.len();
    }
    ranks
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::similarity::tests::random_vector;

    const X: [f64; 10] = [3., 1., 4., 1., 5., 9., 2., 6., 5., 3.];
    const Y: [f64; 10] = [2., 7., 1., 8., 2., 8., 1., 8., 2., 8.];

    #[test]
    fn figures_are_those_of_scipy() {
        let near = |got: Option<f64>, want: f64| (got.expect("defined") - want).abs() < 1e-12;
        assert!(near(spearman(&[1.0, f64::INFINITY], &[1.0, 2.0]).expect("equal"), 1.0));
        assert!(near(pearson(&[1.0, 2.0], &[5.0, 3.0]).expect("equal"), -1.0));
        assert!(near(spearman(&X, &Y).expect("equal"), 0.134_715_062_810_912_67));
        assert!(near(pearson(&X, &Y).expect("equal"), 0.104_922_842_877_358_81));
    }

    /// A number's rank, counted: those below it, and half of those equal to it.
    fn counted_ranks(values: &[f64]) -> Vec<f64> {
        let count = |test: &dyn Fn(f64) -> bool| values.iter().filter(|v| test(**v)).count() as f64;
        let rank = |value: f64| count(&|v| v < value) + (count(&|v| v == value) + 1.0) / 2.0;
        values.iter().map(|value| rank(*value)).collect()
    }

    #[test]
    fn ranks_are_what_counting_gives() {
        for len in 0..40 {
            let values: Vec<f64> =
                random_vector(len, 5).iter().map(|x| f64::from((x * 4.0).round())).collect();
            assert_eq!(average_ranks(&values), counted_ranks(&values));
        }
        assert_eq!(average_ranks(&[0.0, -0.0, f64::INFINITY, -1.0]), [2.5, 2.5, 4.0, 1.0]);
    }

    #[test]
    fn what_has_no_meaning_is_none() {
        assert_eq!(pearson(&[], &[]), Ok(None));
        assert_eq!(pearson(&[1.0], &[1.0]), Ok(None));
        assert_eq!(pearson(&[1.0, 1.0], &[1.0, 2.0]), Ok(None));
        assert_eq!(pearson(&[0.1; 3], &[1.0, 2.0, 4.0]), Ok(None));
        assert_eq!(pearson(&[1.0, f64::INFINITY], &[1.0, 2.0]), Ok(None));
        assert_eq!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]), Ok(None));
        assert!(spearman(&[1.0], &[]).is_err());
    }
}
