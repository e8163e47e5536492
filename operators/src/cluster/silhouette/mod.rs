//! The silhouette of clusters: how much nearer rows are to their own cluster than to the next
//! (Rousseeuw 1987), by cosine distance.
//!
//! The mean cosine distance of a unit vector to a set of unit vectors is one minus its dot product
//! with their mean. So all is exact from one mean a cluster, without a distance between two rows.

use rayon::prelude::*;

use super::{means, members};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::lanes;
use crate::unit::UnitVectors;

/// Each row's silhouette `(b - a) / max(a, b)`, in -1..=1: `a` is its mean distance to the other
/// rows of its cluster, `b` the smallest mean distance to another cluster. 0 for the only row of a
/// cluster; `None` for rows without a cluster or a direction, and for all if there are fewer than
/// two clusters.
///
/// Clusters may have any numbers. Time `n·c·d`, memory one vector a cluster.
///
/// # Errors
/// [`OperatorError::Data`] unless there is one cluster entry a row, what the host says.
pub fn silhouettes(
    vectors: &UnitVectors,
    cluster_of: &[Option<u32>],
    host: &dyn Host,
) -> Result<Vec<Option<f32>>> {
    if cluster_of.len() != vectors.rows() {
        return Err(OperatorError::Data(format!(
            "{} rows can't have {} clusters; one is needed for each row",
            vectors.rows(),
            cluster_of.len()
        )));
    }
    let cluster_of = dense_numbers(vectors, cluster_of);
    let clusters = cluster_of.iter().flatten().max().map_or(0, |last| *last as usize + 1);
    if clusters < 2 {
        return Ok(vec![None; vectors.rows()]);
    }
    let members = members(&cluster_of, clusters);
    let _means = Loan::new(host, clusters * vectors.dimension() * size_of::<f32>())?;
    let means = means(vectors, &members, host)?;
    let silhouette = |(row, cluster): (usize, &Option<u32>)| {
        check(host)?;
        let Some(own) = cluster.map(|cluster| cluster as usize) else { return Ok(None) };
        let size = members[own].len() as f64;
        if size == 1.0 {
            return Ok(Some(0.0));
        }
        let vector = vectors.row(row);
        let (mut within, mut beside) = (0.0, f64::INFINITY);
        for (cluster, mean) in means.chunks_exact(vectors.dimension()).enumerate() {
            let distance = distance(lanes::dot(vector, mean));
            if cluster == own {
                // The row's distance to itself is 0 and doesn't count.
                within = distance * size / (size - 1.0);
            } else {
                beside = distance.min(beside);
            }
        }
        let larger = within.max(beside);
        Ok(Some(if larger > 0.0 { ((beside - within) / larger) as f32 } else { 0.0 }))
    };
    cluster_of.par_iter().enumerate().map(silhouette).collect()
}

/// One minus a cosine; what only the rounding of `f32` keeps from 0 is 0, so that equal rows are at
/// no distance.
fn distance(cosine: f64) -> f64 {
    const ROUNDING: f64 = 1e-6;
    let distance = 1.0 - cosine;
    if distance.abs() < ROUNDING { 0.0 } else { distance }
}

/// The mean of all rows' silhouettes; `None` if no row has one.
///
/// # Errors
/// As [`silhouettes`].
pub fn silhouette(
    vectors: &UnitVectors,
    cluster_of: &[Option<u32>],
    host: &dyn Host,
) -> Result<Option<f64>> {
    let silhouettes = silhouettes(vectors, cluster_of, host)?;
    let (sum, count) = silhouettes
        .iter()
        .flatten()
        .fold((0.0, 0_usize), |(sum, count), one| (sum + f64::from(*one), count + 1));
    Ok((count > 0).then(|| sum / count as f64))
}

/// Clusters numbered from 0 in the order of their first rows; rows without a direction in none.
fn dense_numbers(vectors: &UnitVectors, cluster_of: &[Option<u32>]) -> Vec<Option<u32>> {
    let mut numbers = std::collections::HashMap::new();
    let number = |(row, cluster): (usize, &Option<u32>)| {
        let cluster = cluster.filter(|_| vectors.has_direction(row))?;
        let next = numbers.len() as u32;
        Some(*numbers.entry(cluster).or_insert(next))
    };
    cluster_of.iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests;
