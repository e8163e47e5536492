//! How good rankings are, against documents that were judged relevant: nDCG, MRR, MAP, recall and
//! precision at a cut-off, as sentence-transformers' `InformationRetrievalEvaluator` counts them.
//!
//! The caller has put each ranking in order, equal scores by ascending id.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// The measures of one query's first `k` results, or their means over queries. All in 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RankingMetrics {
    /// Discounted cumulative gain `Σ gainᵢ / log₂(i + 1)` over ranks `i` from 1, divided by that
    /// of the best possible ranking. The gain is the judged relevance itself, not `2^relevance`.
    pub ndcg: f64,
    /// One divided by the rank of the first relevant result; 0 if there is none.
    pub mrr: f64,
    /// The precision at each relevant result, summed, divided by the smaller of `k` and the number
    /// of relevant documents.
    pub map: f64,
    /// Relevant results, divided by the number of relevant documents.
    pub recall: f64,
    /// Relevant results, divided by `k`.
    pub precision: f64,
}

/// The measures of one ranking, the best result first, cut off after `k` results.
///
/// A document is relevant if `judgements` gives it a relevance above 0. A result that was there
/// before takes a rank and gains nothing. `None` if no document is relevant or `k` is 0: such a
/// query measures nothing. Cost: one pass over the results, a sort of the judgements.
///
/// # Examples
/// ```
/// use std::collections::HashMap;
///
/// use sembla_operators::evaluate::ranking_metrics;
///
/// let judgements = HashMap::from([("a", 1.0), ("b", 1.0)]);
/// let metrics = ranking_metrics(&["x", "a"], &judgements, 10);
/// assert_eq!(metrics.map(|metrics| (metrics.mrr, metrics.recall)), Some((0.5, 0.5)));
/// ```
pub fn ranking_metrics<T: Eq + Hash>(
    ranked: &[T],
    judgements: &HashMap<T, f64>,
    k: usize,
) -> Option<RankingMetrics> {
    let mut ideal: Vec<f64> = judgements.values().copied().filter(|gain| *gain > 0.0).collect();
    if ideal.is_empty() || k == 0 {
        return None;
    }
    ideal.sort_by(|a, b| b.total_cmp(a));
    let relevant = ideal.len();

    let mut seen = HashSet::new();
    let gains: Vec<f64> = ranked[..k.min(ranked.len())]
        .iter()
        .map(|id| if seen.insert(id) { judgements.get(id).copied().unwrap_or(0.0) } else { 0.0 })
        .map(|gain| if gain > 0.0 { gain } else { 0.0 })
        .collect();
    let mut found = 0;
    let mut metrics = RankingMetrics::default();
    for (position, _) in gains.iter().enumerate().filter(|(_, gain)| **gain > 0.0) {
        let rank = (position + 1) as f64;
        found += 1;
        metrics.map += f64::from(found) / rank;
        if found == 1 {
            metrics.mrr = 1.0 / rank;
        }
    }
    metrics.map /= k.min(relevant) as f64;
    metrics.recall = f64::from(found) / relevant as f64;
    metrics.precision = f64::from(found) / k as f64;
    metrics.ndcg = discounted(&gains) / discounted(&ideal[..k.min(relevant)]);
    Some(metrics)
}

/// `Σ gainᵢ / log₂(i + 1)` over ranks from 1.
fn discounted(gains: &[f64]) -> f64 {
    gains.iter().enumerate().map(|(position, gain)| gain / (position as f64 + 2.0).log2()).sum()
}

/// Means over queries, gathered query by query.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RankingMeans {
    sums: RankingMetrics,
    queries: u64,
}

impl RankingMeans {
    /// Adds a query's measures.
    pub fn add(&mut self, metrics: &RankingMetrics) {
        self.merge(&Self { sums: *metrics, queries: 1 });
    }

    /// Adds all queries that another has gathered.
    pub fn merge(&mut self, other: &Self) {
        self.sums.ndcg += other.sums.ndcg;
        self.sums.mrr += other.sums.mrr;
        self.sums.map += other.sums.map;
        self.sums.recall += other.sums.recall;
        self.sums.precision += other.sums.precision;
        self.queries += other.queries;
    }

    /// Number of queries.
    pub fn queries(&self) -> u64 {
        self.queries
    }

    /// The means; `None` without a query.
    pub fn means(&self) -> Option<RankingMetrics> {
        let mean = |sum: f64| sum / self.queries as f64;
        (self.queries > 0).then(|| RankingMetrics {
            ndcg: mean(self.sums.ndcg),
            mrr: mean(self.sums.mrr),
            map: mean(self.sums.map),
            recall: mean(self.sums.recall),
            precision: mean(self.sums.precision),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::similarity::tests::random_vector;

    fn judged(pairs: &[(char, f64)]) -> HashMap<char, f64> {
        pairs.iter().copied().collect()
    }

    fn near(got: RankingMetrics, want: [f64; 5]) {
        let got = [got.ndcg, got.mrr, got.map, got.recall, got.precision];
        let close = got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-12);
        assert!(close, "{got:?} and {want:?}");
    }

    #[test]
    fn binary_figures_are_those_of_sentence_transformers() {
        let queries = [
            ("badceg", judged(&[('a', 1.0), ('c', 1.0), ('h', 1.0)])),
            ("cdeba", judged(&[('b', 1.0)])),
            ("fgh", judged(&[('d', 1.0), ('e', 1.0)])),
            ("abc", judged(&[('a', 0.0)])),
        ];
        for (k, want) in [
            (3, [0.09869397032195508, 1.0 / 6.0, 1.0 / 18.0, 1.0 / 9.0, 1.0 / 9.0]),
            (10, [0.30962193851326864, 0.25, 7.0 / 36.0, 5.0 / 9.0, 0.1]),
        ] {
            let mut means = RankingMeans::default();
            for (ranked, judgements) in &queries {
                let ranked: Vec<char> = ranked.chars().collect();
                if let Some(metrics) = ranking_metrics(&ranked, judgements, k) {
                    let mut one = RankingMeans::default();
                    one.add(&metrics);
                    means.merge(&one);
                }
            }
            assert_eq!(means.queries(), 3);
            near(means.means().expect("three queries"), want);
        }
    }

    #[test]
    fn graded_ndcg_is_that_of_scikit_learn() {
        let gains =
            judged(&[('a', 3.0), ('b', 2.0), ('c', 0.0), ('d', 1.0), ('e', 0.0), ('f', 2.0)]);
        let ranked = ['a', 'c', 'd', 'e', 'b', 'f'];
        let ndcg = |k| ranking_metrics(&ranked, &gains, k).expect("relevant documents").ndcg;
        assert!((ndcg(4) - 0.614_840_197_743_570_2).abs() < 1e-12);
        assert!((ndcg(6) - 0.875_904_857_090_380_7).abs() < 1e-12);
    }

    #[test]
    fn the_best_ranking_has_one_and_repetition_gains_nothing() {
        let gains = judged(&[('a', 2.0), ('b', 1.0), ('c', -1.0), ('d', f64::NAN)]);
        let best = ranking_metrics(&['a', 'b'], &gains, 2).expect("relevant documents");
        near(best, [1.0, 1.0, 1.0, 1.0, 1.0]);
        let worse = ranking_metrics(&['a', 'a', 'b'], &gains, 3).expect("relevant documents");
        near(worse, [(2.0 + 0.5) / (2.0 + 1.0 / 3f64.log2()), 1.0, 5.0 / 6.0, 1.0, 2.0 / 3.0]);
        let none = ranking_metrics(&['c', 'd'], &gains, 2).expect("relevant documents");
        near(none, [0.0; 5]);
    }

    /// Each measure by its definition, counting again at every rank.
    fn slow(ranked: &[u32], judgements: &HashMap<u32, f64>, k: usize) -> [f64; 5] {
        let gain = |rank: usize| {
            let first = !ranked[..rank - 1].contains(&ranked[rank - 1]);
            judgements.get(&ranked[rank - 1]).copied().filter(|_| first).unwrap_or(0.0)
        };
        let ranks = || 1..=k.min(ranked.len());
        let hits = |until: usize| (1..=until).filter(|rank| gain(*rank) > 0.0).count() as f64;
        let mut best: Vec<f64> = judgements.values().copied().filter(|gain| *gain > 0.0).collect();
        let relevant = best.len() as f64;
        best.sort_by(|a, b| b.total_cmp(a));
        let dcg: f64 = ranks().map(|rank| gain(rank) / (rank as f64 + 1.0).log2()).sum();
        let ideal = (1..).zip(best).take(k);
        let ideal: f64 = ideal.map(|(rank, gain)| gain / f64::from(1 + rank).log2()).sum();
        let first = ranks().find(|rank| gain(*rank) > 0.0);
        let found = hits(k.min(ranked.len()));
        let precise = ranks().filter(|rank| gain(*rank) > 0.0).map(|rank| hits(rank) / rank as f64);
        [
            dcg / ideal,
            first.map_or(0.0, |rank| 1.0 / rank as f64),
            precise.sum::<f64>() / relevant.min(k as f64),
            found / relevant,
            found / k as f64,
        ]
    }

    #[test]
    fn random_rankings_are_measured_as_their_definitions_say() {
        let mut measured = 0;
        for seed in 0..60 {
            let draw = |len, seed, to: f32| -> Vec<u32> {
                let random = random_vector(len, seed);
                random.iter().map(|x| ((x + 1.0) / 2.0 * to) as u32).collect()
            };
            let ranked = draw(seed as usize % 13, seed + 1, 20.0);
            let documents = draw(seed as usize % 9, seed + 100, 20.0);
            let grades = draw(documents.len(), seed + 200, 4.0);
            let judgements: HashMap<u32, f64> =
                documents.into_iter().zip(grades.into_iter().map(f64::from)).collect();
            for k in [1, 3, 10] {
                if let Some(fast) = ranking_metrics(&ranked, &judgements, k) {
                    near(fast, slow(&ranked, &judgements, k));
                    measured += 1;
                }
            }
        }
        assert!(measured > 100);
    }

    #[test]
    fn without_relevant_documents_nothing_is_measured() {
        assert_eq!(ranking_metrics(&['a'], &judged(&[]), 10), None);
        assert_eq!(ranking_metrics(&['a'], &judged(&[('a', 1.0)]), 0), None);
        assert!(ranking_metrics(&[], &judged(&[('a', 1.0)]), 5).is_some());
        assert_eq!(RankingMeans::default().means(), None);
    }
}
