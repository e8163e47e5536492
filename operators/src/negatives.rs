//! Hard negatives: of the rows that are nearest to a query, those that don't answer it.
//!
//! What is kept, and in which order, is what sentence-transformers 6.2 keeps in
//! `mine_hard_negatives` for the same scores; sums and comparisons are in f32, as there. A margin
//! is measured from the positive with the lowest score, so that what may be a positive nobody has
//! noted is left out rather than taught to be wrong.

use crate::error::{OperatorError, Result};
use crate::evaluate::RandomState;
use crate::neighbours::Neighbour;

/// Candidates for each negative that is wanted, where conditions leave some out.
const CANDIDATES_PER_NEGATIVE: usize = 10;

/// How negatives are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct NegativesOptions {
    /// Negatives of each query, at most; at least 1.
    pub k: usize,
    /// So many of the nearest rows that could be negatives are skipped.
    pub range_min: usize,
    /// Rows past so many are not looked at; `None` is as many as are needed, ten times that where
    /// conditions leave rows out.
    pub range_max: Option<usize>,
    /// A negative's score is by so much below that of the positive.
    pub margin: Option<f32>,
    /// The same as a share of the positive's score.
    pub relative_margin: Option<f32>,
    /// The highest score of a negative.
    pub max_score: Option<f32>,
    /// The lowest score of a negative.
    pub min_score: Option<f32>,
    /// Whether negatives are drawn from those that could be, instead of taking the best.
    pub is_random: bool,
    /// What random choices depend on.
    pub seed: u32,
}

impl Default for NegativesOptions {
    fn default() -> Self {
        Self {
            k: 3,
            range_min: 0,
            range_max: None,
            margin: None,
            relative_margin: None,
            max_score: None,
            min_score: None,
            is_random: false,
            seed: 42,
        }
    }
}

impl NegativesOptions {
    /// Checks the options against each other.
    ///
    /// # Errors
    /// [`OperatorError::Option`].
    pub fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(OperatorError::Option(message));
        if self.k == 0 {
            return wrong("k must be >= 1, got 0".into());
        }
        let Some(range_max) = self.range_max else { return Ok(()) };
        if self.range_min >= range_max {
            return wrong(format!(
                "range_min must be below range_max, got {} and {range_max}",
                self.range_min
            ));
        }
        if self.k > range_max - self.range_min {
            return wrong(format!(
                "k is {}, but range_min {} and range_max {range_max} leave {} candidates; lower k or raise range_max",
                self.k,
                self.range_min,
                range_max - self.range_min
            ));
        }
        Ok(())
    }

    /// Whether a score decides which rows are left out.
    pub fn has_condition(&self) -> bool {
        let all = [self.margin, self.relative_margin, self.max_score, self.min_score];
        all.iter().any(Option::is_some)
    }

    /// The last rank that is looked at. `positives_max` is the most positives that a query has, and
    /// `is_rescored` whether scores are not those that the rows were found by.
    pub fn range_max(&self, positives_max: usize, is_rescored: bool) -> usize {
        let leaves_out = self.margin.is_some()
            || self.relative_margin.is_some()
            || self.max_score.is_some()
            || (is_rescored && self.min_score.is_some());
        let wanted = if leaves_out { CANDIDATES_PER_NEGATIVE } else { 1 };
        let all = || self.range_min + wanted.saturating_mul(self.k) + positives_max;
        self.range_max.unwrap_or_else(all)
    }
}

/// The negatives of a query, best first. `candidates` are its nearest rows, best first, more than
/// `range_max` by the most positives that a query has; `positives` are its positives with their
/// scores.
///
/// # Examples
/// ```
/// use sembla_operators::evaluate::RandomState;
/// use sembla_operators::negatives::{NegativesOptions, choose};
/// use sembla_operators::Neighbour;
///
/// let scores = [(0, 0.9), (1, 0.85), (2, 0.5), (3, 0.4)];
/// let candidates = scores.map(|(row, score)| Neighbour { row, score });
/// let options = NegativesOptions { k: 1, margin: Some(0.1), ..NegativesOptions::default() };
/// let mut random = RandomState::new(options.seed);
/// // Row 0 is the positive, and row 1 is as near as one.
/// let negatives = choose(&candidates, &[(0, 0.9)], 4, &options, &mut random);
/// assert_eq!(negatives, [Neighbour { row: 2, score: 0.5 }]);
/// ```
pub fn choose(
    candidates: &[Neighbour],
    positives: &[(u32, f32)],
    range_max: usize,
    options: &NegativesOptions,
    random: &mut RandomState,
) -> Vec<Neighbour> {
    let lowest = positives.iter().map(|(_, score)| *score).fold(f32::INFINITY, f32::min);
    let is_negative = |candidate: &&Neighbour| {
        let score = candidate.score;
        positives.iter().all(|(row, _)| *row != candidate.row)
            && options.margin.is_none_or(|margin| score + margin <= lowest)
            && options.relative_margin.is_none_or(|share| score <= lowest - lowest.abs() * share)
            && options.max_score.is_none_or(|most| score <= most)
            && options.min_score.is_none_or(|least| score >= least)
    };
    let mut found: Vec<Neighbour> = candidates.iter().filter(is_negative).copied().collect();
    // Scores of a cross-encoder are in another order than those that the rows were found by.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(range_max);
    found.drain(..options.range_min.min(found.len()));
    if options.is_random && found.len() > options.k {
        random.shuffle(&mut found);
        found.truncate(options.k);
        found.sort_by(Neighbour::best_first);
    }
    found.truncate(options.k);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(scores: &[f32]) -> Vec<Neighbour> {
        (0..).zip(scores).map(|(row, score)| Neighbour { row, score: *score }).collect()
    }

    fn rows(scores: &[f32], positives: &[(u32, f32)], options: &NegativesOptions) -> Vec<u32> {
        let range_max = options.range_max(positives.len(), false);
        let mut random = RandomState::new(options.seed);
        let found = choose(&candidates(scores), positives, range_max, options, &mut random);
        found.iter().map(|neighbour| neighbour.row).collect()
    }

    #[test]
    fn a_margin_is_measured_from_the_lowest_positive() {
        let scores = [0.9, 0.8, 0.75, 0.7, 0.6];
        let options = NegativesOptions { margin: Some(0.05), ..NegativesOptions::default() };
        assert_eq!(rows(&scores, &[(0, 0.9)], &options), [1, 2, 3]);
        assert_eq!(rows(&scores, &[(0, 0.9), (2, 0.75)], &options), [3, 4]);
        let options =
            NegativesOptions { relative_margin: Some(0.5), ..NegativesOptions::default() };
        assert_eq!(rows(&[-0.2, -0.3, -0.35], &[(0, -0.2)], &options), [1, 2]);
        let options = NegativesOptions { max_score: Some(0.8), min_score: Some(0.7), ..options };
        assert!(rows(&scores, &[(0, 0.9)], &options).is_empty());
        let options = NegativesOptions { relative_margin: None, ..options };
        assert_eq!(rows(&scores, &[(0, 0.9)], &options), [1, 2, 3]);
    }

    #[test]
    fn ranks_are_those_of_rows_that_could_be_negatives() {
        let scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4];
        let options = NegativesOptions {
            k: 2,
            range_min: 1,
            range_max: Some(3),
            ..NegativesOptions::default()
        };
        assert_eq!(rows(&scores, &[(1, 0.8)], &options), [2, 3]);
        let random = NegativesOptions { k: 1, is_random: true, ..options };
        let found: std::collections::BTreeSet<Vec<u32>> = (0..40)
            .map(|seed| rows(&scores, &[(1, 0.8)], &NegativesOptions { seed, ..random.clone() }))
            .collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [[2], [3]]);
    }

    #[test]
    fn options_that_leave_nothing_are_refused() {
        let check = |k, range_min, range_max| {
            let options =
                NegativesOptions { k, range_min, range_max, ..NegativesOptions::default() };
            options.check().map_err(|error| error.to_string())
        };
        assert!(check(0, 0, None).is_err());
        assert!(check(3, 5, Some(5)).is_err_and(|words| words.contains("below range_max")));
        assert!(check(3, 5, Some(7)).is_err_and(|words| words.contains("leave 2 candidates")));
        assert_eq!(check(2, 5, Some(7)), Ok(()));
        assert_eq!(NegativesOptions::default().range_max(2, false), 5);
        let margin = NegativesOptions { margin: Some(0.0), ..NegativesOptions::default() };
        assert_eq!(margin.range_max(2, false), 32);
        let least = NegativesOptions { min_score: Some(0.0), ..NegativesOptions::default() };
        assert_eq!((least.range_max(1, false), least.range_max(1, true)), (4, 31));
    }
}
