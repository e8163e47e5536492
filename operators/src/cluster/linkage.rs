//! Hierarchical clustering of weighted points by nearest-neighbour chains, given all distances
//! (Murtagh 1983; Müllner 2011).
//!
//! A chain goes from a cluster to its nearest, to that one's nearest, and so on; two that are each
//! other's nearest merge, and the Lance-Williams formula gives the merged one's distances. That is
//! `3·n²` steps at most, in memory that the caller lends. Libraries that do this start from points
//! of one row each and can't be stopped; this one takes weights and asks the host at each merge.
//! Among equal distances the one to the chain's last but one cluster wins, then the lower number.

use super::Linkage;
use crate::error::Result;
use crate::host::{Host, check};

/// Merges between two reports of progress.
const MERGES_PER_REPORT: usize = 256;

/// Distances between all pairs of `n` points: `d(0,1) … d(0,n-1), d(1,2) …`.
pub(super) struct Distances {
    values: Vec<f32>,
    n: usize,
}

/// Two clusters became one. A cluster goes by any of its points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Merge {
    pub(super) a: u32,
    pub(super) b: u32,
    /// How far apart they were.
    pub(super) height: f32,
}

impl Distances {
    /// Room for the distances between `n` points, zeros at first.
    pub(super) fn zeros(n: usize) -> Self {
        Self { values: vec![0.0; Self::pairs(n)], n }
    }

    /// Bytes that the distances between `n` points take.
    pub(super) fn bytes(n: usize) -> usize {
        Self::pairs(n).saturating_mul(size_of::<f32>())
    }

    fn pairs(n: usize) -> usize {
        n.saturating_mul(n.saturating_sub(1)) / 2
    }

    /// For each point the distances to all points after it.
    pub(super) fn rows_mut(&mut self) -> Vec<&mut [f32]> {
        let mut rest = self.values.as_mut_slice();
        let mut rows = Vec::with_capacity(self.n);
        for point in 0..self.n {
            let (row, after) = rest.split_at_mut(self.n - point - 1);
            rows.push(row);
            rest = after;
        }
        rows
    }

    /// Where the distance of two different points lies.
    fn index(&self, a: usize, b: usize) -> usize {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        low * (2 * self.n - low - 1) / 2 + high - low - 1
    }
}

/// All `n - 1` merges of `n` points, the lowest first. `weights` says how many rows each point
/// stands for; with [`Linkage::Ward`] distances come in squared, and heights go out as roots.
pub(super) fn merges(
    linkage: Linkage,
    mut distances: Distances,
    mut weights: Vec<f32>,
    host: &dyn Host,
) -> Result<Vec<Merge>> {
    let n = distances.n;
    let mut active: Vec<u32> = (0..n as u32).collect();
    let mut merges = Vec::with_capacity(n.saturating_sub(1));
    let mut chain: Vec<u32> = Vec::new();
    while active.len() > 1 {
        if chain.is_empty() {
            chain.push(active[0]);
        }
        let tip = chain[chain.len() - 1];
        let before = chain.len().checked_sub(2).map(|position| chain[position]);
        let (nearest, distance) = nearest(&distances, &active, tip, before);
        check(host)?;
        if before != Some(nearest) {
            chain.push(nearest);
            continue;
        }
        if merges.len().is_multiple_of(MERGES_PER_REPORT) {
            host.progress("merging", merges.len() as u64, n as u64);
        }
        chain.truncate(chain.len() - 2);
        let (gone, kept) = (tip.min(nearest), tip.max(nearest));
        active.retain(|point| *point != gone);
        let merge = Merge { a: gone, b: kept, height: distance };
        update(linkage, &mut distances, &active, &weights, merge);
        weights[kept as usize] += weights[gone as usize];
        merges.push(merge);
    }
    if linkage == Linkage::Ward {
        merges.iter_mut().for_each(|merge| merge.height = merge.height.max(0.0).sqrt());
    }
    merges.sort_by(|a, b| a.height.total_cmp(&b.height));
    Ok(merges)
}

/// The active cluster nearest to `tip`.
fn nearest(distances: &Distances, active: &[u32], tip: u32, before: Option<u32>) -> (u32, f32) {
    let at = tip as usize;
    let mut best = match before {
        Some(before) => (before, distances.values[distances.index(at, before as usize)]),
        None => (tip, f32::INFINITY),
    };
    let split = active.partition_point(|point| *point < tip);
    for point in &active[..split] {
        let distance = distances.values[distances.index(*point as usize, at)];
        if distance < best.1 {
            best = (*point, distance);
        }
    }
    let Some(after) = active.get(split + 1..).filter(|after| !after.is_empty()) else {
        return best;
    };
    let row = &distances.values[distances.index(at, at + 1)..][..distances.n - at - 1];
    for point in after {
        let distance = row[*point as usize - at - 1];
        if distance < best.1 {
            best = (*point, distance);
        }
    }
    best
}

/// The merged cluster's distances to all others, in the place of `merge.b`.
fn update(
    linkage: Linkage,
    distances: &mut Distances,
    active: &[u32],
    weights: &[f32],
    merge: Merge,
) {
    let (a, b) = (merge.a as usize, merge.b as usize);
    let (m, n) = (weights[a], weights[b]);
    for other in active.iter().map(|other| *other as usize).filter(|other| *other != b) {
        let from_a = distances.values[distances.index(a, other)];
        let index = distances.index(b, other);
        let from_b = distances.values[index];
        distances.values[index] = match linkage {
            Linkage::Single => from_a.min(from_b),
            Linkage::Complete => from_a.max(from_b),
            Linkage::Average => (m * from_a + n * from_b) / (m + n),
            Linkage::Ward => {
                let o = weights[other];
                ((o + m) * from_a + (o + n) * from_b - o * merge.height) / (m + n + o)
            }
        };
    }
}
