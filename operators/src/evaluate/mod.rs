//! How good a result is, measured against what people judged: partitions against labels, rankings
//! against relevant documents, scores against gold scores.
//!
//! Pure functions of numbers. What gathers their input (an aggregate, a window) holds a
//! [`Contingency`] or [`RankingMeans`], which grow row by row and merge. Measures of clusters
//! without labels lie with the clusters ([`crate::cluster::silhouette()`]).

mod classes;
mod correlation;
mod partition;
mod ranking;

pub use classes::{ClassificationMetrics, classification_metrics};
pub use correlation::{average_ranks, pearson, spearman};
pub use partition::Contingency;
pub use ranking::{RankingMeans, RankingMetrics, ranking_metrics};
