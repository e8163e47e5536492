//! Micro-clusters: the small groups of like rows that a stream is summarised by. Each is a decayed
//! sum of unit vectors and a decayed number of rows (DenStream, Cao et al. 2006, with the leader
//! rule of DP-means, Kulis and Jordan 2012, for where a row goes).
//!
//! A window is taken in at once. Its rows go to the nearest micro-cluster of the windows before
//! whose centre, as it was then, is within the threshold; a row near none goes to the nearest of
//! the rows before it that founded one, or founds one itself. That is deduplication, so it runs on
//! the kernel of all pairs: earlier centres are the earlier corpus, founders are what is kept. Only
//! then do rows move centres; sums are taken in the order of rows.
//!
//! *Invariant:* micro-clusters are in the order of their ids, and an id is never given twice.

use rayon::prelude::*;

use super::options::{ClusterOptions, Grouping};
use crate::cluster::{self, Algorithm};
use crate::dedup::{self, Distinct, Input, Near, PairList, Side, dedup};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours::{Pair, pairs_within};
use crate::online::{check_same_model, directed};
use crate::unit::UnitVectors;

/// A micro-cluster stays potential down to this share of the weight that made it so: one that is
/// just heavy enough does not come and go with every window.
const DEMOTION_SHARE: f64 = 0.5;

/// One of a fixed number of clusters weighs no less: it is never forgotten, however long nothing
/// comes.
const FIXED_WEIGHT_MIN: f64 = 1e-6;

/// A micro-cluster that weighs less is forgotten: a row alone after two half-lives.
const FORGOTTEN_BELOW: f64 = 0.25;

/// Rows that are like each other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MicroCluster {
    /// Its name for good.
    pub(super) id: u64,
    /// Rows, decayed.
    pub(super) weight: f64,
    /// The sum of its rows' vectors, decayed.
    pub(super) sum: Vec<f32>,
    /// Whether it is heavy enough to be part of a cluster; else its rows are outliers.
    pub(super) is_potential: bool,
    /// The cluster that it was part of at the end of the last window.
    pub(super) cluster: Option<u64>,
}

/// All micro-clusters.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MicroClusters {
    pub(super) list: Vec<MicroCluster>,
    pub(super) next_id: u64,
    /// Components of the vectors; 0 before the first.
    pub(super) dimension: usize,
}

/// What became of a window's rows and of the earlier micro-clusters. Places are those in the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Taken {
    /// Of each row its micro-cluster.
    pub(super) of_row: Vec<Option<u32>>,
    /// Of each earlier micro-cluster the one that it is now part of, if it is not forgotten.
    pub(super) moved: Vec<Option<u32>>,
    /// What earlier clusters weighed, part by part.
    pub(super) parts: Vec<Part>,
}

/// An earlier micro-cluster as a part of an earlier cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    /// The cluster.
    pub(super) cluster: u64,
    /// Its weight now, without the window's rows.
    pub(super) weight: f64,
    /// Where it is now.
    pub(super) place: Option<u32>,
}

/// Where rows go: places of the list, and behind its end places of new micro-clusters, in order.
struct Assigned {
    places: Vec<u32>,
    /// How many new ones there are.
    founded: usize,
}

impl MicroCluster {
    /// What its weight is multiplied with when others' is multiplied with `factor`.
    fn decay(&self, factor: f64, grouping: Grouping) -> f64 {
        let is_light = self.weight * factor < FIXED_WEIGHT_MIN;
        if is_light && matches!(grouping, Grouping::Count { .. }) { 1.0 } else { factor }
    }
}

impl MicroClusters {
    /// Takes in a window. `factor` is what decays the weights of those before.
    pub(super) fn take_in(
        &mut self,
        vectors: &UnitVectors,
        factor: f64,
        options: &ClusterOptions,
        host: &dyn Host,
    ) -> Result<Taken> {
        let rows = directed(vectors);
        if !rows.is_empty() {
            check_same_model(vectors.dimension(), self.dimension)?;
            self.dimension = vectors.dimension();
        }
        let _copy = Loan::new(host, rows.len() * vectors.dimension() * size_of::<f32>())?;
        let selected = vectors.select(&rows);
        let assigned = self.assign(&selected, options, host)?;
        let factors: Vec<f64> =
            self.list.iter().map(|micro| micro.decay(factor, options.grouping)).collect();
        let before: Vec<(Option<u64>, f64)> = (self.list.iter().zip(&factors))
            .map(|(micro, factor)| (micro.cluster, micro.weight * factor))
            .collect();
        let kept = self.absorb(&selected, &assigned, &factors, options, host)?;
        let into = match options.grouping {
            Grouping::Distance(_) => self.merge_close(options.merge_threshold(), host)?,
            Grouping::Count { .. } => (0..self.list.len() as u32).collect(),
        };
        self.promote(options);
        let now = |place: usize| {
            kept.get(place).copied().flatten().and_then(|at| into.get(at as usize).copied())
        };
        let mut of_row = vec![None; vectors.rows()];
        for (row, place) in rows.iter().zip(&assigned.places) {
            of_row[*row as usize] = now(*place as usize);
        }
        let moved: Vec<Option<u32>> = (0..before.len()).map(now).collect();
        let parts = before.iter().zip(&moved).filter_map(|((cluster, weight), place)| {
            Some(Part { cluster: (*cluster)?, weight: *weight, place: *place })
        });
        Ok(Taken { of_row, parts: parts.collect(), moved })
    }

    /// The directions of all sums; one that cancelled out has none.
    pub(super) fn centres(&self) -> Result<UnitVectors> {
        let sums: Vec<f32> = self.list.iter().flat_map(|micro| &micro.sum).copied().collect();
        UnitVectors::new(self.dimension.max(1), sums)
    }

    /// What micro-clusters weigh together.
    pub(super) fn weight(&self, places: &[u32]) -> f64 {
        places.iter().map(|place| self.list[*place as usize].weight).sum()
    }

    /// Bytes that they take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.list.len() * (size_of::<MicroCluster>() + self.dimension * size_of::<f32>())
    }

    fn assign(
        &self,
        vectors: &UnitVectors,
        options: &ClusterOptions,
        host: &dyn Host,
    ) -> Result<Assigned> {
        let centres = self.centres()?;
        match options.grouping {
            _ if vectors.rows() == 0 => Ok(Assigned { places: Vec::new(), founded: 0 }),
            Grouping::Distance(_) => lead(vectors, &centres, options.threshold, host),
            Grouping::Count { seed, .. } if centres.rows() > 0 => {
                let places = cluster::moved_from(vectors, &centres, seed, host)?;
                Ok(Assigned { places, founded: 0 })
            }
            // Until a window has enough rows to start from, no row has a cluster.
            Grouping::Count { k, .. } if vectors.rows() < k => {
                Ok(Assigned { places: vec![u32::MAX; vectors.rows()], founded: 0 })
            }
            Grouping::Count { k, seed } => {
                let found = cluster::cluster(vectors, &Algorithm::MiniBatch { k, seed }, host)?;
                let place = |place: &Option<u32>| place.unwrap_or(u32::MAX);
                let places = found.cluster_of.iter().map(place).collect();
                Ok(Assigned { places, founded: found.clusters() })
            }
        }
    }

    /// Adds rows to micro-clusters and forgets those that are too light, or too many. Gives the new
    /// place of each place.
    fn absorb(
        &mut self,
        vectors: &UnitVectors,
        assigned: &Assigned,
        factors: &[f64],
        options: &ClusterOptions,
        host: &dyn Host,
    ) -> Result<Vec<Option<u32>>> {
        let decayed = self.list.iter().zip(factors).map(|(micro, factor)| micro.weight * factor);
        let mut weights: Vec<f64> = decayed.collect();
        weights.resize(weights.len() + assigned.founded, 0.0);
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); weights.len()];
        for (row, place) in (0..).zip(&assigned.places) {
            if let Some(members) = members.get_mut(*place as usize) {
                members.push(row);
                weights[*place as usize] += 1.0;
            }
        }
        let kept = match options.grouping {
            Grouping::Distance(_) => heaviest(&weights, options.micro_clusters_max),
            Grouping::Count { .. } => (0..weights.len()).collect(),
        };
        let _sums = Loan::new(host, kept.len() * self.dimension * size_of::<f32>())?;
        let sums: Vec<Vec<f32>> = kept
            .par_iter()
            .map(|place| {
                check(host)?;
                let before = self.list.get(*place).zip(factors.get(*place));
                let before = before.map(|(micro, factor)| (micro.sum.as_slice(), *factor));
                Ok(summed(before, vectors, &members[*place]))
            })
            .collect::<Result<_>>()?;
        let mut places = vec![None; weights.len()];
        let mut list = Vec::with_capacity(kept.len());
        for ((now, place), sum) in (0_u32..).zip(kept).zip(sums) {
            places[place] = Some(now);
            let weight = weights[place];
            list.push(match self.list.get(place) {
                Some(micro) => MicroCluster { weight, sum, ..*micro },
                None => {
                    self.next_id += 1;
                    let id = self.next_id - 1;
                    MicroCluster { id, weight, sum, is_potential: false, cluster: None }
                }
            });
        }
        self.list = list;
        Ok(places)
    }

    /// Makes one of each two whose centres have come close: the most similar two first, into the
    /// heavier (equal: the older). Gives the new place of each place.
    fn merge_close(&mut self, threshold: f32, host: &dyn Host) -> Result<Vec<u32>> {
        let centres = self.centres()?;
        let mut found =
            PairList::collect(host, |sink| pairs_within(&centres, threshold, host, sink))?;
        found.pairs.sort_unstable_by(Pair::best_first);
        let mut into: Vec<u32> = (0..self.list.len() as u32).collect();
        for pair in &found.pairs {
            if into[pair.a as usize] != pair.a || into[pair.b as usize] != pair.b {
                continue;
            }
            let weights = [pair.a, pair.b].map(|place| self.list[place as usize].weight);
            let (stays, goes, weight) = if weights[1] > weights[0] {
                (pair.b, pair.a, weights[0])
            } else {
                (pair.a, pair.b, weights[1])
            };
            into[goes as usize] = stays;
            let gone = std::mem::take(&mut self.list[goes as usize].sum);
            let micro = &mut self.list[stays as usize];
            micro.weight += weight;
            micro.sum.iter_mut().zip(gone).for_each(|(sum, x)| *sum += x);
        }
        let mut next = 0;
        let mut place_of = vec![0; into.len()];
        for (place, place_of) in (0..).zip(&mut place_of) {
            *place_of = next;
            next += u32::from(into[place as usize] == place);
        }
        let root = |mut place: u32| {
            while into[place as usize] != place {
                place = into[place as usize];
            }
            place_of[place as usize]
        };
        let places = (0..into.len() as u32).map(root).collect();
        let mut place = 0_u32..;
        self.list.retain(|_| place.next().is_some_and(|place| into[place as usize] == place));
        Ok(places)
    }

    fn promote(&mut self, options: &ClusterOptions) {
        let bar = match options.grouping {
            Grouping::Distance(_) => options.min_weight,
            Grouping::Count { .. } => 0.0,
        };
        for micro in &mut self.list {
            let bar = if micro.is_potential { bar * DEMOTION_SHARE } else { bar };
            micro.is_potential = micro.weight >= bar;
        }
    }
}

/// Where rows go by the leader rule.
fn lead(
    vectors: &UnitVectors,
    centres: &UnitVectors,
    threshold: f64,
    host: &dyn Host,
) -> Result<Assigned> {
    let distinct = Distinct::all_different(vectors.rows() as u32);
    let earlier = (centres.rows() > 0).then_some(centres);
    let near = Near::Vectors { rows: vectors, earlier };
    let input = Input { distinct: &distinct, near, equal_earlier: &[] };
    let options = dedup::DedupOptions { threshold, ..dedup::DedupOptions::default() };
    let verdicts = dedup(&input, &options, host)?;
    let mut founded = 0;
    let mut place_of = vec![0_u32; vectors.rows()];
    for (row, verdict) in verdicts.iter().enumerate() {
        place_of[row] = match verdict.side {
            Side::Earlier => verdict.representative,
            // A founder, which comes before the rows that follow it.
            Side::Here if verdict.is_kept() => {
                founded += 1;
                let place = centres.rows() + founded - 1;
                u32::try_from(place).map_err(|_| too_many(place))?
            }
            Side::Here => place_of[verdict.representative as usize],
        };
    }
    Ok(Assigned { places: place_of, founded })
}

fn too_many(places: usize) -> OperatorError {
    OperatorError::Data(format!("{places} micro-clusters are more than fit into one window"))
}

/// The places that stay, in order: those that are heavy enough, and of these the heaviest (equal:
/// the oldest).
fn heaviest(weights: &[f64], most: usize) -> Vec<usize> {
    let mut kept: Vec<usize> =
        (0..weights.len()).filter(|place| weights[*place] >= FORGOTTEN_BELOW).collect();
    kept.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
    kept.truncate(most);
    kept.sort_unstable();
    kept
}

/// A decayed sum with rows added, one after another.
fn summed(before: Option<(&[f32], f64)>, vectors: &UnitVectors, rows: &[u32]) -> Vec<f32> {
    let mut sum: Vec<f64> = match before {
        Some((before, factor)) => before.iter().map(|x| f64::from(*x) * factor).collect(),
        None => vec![0.0; vectors.dimension()],
    };
    for row in rows {
        sum.iter_mut().zip(vectors.row(*row as usize)).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sum.into_iter().map(|x| x as f32).collect()
}
