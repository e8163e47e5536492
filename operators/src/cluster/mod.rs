//! Clusters: rows that belong together by what they mean, by any of five algorithms.
//!
//! All work on one set of [`UnitVectors`] and keep nothing between calls, so a table, a group and a
//! window are clustered alike. Rows without a direction belong to no cluster. Results depend on
//! rows, options and seed alone, except that agglomerative clustering falls back on micro-clusters
//! where the host lends too little, and then says so ([`Clustering::micro_clusters`]).

mod agglomerative;
mod dbscan;
mod hdbscan;
mod kmeans;
mod linkage;
mod minibatch;
mod options;
mod seeding;
mod silhouette;

use rayon::prelude::*;

pub(crate) use agglomerative::merge_weighted;
pub(crate) use minibatch::moved_from;
pub use options::{Algorithm, ClusteringOptions, Cut, Linkage, default_k};
pub use silhouette::{silhouette, silhouettes};

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::unit::UnitVectors;

/// Bytes of a row in lists of rows, of clusters and of members, for all algorithms.
const ROW_BYTES: usize = 64;

/// Which cluster each row is in, and what the clusters are like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clustering {
    /// Each row's cluster; `None` for noise and for rows without a direction. Clusters are
    /// numbered from 0, the largest first, of equal ones the one with the lowest row first.
    pub cluster_of: Vec<Option<u32>>,
    /// Rows of each cluster.
    pub sizes: Vec<usize>,
    /// The direction of each cluster's mean.
    pub centroids: UnitVectors,
    /// Agglomerative clustering only: how many micro-clusters were merged instead of rows.
    pub micro_clusters: Option<usize>,
}

impl Clustering {
    /// Number of clusters.
    pub fn clusters(&self) -> usize {
        self.sizes.len()
    }

    /// The rows of each cluster, ascending.
    pub fn members(&self) -> Vec<Vec<u32>> {
        members(&self.cluster_of, self.sizes.len())
    }

    /// The cosine of each row with its cluster's centroid.
    ///
    /// # Panics
    /// When `vectors` has fewer rows than were clustered.
    pub fn scores(&self, vectors: &UnitVectors) -> Vec<Option<f32>> {
        let score = |(row, cluster): (usize, &Option<u32>)| {
            cluster.map(|cluster| vectors.cosine(row, &self.centroids, cluster as usize))
        };
        self.cluster_of.par_iter().enumerate().map(score).collect()
    }
}

/// Finds clusters. No rows have no clusters.
///
/// With `n` rows, `d` components and `c` clusters, time is `n·c·d` per pass (k-means, mini-batch),
/// `n²·d` (DBSCAN, HDBSCAN, agglomerative up to `rows_max`), and memory beyond a few numbers a row
/// is `4·n²/2` bytes for agglomerative clustering only.
///
/// # Errors
/// [`OperatorError::Option`] for options out of range and a `k` above the rows, what the host says.
///
/// # Examples
/// ```
/// use sembla_operators::cluster::{ClusteringOptions, cluster};
/// use sembla_operators::{Unbounded, UnitVectors};
///
/// let vectors = UnitVectors::new(2, vec![1.0, 0.0, 0.9, 0.1, 0.1, 0.9, 0.0, 1.0, 0.95, 0.05])?;
/// let options = ClusteringOptions { k: Some(2), ..ClusteringOptions::default() };
/// let found = cluster(&vectors, &options.algorithm()?, &Unbounded)?;
/// // The largest cluster is number 0.
/// let expected = [Some(0), Some(0), Some(1), Some(1), Some(0)];
/// assert_eq!(found.cluster_of, expected);
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub fn cluster(
    vectors: &UnitVectors,
    algorithm: &Algorithm,
    host: &dyn Host,
) -> Result<Clustering> {
    algorithm.check()?;
    let _state = Loan::new(host, vectors.rows() * ROW_BYTES)?;
    let directed: Vec<u32> = (0..vectors.rows())
        .filter(|row| vectors.has_direction(*row))
        .map(|row| row as u32)
        .collect();
    if directed.is_empty() {
        return Ok(Clustering { cluster_of: vec![None; vectors.rows()], ..Clustering::default() });
    }
    check_count(algorithm, directed.len())?;
    if directed.len() == vectors.rows() {
        let found = run(vectors, algorithm, host)?;
        return numbered(vectors, found, host);
    }
    let _copy = Loan::new(host, directed.len() * vectors.dimension() * size_of::<f32>())?;
    let selected = vectors.select(&directed);
    let found = numbered(&selected, run(&selected, algorithm, host)?, host)?;
    let mut cluster_of = vec![None; vectors.rows()];
    for (row, cluster) in directed.iter().zip(&found.cluster_of) {
        cluster_of[*row as usize] = *cluster;
    }
    Ok(Clustering { cluster_of, ..found })
}

/// What an algorithm finds: numbers below the number of rows, equal for rows of one cluster.
struct Found {
    groups: Vec<Option<u32>>,
    micro_clusters: Option<usize>,
}

impl From<Vec<Option<u32>>> for Found {
    fn from(groups: Vec<Option<u32>>) -> Self {
        Self { groups, micro_clusters: None }
    }
}

/// Runs an algorithm on rows that all have a direction. There is at least one.
fn run(vectors: &UnitVectors, algorithm: &Algorithm, host: &dyn Host) -> Result<Found> {
    match *algorithm {
        Algorithm::KMeans { k, runs, seed } => {
            Ok(kmeans::kmeans(vectors, k, runs, seed, host)?.into())
        }
        Algorithm::MiniBatch { k, seed } => {
            Ok(minibatch::minibatch(vectors, k, seed, host)?.into())
        }
        Algorithm::Agglomerative { linkage, cut, rows_max, seed } => {
            agglomerative::agglomerative(vectors, linkage, cut, rows_max, seed, host)
        }
        Algorithm::Dbscan { eps, min_size } => {
            Ok(dbscan::dbscan(vectors, eps, min_size, host)?.into())
        }
        Algorithm::Hdbscan { min_size, min_samples } => {
            Ok(hdbscan::hdbscan(vectors, min_size, min_samples, host)?.into())
        }
    }
}

fn check_count(algorithm: &Algorithm, rows: usize) -> Result<()> {
    match *algorithm {
        Algorithm::KMeans { k, .. }
        | Algorithm::MiniBatch { k, .. }
        | Algorithm::Agglomerative { cut: Cut::Count(k), .. }
            if k > rows =>
        {
            let rows = if rows == 1 { "1 row has".into() } else { format!("{rows} rows have") };
            Err(OperatorError::Option(format!(
                "k is {k}, but only {rows} a vector to cluster; lower k"
            )))
        }
        _ => Ok(()),
    }
}

/// Numbers what was found, the largest cluster first, and takes the means.
fn numbered(vectors: &UnitVectors, found: Found, host: &dyn Host) -> Result<Clustering> {
    let mut sizes = vec![0_usize; vectors.rows()];
    let mut order: Vec<u32> = Vec::new();
    for group in found.groups.iter().flatten() {
        if sizes[*group as usize] == 0 {
            order.push(*group);
        }
        sizes[*group as usize] += 1;
    }
    // Groups came in order of their first rows, and the sort keeps that among equals.
    order.sort_by_key(|group| std::cmp::Reverse(sizes[*group as usize]));
    let mut number = vec![0; vectors.rows()];
    for (new, old) in (0..).zip(&order) {
        number[*old as usize] = new;
    }
    let renumbered = |group: &Option<u32>| group.map(|group| number[group as usize]);
    let cluster_of: Vec<Option<u32>> = found.groups.iter().map(renumbered).collect();
    let _means = Loan::new(host, order.len() * vectors.dimension() * size_of::<f32>())?;
    let means = means(vectors, &members(&cluster_of, order.len()), host)?;
    Ok(Clustering {
        cluster_of,
        sizes: order.iter().map(|group| sizes[*group as usize]).collect(),
        centroids: UnitVectors::new(vectors.dimension(), means)?,
        micro_clusters: found.micro_clusters,
    })
}

/// The rows of each cluster, ascending.
fn members(cluster_of: &[Option<u32>], clusters: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); clusters];
    for (row, cluster) in (0..).zip(cluster_of) {
        if let Some(cluster) = cluster {
            members[*cluster as usize].push(row);
        }
    }
    members
}

/// The mean vector of each list of rows, one after another, summed in f64 in the order of the
/// rows; zeros for an empty list.
fn means(vectors: &UnitVectors, members: &[Vec<u32>], host: &dyn Host) -> Result<Vec<f32>> {
    let mut means = vec![0.0; members.len() * vectors.dimension()];
    let rows = means.par_chunks_mut(vectors.dimension());
    rows.zip(members).try_for_each(|(mean, members)| {
        let mut sum = vec![0.0_f64; vectors.dimension()];
        for row in members {
            let row = vectors.row(*row as usize);
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let count = members.len().max(1) as f64;
        mean.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = (sum / count) as f32);
        check(host)
    })?;
    Ok(means)
}

#[cfg(test)]
mod tests;
