//! Pairs of texts from texts with a label: two of one label belong together, two of different
//! labels don't (SetFit's way to fine-tune on few texts).

use crate::error::{Result, TrainError};
use crate::losses::Labels;
use crate::random::{Random, mix};

/// Most pairs that are made.
const PAIRS_MAX: usize = 20_000_000;

/// Pairs of the numbers of rows, and 1 or 0 for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    /// The first and the second row of each pair.
    pub rows: [Vec<u32>; 2],
    /// Whether they have one label.
    pub labels: Labels,
}

/// For each row `per_row` pairs with others of its class, and as many with rows of other classes,
/// drawn by chance that follows from `seed`. A row whose class has no other row is only in pairs of
/// the second kind.
///
/// # Errors
/// [`TrainError::Data`] where all rows have one class, or no two rows have the same, and
/// [`TrainError::Option`] for more pairs than can be held.
pub fn pairs_of_classes(classes: &[u32], per_row: usize, seed: u64) -> Result<Pairs> {
    let pairs = classes.len().saturating_mul(per_row).saturating_mul(2);
    if per_row == 0 || pairs > PAIRS_MAX {
        return Err(TrainError::Option(format!(
            "{per_row} pairs for each of {} texts can't be made: the number must be >= 1, and at most {PAIRS_MAX} pairs fit",
            classes.len()
        )));
    }
    // Rows by class: the rows of a class lie one after another.
    let mut order: Vec<u32> = (0..classes.len() as u32).collect();
    order.sort_by_key(|row| classes[*row as usize]);
    let mut random = Random::new(mix(seed));
    let (mut first, mut second, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let mut start = 0;
    for own in order.chunk_by(|a, b| classes[*a as usize] == classes[*b as usize]) {
        let others = order.len() - own.len();
        for (place, row) in own.iter().enumerate() {
            for _ in 0..per_row {
                if own.len() > 1 {
                    let other = random.below(own.len() - 1);
                    first.push(*row);
                    second.push(own[other + usize::from(other >= place)]);
                    labels.push(1.0);
                }
                if others > 0 {
                    let other = random.below(others);
                    let other = if other < start { other } else { other + own.len() };
                    first.push(*row);
                    second.push(order[other]);
                    labels.push(0.0);
                }
            }
        }
        start += own.len();
    }
    let alike = labels.iter().filter(|label| **label == 1.0).count();
    if alike == 0 || alike == labels.len() {
        let why = if alike == 0 { "no two texts have the same label" } else { "all have the same" };
        return Err(TrainError::Data(format!(
            "pairs of texts with and without the same label are needed, but {why}"
        )));
    }
    Ok(Pairs { rows: [first, second], labels: Labels::Scores { values: labels, per_row: 1 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_of_one_class_or_of_two_as_they_say() {
        let classes = [2, 0, 1, 0, 2, 2, 7];
        let pairs = pairs_of_classes(&classes, 3, 1).expect("pairs");
        let Labels::Scores { values, per_row: 1 } = &pairs.labels else { panic!("scores") };
        let [first, second] = &pairs.rows;
        // Rows 2 and 6 are alone in their classes.
        assert_eq!(values.len(), 5 * 6 + 2 * 3);
        for ((a, b), label) in first.iter().zip(second).zip(values) {
            let is_one = classes[*a as usize] == classes[*b as usize];
            assert!(a != b && is_one == (*label == 1.0), "{a} {b} {label}");
        }
        for row in 0..7 {
            assert!(first.iter().filter(|first| **first == row).count() >= 3, "{row}");
        }
        assert_eq!(pairs, pairs_of_classes(&classes, 3, 1).expect("pairs"));
        assert_ne!(pairs, pairs_of_classes(&classes, 3, 2).expect("pairs"));
    }

    #[test]
    fn classes_without_pairs_are_refused() {
        for (classes, per_row, says) in [
            (&[1, 1, 1][..], 2, "all have the same"),
            (&[1, 2, 3], 2, "no two texts"),
            (&[1, 2, 1], 0, "must be >= 1"),
            (&[1, 2, 1], usize::MAX, "at most"),
        ] {
            let error = pairs_of_classes(classes, per_row, 1).expect_err("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
