//! How good a model is on rows that it is not trained on: one number, more is better.

use sembla_models::trainable::Sequence;
use sembla_models::{CancelToken, ModelKind};

use crate::data::Dataset;
use crate::error::Result;
use crate::losses::Labels;
use crate::network::Network;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Spearman's correlation of similarities (or of a cross-encoder's scores) with given scores.
    Spearman,
    /// The share of anchors that are nearer to their positive than to each negative.
    TripletAccuracy,
    /// The mean reciprocal rank of each anchor's positive among the positives of all rows, up to
    /// 10.
    ReciprocalRank,
    /// The mean squared difference from a teacher's vectors, negated.
    NegativeError,
}

impl Metric {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spearman => "spearman",
            Self::TripletAccuracy => "triplet_accuracy",
            Self::ReciprocalRank => "mrr@10",
            Self::NegativeError => "negative_mse",
        }
    }
}

/// Rows to measure a model on.
#[derive(Debug)]
pub struct Evaluator {
    data: Dataset,
    metric: Metric,
}

/// Ranks below this count as nothing.
const RANK_MAX: usize = 10;

impl Evaluator {
    /// The metric follows from the rows: scores, triplets, pairs, or vectors of a teacher.
    pub fn new(data: Dataset) -> Self {
        let metric = match (&data.labels, data.columns.len()) {
            (Labels::Vectors { .. }, _) => Metric::NegativeError,
            (Labels::Scores { per_row: 1, .. }, _) => Metric::Spearman,
            (_, 3..) => Metric::TripletAccuracy,
            _ => Metric::ReciprocalRank,
        };
        Self { data, metric }
    }

    /// What is measured.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Measures a model.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`](sembla_models::ModelError::Cancelled).
    pub fn measure(&self, network: &mut Network, cancel: &CancelToken) -> Result<f64> {
        let width = network.width();
        let mut columns = Vec::new();
        for column in &self.data.columns {
            let texts: Vec<&Sequence> = column.iter().collect();
            columns.push(network.vectors(&texts, cancel)?);
        }
        if let (Metric::Spearman, ModelKind::CrossEncoder) = (self.metric, network.kind()) {
            let scores: Vec<f64> =
                columns[0].chunks_exact(width).map(|row| f64::from(row[0])).collect();
            return Ok(spearman(&scores, &self.scores()));
        }
        Ok(self.score(columns, width))
    }

    /// The value for these vectors of `width` components: for each column of texts a row per text.
    pub fn score(&self, mut columns: Vec<Vec<f32>>, width: usize) -> f64 {
        if self.metric != Metric::NegativeError {
            columns.iter_mut().for_each(|column| to_unit(column, width));
        }
        let row = |column: usize, row: usize| &columns[column][row * width..(row + 1) * width];
        let rows = 0..self.data.rows();
        match self.metric {
            Metric::Spearman => {
                let cosines: Vec<f64> = rows.map(|i| dot(row(0, i), row(1, i))).collect();
                spearman(&cosines, &self.scores())
            }
            Metric::TripletAccuracy => {
                let count = rows.len() as f64;
                let is_right = |i: &usize| {
                    let near = dot(row(0, *i), row(1, *i));
                    (2..columns.len()).all(|negative| dot(row(0, *i), row(negative, *i)) < near)
                };
                rows.filter(is_right).count() as f64 / count
            }
            Metric::ReciprocalRank => {
                let count = rows.len() as f64;
                let rank = |i: usize| {
                    let own = dot(row(0, i), row(1, i));
                    1 + (0..self.data.rows()).filter(|j| dot(row(0, i), row(1, *j)) > own).count()
                };
                let ranks = rows.map(rank).filter(|rank| *rank <= RANK_MAX);
                ranks.map(|rank| 1.0 / rank as f64).sum::<f64>() / count
            }
            Metric::NegativeError => {
                let Labels::Vectors { values, .. } = &self.data.labels else { return f64::NAN };
                let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
                let sum: f64 = columns[0].iter().zip(values).map(square).sum();
                -sum / values.len() as f64
            }
        }
    }

    fn scores(&self) -> Vec<f64> {
        match &self.data.labels {
            Labels::Scores { values, .. } => values.iter().map(|value| f64::from(*value)).collect(),
            _ => Vec::new(),
        }
    }

    /// A hash of the rows.
    pub(crate) fn fingerprint(&self) -> blake3::Hash {
        self.data.fingerprint()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0f32; 16];
    let (a, b) = (a.chunks(16), b.chunks(16));
    for (a, b) in a.zip(b) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    lanes.iter().map(|lane| f64::from(*lane)).sum()
}

pub(crate) fn to_unit(values: &mut [f32], width: usize) {
    for row in values.chunks_exact_mut(width) {
        let length = crate::head::length(row).max(1e-12);
        row.iter_mut().for_each(|value| *value /= length);
    }
}

/// Spearman's rank correlation; NaN where it has no meaning, as where one side is constant.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    sembla_operators::evaluate::spearman(a, b).ok().flatten().unwrap_or(f64::NAN)
}
