//! How good a result is, measured against what people judged: partitions against labels, rankings
//! against relevant documents, scores against gold scores.
//!
//! Pure functions of numbers. What gathers their input (an aggregate, a window) holds a
//! [`Contingency`] or [`RankingMeans`], which grow row by row and merge. Measures of clusters
//! without labels lie with the clusters ([`crate::cluster::silhouette()`]). What benchmarks of
//! models need besides, to give the scores that others publish, is here too: NumPy's random numbers
//! ([`RandomState`]) and scikit-learn's mini-batch k-means.

mod classes;
mod correlation;
mod minibatch;
mod numpy;
mod partition;
mod precision;
mod ranking;

pub use classes::{ClassificationMetrics, classification_metrics};
pub use correlation::{average_ranks, pearson, spearman};
pub use minibatch::mini_batch_k_means;
pub use numpy::RandomState;
pub use partition::Contingency;
pub use precision::{average_precision, weighted_f1};
pub use ranking::{RankingMeans, RankingMetrics, ranking_metrics};
