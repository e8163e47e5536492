//! From vectors to the score of a task, as MTEB defines them. Pure: what reads tables and runs
//! models is `measure`.

use std::collections::HashMap;

use rayon::prelude::*;
use sembla_models::{Embeddings, Similarity};
use sembla_operators::evaluate::{
    Contingency, RankingMeans, average_precision, mini_batch_k_means, ranking_metrics, spearman,
    weighted_f1,
};
use sembla_operators::{Host, UnitVectors, neighbours};
use sembla_sql::{SqlError, alike};

use crate::failure::{Failure, Result};

/// Rows of a batch of mini-batch k-means, and its seed.
const BATCH_ROWS: usize = 500;
pub(super) const SEED: u32 = 42;

/// Results of a search that count.
const CUT_OFF: usize = 10;

/// How similar each row of `a` is to the same row of `b`, by the model's similarity.
///
/// # Errors
/// Vectors of different dimensions.
pub(super) fn similarities(a: &Embeddings, b: &Embeddings, by: Similarity) -> Result<Vec<f64>> {
    let rows = |vectors: &Embeddings| vectors.dimension.max(1);
    let pairs = a.values.chunks_exact(rows(a)).zip(b.values.chunks_exact(rows(b)));
    pairs.map(|(a, b)| alike(by, a, b).map_err(operator)).collect()
}

/// Semantic textual similarity: Spearman's correlation with what people said.
///
/// # Errors
/// Scores that don't vary.
pub(super) fn sts(similarities: &[f64], gold: &[f64]) -> Result<f64> {
    let found = spearman(similarities, gold).map_err(operator)?;
    found.ok_or_else(|| undefined("the scores must be numbers that differ"))
}

/// Pair classification: the average precision of similarities as a classifier.
///
/// # Errors
/// Labels without a 1.
pub(super) fn pairs(similarities: &[f64], labels: &[f64]) -> Result<f64> {
    let labels: Vec<bool> = labels.iter().map(|label| *label == 1.0).collect();
    let found = average_precision(&labels, similarities).map_err(operator)?;
    found.ok_or_else(|| undefined("at least one label must be 1"))
}

/// Clustering: the V-measure of clusters, as many as there are labels, by mini-batch k-means.
///
/// # Errors
/// What the host says.
pub(super) fn clustering(vectors: &Embeddings, labels: &[String], host: &dyn Host) -> Result<f64> {
    let mut numbers: HashMap<&str, u64> = HashMap::new();
    let mut number = |label| {
        let next = numbers.len() as u64;
        *numbers.entry(label).or_insert(next)
    };
    let labels: Vec<u64> = labels.iter().map(|label| number(label.as_str())).collect();
    let k = numbers.len();
    if k < 2 {
        return Err(undefined("the labels must differ"));
    }
    let found = mini_batch_k_means(&vectors.values, vectors.dimension, k, BATCH_ROWS, SEED, host);
    let mut table = Contingency::default();
    for (label, cluster) in labels.iter().zip(found.map_err(operator)?) {
        table.add(*label, u64::from(cluster));
    }
    table.v_measure().ok_or_else(|| undefined("there must be texts"))
}

/// Bitext mining: the weighted F1 of taking the nearest row of `b` for the translation of a row of
/// `a`, which is the row of the same number.
///
/// # Errors
/// What the host says.
pub(super) fn bitext(
    a: &Embeddings,
    b: &Embeddings,
    by: Similarity,
    host: &dyn Host,
) -> Result<f64> {
    let nearest = nearest(a, b, by, 1, host)?;
    let truth: Vec<u64> = (0..nearest.len() as u64).collect();
    // A row without a direction finds nothing: a label that nobody has.
    let found = |found: &Vec<u32>| found.first().map_or(u64::MAX, |row| u64::from(*row));
    let predicted: Vec<u64> = nearest.iter().map(found).collect();
    let f1 = weighted_f1(&truth, &predicted).map_err(operator)?;
    f1.ok_or_else(|| undefined("there must be sentences"))
}

/// Retrieval: the mean nDCG of the first ten documents. `relevant` has the relevant rows of the
/// corpus for each query; queries without any count for nothing.
///
/// # Errors
/// Not one relevant document, and what the host says.
pub(super) fn retrieval(
    queries: &Embeddings,
    corpus: &Embeddings,
    by: Similarity,
    relevant: &[HashMap<u32, f64>],
    host: &dyn Host,
) -> Result<f64> {
    let nearest = nearest(queries, corpus, by, CUT_OFF, host)?;
    let mut means = RankingMeans::default();
    for (found, relevant) in nearest.iter().zip(relevant) {
        if let Some(metrics) = ranking_metrics(found, relevant, CUT_OFF) {
            means.add(&metrics);
        }
    }
    let means = means.means().ok_or_else(|| undefined("at least one document must be relevant"))?;
    Ok(means.ndcg)
}

/// Re-ranking: the mean average precision of candidates in the order of their scores, equal ones
/// with the irrelevant first. A candidate is of the query with its number in `query_of`.
///
/// # Errors
/// Not one relevant candidate.
pub(super) fn rerank(query_of: &[u32], scores: &[f64], relevance: &[f64]) -> Result<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| {
        let by_score = scores[*b].total_cmp(&scores[*a]);
        let of_query = query_of[*a].cmp(&query_of[*b]);
        of_query.then(by_score).then(relevance[*a].total_cmp(&relevance[*b]))
    });
    let mut means = RankingMeans::default();
    for candidates in order.chunk_by(|a, b| query_of[*a] == query_of[*b]) {
        let relevant: HashMap<usize, f64> =
            candidates.iter().map(|row| (*row, relevance[*row])).collect();
        if let Some(metrics) = ranking_metrics(candidates, &relevant, candidates.len()) {
            means.add(&metrics);
        }
    }
    let means =
        means.means().ok_or_else(|| undefined("at least one candidate must be relevant"))?;
    Ok(means.map)
}

/// The `k` rows of the corpus that are most similar to each query, best first, equal ones by row.
fn nearest(
    queries: &Embeddings,
    corpus: &Embeddings,
    by: Similarity,
    k: usize,
    host: &dyn Host,
) -> Result<Vec<Vec<u32>>> {
    if by == Similarity::Cosine {
        let unit = |vectors: &Embeddings| {
            UnitVectors::new(vectors.dimension, vectors.values.clone()).map_err(operator)
        };
        let (queries, corpus) = (unit(queries)?, unit(corpus)?);
        let found = neighbours::top_k(&queries, &corpus, k, -1.0, host).map_err(operator)?;
        let rows = |query| found.of(query).iter().map(|neighbour| neighbour.row).collect();
        return Ok((0..found.rows()).map(rows).collect());
    }
    let each = queries.values.par_chunks_exact(queries.dimension.max(1));
    each.map(|query| {
        if host.is_cancelled() {
            return Err(Failure::Interrupted(None));
        }
        let score = |(row, vector): (u32, &[f32])| Ok((alike(by, query, vector)?, row));
        let rows = (0_u32..).zip(corpus.values.chunks_exact(corpus.dimension.max(1)));
        let scores: Result<Vec<(f64, u32)>, sembla_operators::DimensionMismatch> =
            rows.map(score).collect();
        let mut scores = scores.map_err(operator)?;
        scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Ok(scores.into_iter().take(k).map(|(_, row)| row).collect())
    })
    .collect()
}

/// What an operator says.
pub(super) fn operator(error: impl Into<sembla_operators::OperatorError>) -> Failure {
    SqlError::from(error.into()).into()
}

/// A score that has no meaning on such rows.
pub(super) fn undefined(why: &str) -> Failure {
    Failure::user(format!("has no score: {why}"))
}
