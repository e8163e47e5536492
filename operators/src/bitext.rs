//! Bitext mining: which rows of two sets are translations of each other, by margin scores.
//!
//! A cosine alone says little across languages: some rows are near to everything. The margin
//! compares the cosine of two rows with how near each is to its `k` nearest rows of the other set
//! (Artetxe and Schwenk, "Margin-based Parallel Corpus Mining with Multilingual Sentence
//! Embeddings", 2019). With `m` for the mean of the `2k` cosines of both neighbourhoods:
//!
//! | margin | score | kept from |
//! |---|---|---|
//! | ratio | `cos / m` | 1 |
//! | distance | `cos - m` | 0 |
//! | absolute | `cos` | 0 |

use rayon::prelude::*;

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours::{self, Neighbour, Neighbours, Pair};
use crate::unit::UnitVectors;

/// How the cosine of two rows is set against their neighbourhoods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Margin {
    /// The cosine divided by the mean of the neighbourhoods. Where that mean is not above 0 there
    /// is no score.
    #[default]
    Ratio,
    /// The cosine less the mean of the neighbourhoods.
    Distance,
    /// The cosine alone.
    Absolute,
}

impl Margin {
    /// The least score that is a translation by default: as near as the neighbourhoods are in the
    /// mean, or, for [`Margin::Absolute`], nearer than a right angle. From 1.2 on, ratios are good.
    pub fn default_threshold(self) -> f64 {
        match self {
            Self::Ratio => 1.0,
            Self::Distance | Self::Absolute => 0.0,
        }
    }

    fn score(self, cosine: f32, mean_a: f64, mean_b: f64) -> Option<f32> {
        let (cosine, mean) = (f64::from(cosine), f64::midpoint(mean_a, mean_b));
        match self {
            Self::Ratio => (mean > 0.0).then(|| (cosine / mean) as f32),
            Self::Distance => Some((cosine - mean) as f32),
            Self::Absolute => Some(cosine as f32),
        }
    }
}

/// What is mined.
#[derive(Clone, Debug, PartialEq)]
pub struct BitextOptions {
    /// How scores are made.
    pub margin: Margin,
    /// Nearest rows of the other set that make a row's neighbourhood and are candidates for it; at
    /// least 1.
    pub k: usize,
    /// Least score of a pair; [`Margin::default_threshold`] unless given.
    pub threshold: Option<f64>,
}

impl Default for BitextOptions {
    fn default() -> Self {
        Self { margin: Margin::default(), k: 4, threshold: None }
    }
}

/// Pairs of a row of `source` (`a`) and a row of `target` (`b`) that are translations, with their
/// margin scores, best first (equal scores: the lower `a`, then the lower `b`). No row is in two
/// pairs.
///
/// Each row of either set proposes the candidate that it scores best with (equal scores: the lower
/// row); the proposals are accepted from the best down, if neither row is taken.
///
/// Cost: that of [`neighbours::top_k`] both ways; memory for `k` neighbours of each row.
///
/// # Errors
/// Options that can't be, different dimensions, what the host says.
///
/// # Examples
/// ```
/// use sembla_operators::bitext::{self, BitextOptions, Margin};
/// use sembla_operators::{Unbounded, UnitVectors};
///
/// let english = UnitVectors::new(2, vec![1.0, 0.0, 0.0, 1.0])?;
/// let german = UnitVectors::new(2, vec![0.1, 0.9, 0.9, 0.1])?;
/// let options = BitextOptions { margin: Margin::Absolute, ..BitextOptions::default() };
/// let pairs = bitext::mine(&english, &german, &options, &Unbounded)?;
/// let rows: Vec<(u32, u32)> = pairs.iter().map(|pair| (pair.a, pair.b)).collect();
/// assert_eq!(rows, [(0, 1), (1, 0)]);
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub fn mine(
    source: &UnitVectors,
    target: &UnitVectors,
    options: &BitextOptions,
    host: &dyn Host,
) -> Result<Vec<Pair>> {
    let threshold = options.threshold.unwrap_or_else(|| options.margin.default_threshold());
    if options.k == 0 {
        return Err(OperatorError::Option("k must be >= 1, got 0".into()));
    }
    if threshold.is_nan() {
        return Err(OperatorError::Option("threshold must be a number, got NaN".into()));
    }
    let forward = neighbours::top_k(source, target, options.k, -1.0, host)?;
    let _forward_loan = Loan::new(host, Neighbours::bytes(forward.rows(), options.k))?;
    let backward = neighbours::top_k(target, source, options.k, -1.0, host)?;
    let _backward_loan = Loan::new(host, Neighbours::bytes(backward.rows(), options.k))?;
    check(host)?;

    let (source_means, target_means) = (means(&forward), means(&backward));
    let score = |a: u32, b: u32, cosine: f32| {
        let (mean_a, mean_b) = (source_means[a as usize], target_means[b as usize]);
        let score = options.margin.score(cosine, mean_a, mean_b)?;
        (f64::from(score) >= threshold).then_some(Pair { a, b, score })
    };
    let mut proposals = proposals(&forward, |row, found| score(row, found.row, found.score));
    proposals.extend(self::proposals(&backward, |row, found| score(found.row, row, found.score)));
    check(host)?;
    proposals.par_sort_unstable_by(Pair::best_first);
    Ok(one_to_one(proposals, source.rows(), target.rows()))
}

/// The mean cosine of each row's neighbourhood; of none, 0.
fn means(neighbours: &Neighbours) -> Vec<f64> {
    let mean = |row| {
        let found = neighbours.of(row);
        let sum: f64 = found.iter().map(|neighbour| f64::from(neighbour.score)).sum();
        sum / found.len().max(1) as f64
    };
    (0..neighbours.rows()).map(mean).collect()
}

/// For each row the best of the pairs that it can make with its neighbours.
fn proposals(
    neighbours: &Neighbours,
    pair: impl Fn(u32, &Neighbour) -> Option<Pair> + Sync,
) -> Vec<Pair> {
    let best = |row: usize| {
        let pairs = neighbours.of(row).iter().filter_map(|found| pair(row as u32, found));
        pairs.min_by(Pair::best_first)
    };
    (0..neighbours.rows()).into_par_iter().filter_map(best).collect()
}

/// The pairs, from the first on, whose rows are in no earlier one.
fn one_to_one(mut pairs: Vec<Pair>, rows_a: usize, rows_b: usize) -> Vec<Pair> {
    let (mut taken_a, mut taken_b) = (vec![false; rows_a], vec![false; rows_b]);
    pairs.retain(|pair| {
        let (a, b) = (&mut taken_a[pair.a as usize], &mut taken_b[pair.b as usize]);
        let is_free = !*a && !*b;
        if is_free {
            (*a, *b) = (true, true);
        }
        is_free
    });
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unbounded;
    use crate::similarity::tests::random_vector;
    use crate::test_rows::random_rows;

    const MARGINS: [Margin; 3] = [Margin::Ratio, Margin::Distance, Margin::Absolute];

    /// The definition, word by word.
    fn slow_mine(a: &UnitVectors, b: &UnitVectors, options: &BitextOptions) -> Vec<Pair> {
        let nearest = |from: &UnitVectors, row: usize, to: &UnitVectors| {
            let mut found: Vec<(f32, usize)> = (0..to.rows())
                .filter(|other| from.has_direction(row) && to.has_direction(*other))
                .map(|other| (from.cosine(row, to, other), other))
                .collect();
            found.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
            found.truncate(options.k);
            found
        };
        let mean = |found: &[(f32, usize)]| {
            let sum: f64 = found.iter().map(|x| f64::from(x.0)).sum();
            if found.is_empty() { 0.0 } else { sum / found.len() as f64 }
        };
        let from_a: Vec<_> = (0..a.rows()).map(|row| nearest(a, row, b)).collect();
        let from_b: Vec<_> = (0..b.rows()).map(|row| nearest(b, row, a)).collect();
        let score = |row_a: usize, row_b: usize| {
            let cosine = f64::from(a.cosine(row_a, b, row_b));
            let mean = (mean(&from_a[row_a]) + mean(&from_b[row_b])) / 2.0;
            let score = match options.margin {
                Margin::Ratio if mean <= 0.0 => return None,
                Margin::Ratio => cosine / mean,
                Margin::Distance => cosine - mean,
                Margin::Absolute => cosine,
            };
            Some(Pair { a: row_a as u32, b: row_b as u32, score: score as f32 })
        };
        let mut candidates = Vec::new();
        for (row, found) in from_a.iter().enumerate() {
            let mut pairs: Vec<Pair> = found.iter().filter_map(|x| score(row, x.1)).collect();
            pairs.sort_by(Pair::best_first);
            candidates.extend(pairs.first());
        }
        for (row, found) in from_b.iter().enumerate() {
            let mut pairs: Vec<Pair> = found.iter().filter_map(|x| score(x.1, row)).collect();
            pairs.sort_by(Pair::best_first);
            candidates.extend(pairs.first());
        }
        candidates.sort_by(Pair::best_first);
        let threshold = options.threshold.unwrap_or(options.margin.default_threshold());
        let mut accepted: Vec<Pair> = Vec::new();
        for pair in candidates {
            let is_free = accepted.iter().all(|other| other.a != pair.a && other.b != pair.b);
            if is_free && f64::from(pair.score) >= threshold {
                accepted.push(pair);
            }
        }
        accepted
    }

    #[test]
    fn mining_is_what_the_definition_says() {
        for (rows_a, rows_b) in [(0, 3), (3, 0), (1, 1), (40, 90), (150, 130)] {
            let (a, b) = (random_rows(rows_a, 6, 5), random_rows(rows_b, 6, 6));
            for margin in MARGINS {
                for (k, threshold) in [(1, None), (4, None), (4, Some(0.3)), (200, Some(-1.0))] {
                    let options = BitextOptions { margin, k, threshold };
                    let got = mine(&a, &b, &options, &Unbounded).expect("mined");
                    assert_eq!(got, slow_mine(&a, &b, &options), "{rows_a} {rows_b} {options:?}");
                }
            }
        }
    }

    /// The same vectors twice, each copy with noise of its own, one of them shuffled; and in both
    /// sets as many rows without a partner.
    #[test]
    fn noisy_copies_find_each_other() {
        const ROWS: usize = 400;
        const DIMENSION: usize = 64;
        let meaning = random_vector(ROWS * DIMENSION, 1);
        let noisy = |seed: u64, place: &dyn Fn(usize) -> usize| {
            let noise = random_vector(ROWS * DIMENSION, seed);
            let mut values = random_vector(2 * ROWS * DIMENSION, seed + 50);
            for row in 0..ROWS {
                for i in 0..DIMENSION {
                    let at = row * DIMENSION + i;
                    values[place(row) * DIMENSION + i] = meaning[at] + 0.4 * noise[at];
                }
            }
            UnitVectors::new(DIMENSION, values).expect("rows")
        };
        let shuffled = |row: usize| row * 7 % ROWS;
        let (source, target) = (noisy(2, &|row| row), noisy(3, &shuffled));
        let thresholds = [1.5, 0.25, 0.6];
        for (margin, threshold) in MARGINS.into_iter().zip(thresholds) {
            let options =
                BitextOptions { margin, threshold: Some(threshold), ..BitextOptions::default() };
            let mut found = mine(&source, &target, &options, &Unbounded).expect("mined");
            found.sort_by_key(|pair| pair.a);
            let found: Vec<(usize, usize)> =
                found.iter().map(|pair| (pair.a as usize, pair.b as usize)).collect();
            let wanted: Vec<(usize, usize)> = (0..ROWS).map(|row| (row, shuffled(row))).collect();
            assert_eq!(found, wanted, "{margin:?}: precision and recall are 1");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let (a, b) = (random_rows(3, 4, 1), random_rows(3, 5, 1));
        let options = BitextOptions { k: 0, ..BitextOptions::default() };
        let error = mine(&a, &a, &options, &Unbounded).expect_err("k");
        assert!(error.to_string().starts_with("k must be >= 1, got 0"), "{error}");
        assert!(mine(&a, &b, &BitextOptions::default(), &Unbounded).is_err());
        let options = BitextOptions { threshold: Some(f64::NAN), ..BitextOptions::default() };
        assert!(mine(&a, &a, &options, &Unbounded).is_err());
    }
}
