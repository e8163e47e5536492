//! Agglomerative clustering: distances between all rows, merges, and the cut through the tree of
//! merges that scikit-learn's `AgglomerativeClustering` makes.
//!
//! All pairs of rows take `4·n²/2` bytes. Where that is too much, k-means makes micro-clusters of
//! the rows, and these are merged, each counting as many rows as it has. With average and Ward
//! linkage the distances between micro-clusters are those between their rows; with complete and
//! single linkage they are those between their centroids.

use rayon::prelude::*;

use super::kmeans::turns;
use super::linkage::{Distances, Merge, merges};
use super::seeding::Random;
use super::{Cut, Found, Linkage, means, members};
use crate::error::{OperatorError, Result};
use crate::forest::Forest;
use crate::host::{Host, Loan, check};
use crate::lanes;
use crate::unit::{UnitVectors, normalize};

/// Points whose distances are computed together, so that they stay in the first cache.
const POINTS_PER_TASK: usize = 16;

/// Turns of k-means that make micro-clusters.
const MICRO_TURNS: usize = 4;

/// Points to merge: rows, or micro-clusters.
struct Points<'a> {
    /// Mean vectors, one after another: the rows themselves, or what micro-clusters have in the
    /// mean, which is not of length one.
    values: &'a [f32],
    dimension: usize,
    /// Rows that each point stands for.
    weights: Vec<f32>,
}

/// Groups of rows, each named by one of its rows or micro-clusters.
pub(super) fn agglomerative(
    vectors: &UnitVectors,
    linkage: Linkage,
    cut: Cut,
    rows_max: usize,
    seed: u64,
    host: &dyn Host,
) -> Result<Found> {
    let rows = vectors.rows();
    if rows <= rows_max {
        match Loan::new(host, Distances::bytes(rows)) {
            Ok(_matrix) => {
                let points = Points {
                    values: vectors.values(),
                    dimension: vectors.dimension(),
                    weights: vec![1.0; rows],
                };
                return Ok(cut_tree(points, linkage, cut, host)?.into());
            }
            Err(OperatorError::Memory(_)) => {}
            Err(error) => return Err(error),
        }
    }
    merge_micro_clusters(vectors, linkage, cut, rows_max, seed, host)
}

/// How many micro-clusters stand for `rows` rows: some for each cluster that is wanted, and enough
/// that their number grows with the square root of the rows.
fn micro_count(rows: usize, rows_max: usize, cut: Cut) -> Result<usize> {
    let wanted = match cut {
        Cut::Count(k) => k,
        Cut::Threshold(_) => 1,
    };
    if wanted > rows_max {
        return Err(OperatorError::Option(format!(
            "k must be at most {rows_max}, the micro-clusters that {rows} rows become, got {wanted}; raise rows_max"
        )));
    }
    let count = (8.0 * (rows as f64).sqrt()) as usize;
    Ok(count.max(wanted.saturating_mul(4)).min(rows_max).min(rows))
}

fn merge_micro_clusters(
    vectors: &UnitVectors,
    linkage: Linkage,
    cut: Cut,
    rows_max: usize,
    seed: u64,
    host: &dyn Host,
) -> Result<Found> {
    let count = micro_count(vectors.rows(), rows_max, cut)?;
    let bytes = 2 * count * vectors.dimension() * size_of::<f32>();
    let _micro = Loan::new(host, Distances::bytes(count).saturating_add(bytes))?;
    let start = vectors.select(&Random::new(seed).sample(vectors.rows(), count));
    let partition = turns(vectors, start, MICRO_TURNS, host)?;
    let micro_of: Vec<_> = partition.centre_of.iter().copied().map(Some).collect();
    let mut members = members(&micro_of, count);
    members.retain(|rows| !rows.is_empty());
    let mut values = means(vectors, &members, host)?;
    if matches!(linkage, Linkage::Complete | Linkage::Single) {
        values.chunks_exact_mut(vectors.dimension()).for_each(normalize);
    }
    let weights = members.iter().map(|rows| rows.len() as f32).collect();
    let points = Points { values: &values, dimension: vectors.dimension(), weights };
    let groups_of_micro = cut_tree(points, linkage, cut, host)?;
    let mut groups = vec![None; vectors.rows()];
    for (rows, group) in members.iter().zip(groups_of_micro) {
        rows.iter().for_each(|row| groups[*row as usize] = group);
    }
    Ok(Found { groups, micro_clusters: Some(members.len()) })
}

/// The group of each of some points that stand for rows (one weight each), named by its lowest
/// point, after average linkage has merged all that are nearer than a cosine distance. `values` are
/// the means of the points' rows, one after another.
pub(crate) fn merge_weighted(
    values: &[f32],
    dimension: usize,
    weights: Vec<f32>,
    distance: f64,
    host: &dyn Host,
) -> Result<Vec<u32>> {
    let _distances = Loan::new(host, Distances::bytes(weights.len()))?;
    let points = Points { values, dimension, weights };
    let groups = cut_tree(points, Linkage::Average, Cut::Threshold(distance), host)?;
    Ok(groups.into_iter().flatten().collect())
}

/// The group of each point after all merges below the cut.
fn cut_tree(
    points: Points<'_>,
    linkage: Linkage,
    cut: Cut,
    host: &dyn Host,
) -> Result<Vec<Option<u32>>> {
    let n = points.weights.len();
    let distances = distances(&points, linkage, host)?;
    let merges = merges(linkage, distances, points.weights, host)?;
    let made = match cut {
        Cut::Count(k) => n.saturating_sub(k),
        Cut::Threshold(threshold) => {
            merges.partition_point(|merge| f64::from(merge.height) < threshold)
        }
    };
    let forest = Forest::new(n);
    for Merge { a, b, .. } in &merges[..made.min(merges.len())] {
        forest.unite(*a, *b);
    }
    Ok((0..n as u32).map(|point| Some(forest.root(point))).collect())
}

/// The distances between all points, some points at a time on each thread.
fn distances(points: &Points<'_>, linkage: Linkage, host: &dyn Host) -> Result<Distances> {
    let n = points.weights.len();
    let mut distances = Distances::zeros(n);
    distances.rows_mut().par_chunks_mut(POINTS_PER_TASK).enumerate().try_for_each(
        |(task, rows)| {
            let first = task * POINTS_PER_TASK;
            for other in first + 1..n {
                for (point, row) in (first..other).zip(rows.iter_mut()) {
                    row[other - point - 1] = points.distance(linkage, point, other);
                }
            }
            check(host)
        },
    )?;
    Ok(distances)
}

impl Points<'_> {
    fn point(&self, point: usize) -> &[f32] {
        &self.values[point * self.dimension..][..self.dimension]
    }

    /// The cosine distance, which for means is the mean one; with Ward linkage the squared
    /// distance that merging is measured by.
    fn distance(&self, linkage: Linkage, a: usize, b: usize) -> f32 {
        let (from, to) = (self.point(a), self.point(b));
        if linkage == Linkage::Ward {
            let (m, n) = (f64::from(self.weights[a]), f64::from(self.weights[b]));
            return (2.0 * m * n / (m + n) * lanes::squared_distance(from, to)) as f32;
        }
        ((1.0 - lanes::dot(from, to)) as f32).max(0.0)
    }
}

#[cfg(test)]
mod tests;
