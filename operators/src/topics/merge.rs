//! Merges topics that are alike, and numbers topics by size.
//!
//! Again and again the two most similar topics become one, whose place is recomputed from the rows
//! of both, until no two are as similar as the threshold and there are no more than wanted. Ties go
//! to the lower numbers, so the result depends on the input alone.

use std::collections::{BTreeMap, HashMap};

use super::counts::TopicWords;
use super::ctfidf::{Sparse, Weighting, WordWeights, cosine, sum_up};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::unit::UnitVectors;

/// When topics are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MergeOptions {
    /// Topics at least this similar (a cosine) are merged.
    pub threshold: Option<f64>,
    /// Topics are merged until there are at most this many.
    pub reduce_to: Option<usize>,
}

/// What makes two topics similar.
#[derive(Clone, Copy, Debug)]
pub enum Likeness<'a> {
    /// The cosine of the centroids of their rows. As many rows as topics are given for.
    Vectors(&'a UnitVectors),
    /// The cosine of their words' weights, with the rarity of words as it was before merging.
    Words(&'a TopicWords, Weighting),
}

/// Merges topics and numbers what is left by size, from 0.
///
/// Cost: about t² comparisons and memory for t vectors, for t topics.
///
/// # Errors
/// [`OperatorError::Option`] for a threshold that is no cosine or a reduction to 0 topics,
/// [`OperatorError::Data`] when there are not as many vectors as rows, what the host says.
pub fn merge(
    topics: &[Option<u32>],
    likeness: &Likeness<'_>,
    options: &MergeOptions,
    host: &dyn Host,
) -> Result<Vec<Option<u32>>> {
    check_options(options)?;
    let numbers: Vec<u32> = super::members(topics).into_keys().collect();
    let joined = match likeness {
        Likeness::Vectors(vectors) => {
            super::same_rows(topics.len(), vectors.rows(), "vectors")?;
            let _loan = Loan::new(host, numbers.len() * vectors.dimension() * size_of::<f64>())?;
            let centroids = centroids(topics, vectors);
            join(
                numbers.iter().map(|topic| Dense(centroids[topic].clone())).collect(),
                options,
                host,
            )?
        }
        Likeness::Words(counts, weighting) => {
            let _loan = Loan::new(host, counts.bytes())?;
            let weights = WordWeights::new(counts, weighting);
            let rows = numbers.iter().map(|topic| Weighted(weights.row(*topic).to_vec()));
            join(rows.collect(), options, host)?
        }
    };
    let new: HashMap<u32, u32> =
        numbers.iter().zip(joined).map(|(topic, into)| (*topic, numbers[into])).collect();
    let merged: Vec<Option<u32>> =
        topics.iter().map(|topic| topic.and_then(|topic| new.get(&topic).copied())).collect();
    Ok(renumber_by_size(&merged))
}

/// Numbers topics from 0, the largest first; of equally large ones the one with the earlier row.
pub fn renumber_by_size(topics: &[Option<u32>]) -> Vec<Option<u32>> {
    let mut order: Vec<(u32, Vec<u32>)> = super::members(topics).into_iter().collect();
    order.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then(a.1.first().cmp(&b.1.first())));
    let mut numbers = vec![None; topics.len()];
    for (number, (_, rows)) in (0..).zip(order) {
        rows.iter().for_each(|row| numbers[*row as usize] = Some(number));
    }
    numbers
}

/// The sum of each topic's vectors, in the order of rows.
pub(super) fn centroids(topics: &[Option<u32>], vectors: &UnitVectors) -> BTreeMap<u32, Vec<f64>> {
    let mut sums: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (row, topic) in topics.iter().enumerate() {
        if let Some(topic) = topic {
            let sum = sums.entry(*topic).or_insert_with(|| vec![0.0; vectors.dimension()]);
            sum.iter_mut().zip(vectors.row(row)).for_each(|(sum, x)| *sum += f64::from(*x));
        }
    }
    sums
}

fn check_options(options: &MergeOptions) -> Result<()> {
    if let Some(threshold) = options.threshold.filter(|t| !(-1.0..=1.0).contains(t)) {
        return Err(OperatorError::Option(format!(
            "merge_threshold must be a cosine between -1 and 1, got {threshold}"
        )));
    }
    if options.reduce_to == Some(0) {
        return Err(OperatorError::Option(
            "reduce_to must be a number of topics >= 1, got 0".to_string(),
        ));
    }
    Ok(())
}

/// Where a topic is, so that topics can be compared and joined.
trait Place: Sync {
    fn cosine(&self, other: &Self) -> f64;
    fn join(&mut self, other: Self);
}

/// The sum of a topic's vectors.
struct Dense(Vec<f64>);

impl Place for Dense {
    fn cosine(&self, other: &Self) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let norm = (dot(&self.0, &self.0) * dot(&other.0, &other.0)).sqrt();
        if norm > 0.0 { dot(&self.0, &other.0) / norm } else { 0.0 }
    }

    fn join(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(x, y)| *x += y);
    }
}

/// The weights of a topic's words.
struct Weighted(Sparse);

impl Place for Weighted {
    fn cosine(&self, other: &Self) -> f64 {
        cosine(&self.0, &other.0)
    }

    fn join(&mut self, other: Self) {
        self.0.extend(other.0);
        sum_up(&mut self.0);
    }
}

/// For each place the place that it was joined into; at the end itself, or a lower one.
fn join<P: Place>(places: Vec<P>, options: &MergeOptions, host: &dyn Host) -> Result<Vec<usize>> {
    let count = places.len();
    let mut into: Vec<usize> = (0..count).collect();
    let mut places: Vec<Option<P>> = places.into_iter().map(Some).collect();
    let mut best: Vec<Option<(f64, usize)>> = Vec::with_capacity(count);
    for place in 0..count {
        check(host)?;
        best.push(nearest(&places, place));
    }
    let mut left = count;
    while let Some((score, a, b)) = most_similar(&best) {
        check(host)?;
        let wanted = options.reduce_to.is_some_and(|most| left > most)
            || options.threshold.is_some_and(|threshold| score >= threshold);
        let (Some(Some(removed)), true) = (wanted.then(|| places[b].take()), wanted) else { break };
        if let Some(kept) = &mut places[a] {
            kept.join(removed);
        }
        into.iter_mut().filter(|place| **place == b).for_each(|place| *place = a);
        left -= 1;
        best[a] = nearest(&places, a);
        best[b] = None;
        for other in (0..count).filter(|other| *other != a) {
            match (best[other], &places[other], &places[a]) {
                (Some((_, near)), _, _) if near == a || near == b => {
                    best[other] = nearest(&places, other);
                }
                (Some((score, near)), Some(place), Some(kept)) => {
                    let new = kept.cosine(place);
                    if new > score || (new == score && a < near) {
                        best[other] = Some((new, a));
                    }
                }
                _ => {}
            }
        }
        host.progress("merging topics", (count - left) as u64, count as u64);
    }
    Ok(into)
}

/// The place that is most similar to a place, of equal ones the lowest.
fn nearest<P: Place>(places: &[Option<P>], of: usize) -> Option<(f64, usize)> {
    let own = places[of].as_ref()?;
    let others = places.iter().enumerate().filter(|(other, _)| *other != of);
    let scored = others.filter_map(|(other, place)| Some((own.cosine(place.as_ref()?), other)));
    scored.min_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)))
}

/// The two places that are most similar, the lower first; of equal pairs the lowest.
fn most_similar(best: &[Option<(f64, usize)>]) -> Option<(f64, usize, usize)> {
    let pairs = best.iter().enumerate().filter_map(|(place, best)| {
        best.map(|(score, other)| (score, place.min(other), place.max(other)))
    });
    pairs.min_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))))
}

#[cfg(test)]
mod tests {
    use super::super::stop_words::StopWords;
    use super::super::words::{WordOptions, Words};
    use super::*;
    use crate::host::Unbounded;
    use crate::similarity::tests::random_vector;

    fn by_vectors(
        topics: &[Option<u32>],
        vectors: &UnitVectors,
        threshold: Option<f64>,
        reduce_to: Option<usize>,
    ) -> Vec<Option<u32>> {
        let options = MergeOptions { threshold, reduce_to };
        merge(topics, &Likeness::Vectors(vectors), &options, &Unbounded).expect("merged")
    }

    #[test]
    fn topics_are_numbered_by_size() {
        let topics = [Some(9), None, Some(4), Some(4), Some(7), Some(9), Some(9)];
        let wanted = [Some(0), None, Some(1), Some(1), Some(2), Some(0), Some(0)];
        assert_eq!(renumber_by_size(&topics), wanted);
        assert_eq!(renumber_by_size(&[Some(5), Some(3)]), [Some(0), Some(1)]);
        assert!(renumber_by_size(&[]).is_empty());
    }

    #[test]
    fn similar_topics_become_one() {
        let rows = vec![1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9, 1.0, 1.0, 0.0, 0.0];
        let vectors = UnitVectors::new(2, rows).expect("rows");
        let topics = [Some(3), Some(1), Some(0), Some(2), Some(5), Some(8)];
        let merged = by_vectors(&topics, &vectors, Some(0.95), None);
        assert_eq!(merged, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(3)]);
        let untouched = by_vectors(&topics, &vectors, None, None);
        assert_eq!(untouched, [Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)]);
        let one = by_vectors(&topics, &vectors, None, Some(1));
        assert_eq!(one, [Some(0); 6]);
        assert_eq!(by_vectors(&[None], &vectors.select(&[0]), None, Some(1)), [None]);
    }

    /// The plain way: all pairs again for every merge.
    fn slow(vectors: &UnitVectors, reduce_to: usize) -> Vec<Option<u32>> {
        let mut topics: Vec<Option<u32>> = (0..vectors.rows() as u32).map(Some).collect();
        loop {
            let sums = centroids(&topics, vectors);
            if sums.len() <= reduce_to {
                return renumber_by_size(&topics);
            }
            let mut best = (f64::NEG_INFINITY, 0, 0);
            for (a, x) in &sums {
                for (b, y) in sums.range(a + 1..) {
                    let score = Dense(x.clone()).cosine(&Dense(y.clone()));
                    best = if score > best.0 { (score, *a, *b) } else { best };
                }
            }
            topics.iter_mut().filter(|topic| **topic == Some(best.2)).for_each(|topic| {
                *topic = Some(best.1);
            });
        }
    }

    #[test]
    fn merging_is_that_of_the_plain_way() {
        for seed in 0..8 {
            // Components of few bits, so that sums are exact in any order, and equal rows.
            let mut values = random_vector(40 * 3, seed);
            values.iter_mut().for_each(|x| *x = (*x * 2.0).round());
            let vectors = UnitVectors::new(3, values).expect("rows");
            let topics: Vec<Option<u32>> = (0..40).map(Some).collect();
            for reduce_to in [1, 7, 20, 39, 40] {
                let wanted = slow(&vectors, reduce_to);
                assert_eq!(by_vectors(&topics, &vectors, None, Some(reduce_to)), wanted);
            }
        }
    }

    #[test]
    fn topics_with_the_same_words_become_one() {
        let texts =
            ["card lost card", "lost card", "exchange rate", "rate exchange exchange", "pin"];
        let topics = [Some(0), Some(1), Some(2), Some(3), Some(4)];
        let options = WordOptions { stop_words: StopWords::None, ..WordOptions::default() };
        let words = Words::new(&options, &texts).expect("options");
        let (counts, _loan) =
            TopicWords::count(&texts, &topics, &words, 100, &Unbounded).expect("counts");
        let likeness = Likeness::Words(&counts, Weighting::default());
        let options = MergeOptions { threshold: Some(0.7), reduce_to: None };
        let merged = merge(&topics, &likeness, &options, &Unbounded).expect("merged");
        assert_eq!(merged, [Some(0), Some(0), Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn bad_options_are_refused() {
        let vectors = UnitVectors::new(1, vec![1.0]).expect("rows");
        let refused = |options| {
            let likeness = Likeness::Vectors(&vectors);
            merge(&[Some(0)], &likeness, &options, &Unbounded).expect_err("refused").to_string()
        };
        let message = refused(MergeOptions { threshold: Some(7.0), reduce_to: None });
        assert_eq!(message, "merge_threshold must be a cosine between -1 and 1, got 7");
        let message = refused(MergeOptions { threshold: None, reduce_to: Some(0) });
        assert_eq!(message, "reduce_to must be a number of topics >= 1, got 0");
    }
}
