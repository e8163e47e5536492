//! How well predicted classes agree with the true ones.

/// Accuracy and macro-F1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassificationMetrics {
    /// The share of rows with the right class.
    pub accuracy: f64,
    /// The mean over all classes of the harmonic mean of precision and recall. A class counts if it
    /// is true or predicted anywhere.
    pub macro_f1: f64,
}

/// The metrics of predictions, `(truth, predicted)` a row, of classes below `classes`; rows with
/// others are left out. `None` without a row.
pub fn classification_metrics(
    rows: impl IntoIterator<Item = (u32, u32)>,
    classes: usize,
) -> Option<ClassificationMetrics> {
    // Rows of the class, rows that were taken for it, and those that are both.
    let mut counts = vec![(0_u64, 0_u64, 0_u64); classes];
    let (mut all, mut right) = (0_u64, 0_u64);
    for (truth, predicted) in rows {
        let (truth, predicted) = (truth as usize, predicted as usize);
        if truth >= classes || predicted >= classes {
            continue;
        }
        all += 1;
        counts[truth].0 += 1;
        counts[predicted].1 += 1;
        if truth == predicted {
            right += 1;
            counts[truth].2 += 1;
        }
    }
    if all == 0 {
        return None;
    }
    let used = counts.iter().filter(|(truth, predicted, _)| truth + predicted > 0);
    let scores: Vec<f64> = used
        .map(|(truth, predicted, both)| 2.0 * *both as f64 / (truth + predicted) as f64)
        .collect();
    let macro_f1 = scores.iter().sum::<f64>() / scores.len() as f64;
    Some(ClassificationMetrics { accuracy: right as f64 / all as f64, macro_f1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_scikit_learn() {
        // f1_score(truth, predicted, average='macro'); class 3 is in neither.
        let truth = [0, 0, 1, 1, 2, 2];
        let predicted = [0, 1, 1, 1, 0, 1];
        let found = classification_metrics(truth.into_iter().zip(predicted), 4).expect("rows");
        assert!((found.accuracy - 0.5).abs() < 1e-12);
        assert!((found.macro_f1 - 0.388_888_888_888_888_84).abs() < 1e-12);
        assert_eq!(classification_metrics([], 4), None);
    }
}
