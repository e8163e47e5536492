//! How well scores tell two kinds of pairs apart, and how well texts find their translations: the
//! average precision of a ranking by scores, and F1 over predicted labels.

use std::collections::HashMap;

use crate::{DimensionMismatch, same_dimension};

/// The average precision of scores as a classifier: `Σ (Rₙ - Rₙ₋₁)·Pₙ` over the distinct scores
/// from the highest down, with `P` and `R` the precision and recall of all rows with that score or
/// a higher one. It is scikit-learn's `average_precision_score`; equal scores count together.
///
/// `None` where it has no meaning: no positive row, or a score that is NaN. Cost: one sort.
///
/// # Errors
/// [`DimensionMismatch`] for lists of different lengths.
///
/// # Examples
/// ```
/// use sembla_operators::evaluate::average_precision;
///
/// let labels = [true, false, true, false];
/// assert_eq!(average_precision(&labels, &[0.9, 0.1, 0.8, 0.2])?, Some(1.0));
/// assert_eq!(average_precision(&labels, &[0.5; 4])?, Some(0.5));
/// # Ok::<(), sembla_operators::DimensionMismatch>(())
/// ```
pub fn average_precision(
    labels: &[bool],
    scores: &[f64],
) -> Result<Option<f64>, DimensionMismatch> {
    same_dimension(labels, scores)?;
    let positives = labels.iter().filter(|label| **label).count();
    if positives == 0 || scores.iter().any(|score| score.is_nan()) {
        return Ok(None);
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Adding zero makes -0.0 and 0.0 one number.
    order.sort_by(|a, b| (scores[*b] + 0.0).total_cmp(&(scores[*a] + 0.0)));
    let (mut seen, mut hits, mut sum) = (0_usize, 0_usize, 0.0);
    for ties in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let found = ties.iter().filter(|row| labels[**row]).count();
        seen += ties.len();
        hits += found;
        sum += found as f64 / positives as f64 * (hits as f64 / seen as f64);
    }
    // Shares that add up to 1 may round to more.
    Ok(Some(sum.min(1.0)))
}

/// The F1 of each true label, weighted by how often it is true: scikit-learn's `f1_score` with
/// `average='weighted'`, where a label that is never predicted has 0. `None` without rows.
///
/// For bitext mining the labels are the numbers of the true translations, and the predictions
/// those of the nearest rows.
///
/// # Errors
/// [`DimensionMismatch`] for lists of different lengths.
///
/// # Examples
/// ```
/// use sembla_operators::evaluate::weighted_f1;
///
/// // The second row is taken for a translation of the first, so neither label is perfect.
/// assert_eq!(weighted_f1(&[0, 1, 2], &[0, 0, 2])?, Some((2.0 / 3.0 + 0.0 + 1.0) / 3.0));
/// # Ok::<(), sembla_operators::DimensionMismatch>(())
/// ```
pub fn weighted_f1(truth: &[u64], predicted: &[u64]) -> Result<Option<f64>, DimensionMismatch> {
    same_dimension(truth, predicted)?;
    // How often each label is true, is predicted, and is both.
    let mut counts: HashMap<u64, [u64; 3]> = HashMap::new();
    for (label, found) in truth.iter().zip(predicted) {
        let of_label = counts.entry(*label).or_default();
        of_label[0] += 1;
        of_label[2] += u64::from(label == found);
        counts.entry(*found).or_default()[1] += 1;
    }
    if truth.is_empty() {
        return Ok(None);
    }
    // In order of the labels, so that the sum does not depend on that of a map.
    let mut counts: Vec<(u64, [u64; 3])> = counts.into_iter().collect();
    counts.sort_unstable();
    let weighted = counts
        .iter()
        .map(|(_, [is, found, both])| *is as f64 * (2 * both) as f64 / (is + found) as f64);
    Ok(Some(weighted.sum::<f64>() / truth.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::similarity::tests::random_vector;

    #[test]
    fn figures_are_those_of_scikit_learn() {
        let labels = [true, false, true, true, false, false, true];
        let scores = [0.9, 0.8, 0.8, 0.3, 0.3, 0.1, 0.05];
        let found = average_precision(&labels, &scores).expect("equal").expect("positives");
        assert!((found - 0.709_523_809_523_809_4).abs() < 1e-12, "{found}");
        let truth = [0, 1, 2, 3, 4, 1];
        let predicted = [0, 1, 1, 3, 2, 5];
        let found = weighted_f1(&truth, &predicted).expect("equal").expect("rows");
        assert!((found - 0.5).abs() < 1e-12, "{found}");
    }

    /// Precision and recall counted again at every threshold.
    fn slow(labels: &[bool], scores: &[f64]) -> f64 {
        let mut thresholds = scores.to_vec();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let count = |test: &dyn Fn(usize) -> bool| {
            (0..scores.len()).filter(|row| test(*row)).count() as f64
        };
        let (mut before, mut sum) = (0.0, 0.0);
        for threshold in thresholds {
            let hits = count(&|row| labels[row] && scores[row] >= threshold);
            let recall = hits / count(&|row| labels[row]);
            sum += (recall - before) * hits / count(&|row| scores[row] >= threshold);
            before = recall;
        }
        sum
    }

    #[test]
    fn average_precision_is_what_its_definition_says() {
        for seed in 0..40 {
            let random = random_vector(2 * (seed as usize + 2), seed + 7);
            let (a, b) = random.split_at(seed as usize + 2);
            let mut labels: Vec<bool> = a.iter().map(|x| *x > 0.2).collect();
            labels[0] = true;
            let scores: Vec<f64> = b.iter().map(|x| f64::from((x * 3.0).round())).collect();
            let found = average_precision(&labels, &scores).expect("equal").expect("positives");
            assert!((found - slow(&labels, &scores)).abs() < 1e-12, "{labels:?} {scores:?}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_none() {
        assert_eq!(average_precision(&[false], &[1.0]), Ok(None));
        assert_eq!(average_precision(&[true], &[f64::NAN]), Ok(None));
        assert_eq!(average_precision(&[], &[]), Ok(None));
        assert_eq!(weighted_f1(&[], &[]), Ok(None));
        assert!(average_precision(&[true], &[]).is_err());
        assert!(weighted_f1(&[1], &[]).is_err());
    }
}
