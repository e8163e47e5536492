//! The macro step: which micro-clusters are one cluster at the end of a window.
//!
//! Average linkage merges those that are heavy enough, each counting for its rows. Then outliers
//! join the cluster to whose rows theirs are nearest in the mean, if that is nearer than the same
//! distance: a row alone that comes near a cluster is no outlier, but makes no cluster larger in
//! reach. Distances between rows in the mean are those between mean vectors, which are not of
//! length one.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::micro::{MicroCluster, MicroClusters};
use super::options::Grouping;
use crate::cluster::merge_weighted;
use crate::error::Result;
use crate::host::{Host, Loan, check};
use crate::lanes;

/// The clusters as places of their micro-clusters, the heaviest first (equal: the one with the
/// oldest part).
pub(super) fn groups(
    micro: &MicroClusters,
    grouping: Grouping,
    host: &dyn Host,
) -> Result<Vec<Vec<u32>>> {
    let (potential, outliers): (Vec<u32>, Vec<u32>) = (0..micro.list.len() as u32)
        .partition(|place| micro.list.get(*place as usize).is_some_and(|m| m.is_potential));
    let mut groups = match grouping {
        Grouping::Count { .. } => potential.into_iter().map(|place| vec![place]).collect(),
        Grouping::Distance(distance) => {
            let mut groups = merged(micro, &potential, distance, host)?;
            attach(micro, &mut groups, &outliers, distance, host)?;
            groups
        }
    };
    // The sort keeps the order of oldest parts among equals.
    groups.sort_by(|a: &Vec<u32>, b| micro.weight(b).total_cmp(&micro.weight(a)));
    Ok(groups)
}

fn merged(
    micro: &MicroClusters,
    places: &[u32],
    distance: f64,
    host: &dyn Host,
) -> Result<Vec<Vec<u32>>> {
    let _means = Loan::new(host, places.len() * micro.dimension * size_of::<f32>())?;
    let list = || places.iter().map(|place| &micro.list[*place as usize]);
    let means: Vec<f32> = list().flat_map(mean).collect();
    let weights = list().map(|micro| micro.weight as f32).collect();
    let roots = merge_weighted(&means, micro.dimension, weights, distance, host)?;
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (place, root) in places.iter().zip(roots) {
        groups.entry(root).or_default().push(*place);
    }
    Ok(groups.into_values().collect())
}

/// Adds outliers to the clusters that they are near to (equal: the first).
fn attach(
    micro: &MicroClusters,
    groups: &mut [Vec<u32>],
    outliers: &[u32],
    distance: f64,
    host: &dyn Host,
) -> Result<()> {
    let _means = Loan::new(host, groups.len() * micro.dimension * size_of::<f32>())?;
    let means: Vec<Vec<f32>> = groups.iter().map(|places| mean_of(micro, places)).collect();
    let near = |place: &u32| {
        check(host)?;
        let own = mean(&micro.list[*place as usize]);
        let mut best: Option<(usize, f64)> = None;
        for (group, mean) in means.iter().enumerate() {
            let apart = 1.0 - lanes::dot(&own, mean);
            if apart < best.map_or(distance, |best| best.1) {
                best = Some((group, apart));
            }
        }
        Ok(best.map(|best| best.0))
    };
    let near: Vec<Option<usize>> = outliers.par_iter().map(near).collect::<Result<_>>()?;
    for (place, group) in outliers.iter().zip(near) {
        if let Some(group) = group.and_then(|group| groups.get_mut(group)) {
            group.push(*place);
        }
    }
    groups.iter_mut().for_each(|places| places.sort_unstable());
    Ok(())
}

/// The mean vector of a micro-cluster's rows.
fn mean(micro: &MicroCluster) -> Vec<f32> {
    micro.sum.iter().map(|x| (f64::from(*x) / micro.weight) as f32).collect()
}

/// The mean vector of a cluster's rows.
fn mean_of(micro: &MicroClusters, places: &[u32]) -> Vec<f32> {
    let mut sum = vec![0_f64; micro.dimension];
    for place in places {
        let part = &micro.list[*place as usize].sum;
        sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let weight = micro.weight(places);
    sum.into_iter().map(|x| (x / weight) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unbounded;

    fn micro(id: u64, angle: f32, weight: f64, is_potential: bool) -> MicroCluster {
        let (sin, cos) = angle.to_radians().sin_cos();
        let sum = vec![cos * weight as f32, sin * weight as f32];
        MicroCluster { id, weight, sum, is_potential, cluster: None }
    }

    #[test]
    fn outliers_join_what_is_near_and_reach_no_farther() {
        let list = vec![
            micro(0, 0.0, 5.0, true),
            micro(1, 30.0, 1.0, false),
            micro(2, 55.0, 1.0, false),
            micro(3, 120.0, 9.0, true),
            micro(4, 200.0, 1.0, false),
            micro(5, 10.0, 5.0, true),
        ];
        let micro = MicroClusters { list, next_id: 6, dimension: 2 };
        let found = groups(&micro, Grouping::Distance(0.3), &Unbounded).expect("groups");
        // 55 degrees is near enough to 30, but not to the cluster that 30 has joined.
        assert_eq!(found, [vec![0, 1, 5], vec![3]]);
        let none = MicroClusters::default();
        assert!(groups(&none, Grouping::Distance(0.3), &Unbounded).expect("none").is_empty());
        let alone = MicroClusters { list: micro.list[1..3].to_vec(), ..micro };
        assert!(groups(&alone, Grouping::Distance(0.3), &Unbounded).expect("none").is_empty());
    }
}
