//! How online clusters are found: the options and their ranges.

use crate::error::{OperatorError, Result};
use crate::online::check_duration;

/// How micro-clusters become clusters at the end of each window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grouping {
    /// Average linkage merges micro-clusters whose rows are in the mean nearer than this cosine
    /// distance. How many clusters there are shows.
    Distance(f64),
    /// There are always `k` clusters: mini-batch k-means, each window from where the centres of the
    /// windows before, decayed, have come to. It begins with the first window of at least `k` rows;
    /// micro-clusters are the clusters then, and their options mean nothing.
    Count {
        /// Number of clusters.
        k: usize,
        /// What random choices depend on.
        seed: u64,
    },
}

/// How clusters of a stream are found.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterOptions {
    /// Least cosine of a row and the centre of its micro-cluster.
    pub threshold: f64,
    /// Microseconds of event time in which weights halve; `None`: ten times as long as the first
    /// window.
    pub half_life: Option<i64>,
    /// The weight (decayed rows) from which on a micro-cluster makes a cluster or is part of one.
    /// Lighter ones are outliers: their rows have a cluster only where one is near.
    pub min_weight: f64,
    /// Most micro-clusters that are remembered; the lightest go first.
    pub micro_clusters_max: usize,
    /// How micro-clusters become clusters.
    pub grouping: Grouping,
    /// A cluster keeps the id of an earlier one if at least this share of the earlier one's weight
    /// is in it; with this share of its own weight from one, a new cluster is split from that.
    pub match_share: f64,
    /// A cluster has grown or shrunk if its weight changed by at least this share.
    pub change_share: f64,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            threshold: 0.65,
            half_life: None,
            min_weight: 2.0,
            micro_clusters_max: 2000,
            grouping: Grouping::Distance(0.5),
            match_share: 0.3,
            change_share: 0.25,
        }
    }
}

impl ClusterOptions {
    /// Checks that options are in their ranges.
    pub(super) fn check(&self) -> Result<()> {
        crate::neighbours::check_threshold(self.threshold)?;
        check_duration("half_life", self.half_life)?;
        let refuse = |message: String| Err(OperatorError::Option(message));
        if !(self.min_weight >= 0.0 && self.min_weight.is_finite()) {
            return refuse(format!(
                "min_weight must be a number of rows >= 0, got {}",
                self.min_weight
            ));
        }
        if self.micro_clusters_max == 0 {
            return refuse("micro_clusters_max must be >= 1, got 0".into());
        }
        for (name, share) in
            [("match_share", self.match_share), ("change_share", self.change_share)]
        {
            if !(share > 0.0 && share <= 1.0) {
                return refuse(format!("{name} must be a share above 0 and up to 1, got {share}"));
            }
        }
        match self.grouping {
            Grouping::Distance(distance) if !(0.0..=2.0).contains(&distance) => refuse(format!(
                "distance must be a cosine distance between 0 and 2, got {distance}"
            )),
            Grouping::Count { k: 0, .. } => {
                refuse("k must be a number of clusters >= 1, got 0".into())
            }
            _ => Ok(()),
        }
    }

    /// The cosine from which on two micro-clusters become one: half way from the threshold to 1.
    pub(super) fn merge_threshold(&self) -> f32 {
        ((1.0 + self.threshold) / 2.0) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        let sound = ClusterOptions::default;
        assert_eq!(sound().check(), Ok(()));
        for (options, message) in [
            (
                ClusterOptions { threshold: 7.0, ..sound() },
                "threshold must be a cosine between -1 and 1, got 7",
            ),
            (
                ClusterOptions { half_life: Some(0), ..sound() },
                "half_life must be longer than 0, got 0 microseconds",
            ),
            (
                ClusterOptions { min_weight: f64::NAN, ..sound() },
                "min_weight must be a number of rows >= 0, got NaN",
            ),
            (
                ClusterOptions { micro_clusters_max: 0, ..sound() },
                "micro_clusters_max must be >= 1, got 0",
            ),
            (
                ClusterOptions { match_share: 0.0, ..sound() },
                "match_share must be a share above 0 and up to 1, got 0",
            ),
            (
                ClusterOptions { grouping: Grouping::Distance(-1.0), ..sound() },
                "distance must be a cosine distance between 0 and 2, got -1",
            ),
            (
                ClusterOptions { grouping: Grouping::Count { k: 0, seed: 0 }, ..sound() },
                "k must be a number of clusters >= 1, got 0",
            ),
        ] {
            assert_eq!(options.check(), Err(OperatorError::Option(message.into())));
        }
    }
}
