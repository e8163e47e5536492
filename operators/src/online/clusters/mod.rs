//! Clusters of a stream whose ids go on from window to window.
//!
//! Rows are summarised by micro-clusters (`micro`), whose weights halve with event time. At the end
//! of each window `grouping` makes clusters of them, and `lineage` finds out which of these are
//! clusters of the windows before, by the weight of the micro-clusters that they share. A row's
//! cluster is that of its micro-cluster at the end of its window.

mod grouping;
mod lineage;
mod micro;
mod options;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use lineage::Event;
pub use options::{ClusterOptions, Grouping};

use super::{Clock, Window};
use crate::error::Result;
use crate::host::{Host, Loan};
use crate::unit::UnitVectors;
use grouping::groups;
use lineage::{Shared, trace};
use micro::{MicroClusters, Taken};

/// A cluster in a window, or one that is over since the last.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterInWindow {
    /// Its number, from 0; none is given more than once.
    pub id: u64,
    /// What happened to it since the last window.
    pub event: Event,
    /// The cluster that it was merged into or split from.
    pub related: Option<u64>,
    /// Its rows in the window.
    pub size: u64,
    /// Its rows of all windows, decayed; 0 if it is over.
    pub weight: f64,
    /// The start of the first window that had it.
    pub first_seen: i64,
    /// The end of the last window with rows of it.
    pub last_seen: i64,
}

/// What was found in a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowClusters {
    /// The cluster of each row; `None` for outliers and rows without a direction.
    pub cluster_of: Vec<Option<u64>>,
    /// The clusters that are there, the heaviest first (equal: the one with the oldest part), then
    /// those that are over, by id.
    pub clusters: Vec<ClusterInWindow>,
}

/// What a later window has to know of a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Living {
    weight: f64,
    first_seen: i64,
    last_seen: i64,
}

/// What micro-clusters say of a window, for who keeps more about them.
pub(super) struct Places {
    /// How rows and earlier micro-clusters went to present ones.
    pub(super) of_row: Vec<Option<u32>>,
    /// Of each earlier micro-cluster the present one that it is part of.
    pub(super) moved: Vec<Option<u32>>,
    /// Of each present micro-cluster the place of its cluster among those of the window.
    pub(super) group_of: Vec<Option<u32>>,
    /// What weights were multiplied with before the window's rows came.
    pub(super) factor: f64,
}

/// Clusters of a stream, window by window.
///
/// Memory: about `4·d` bytes for each of at most `micro_clusters_max` micro-clusters of `d`
/// components. Time for a window of `n` rows and `m` micro-clusters: `n·m·d`, at most `n²·d / 2`
/// more where rows found new ones, and `m²·d / 2` for the clusters.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineClusters {
    options: ClusterOptions,
    clock: Option<Clock>,
    micro: MicroClusters,
    living: BTreeMap<u64, Living>,
    next_id: u64,
}

impl OnlineClusters {
    /// Before the first window.
    ///
    /// # Errors
    /// [`crate::OperatorError::Option`] for options out of range.
    pub fn new(options: ClusterOptions) -> Result<Self> {
        options.check()?;
        let (micro, living) = (MicroClusters::default(), BTreeMap::new());
        Ok(Self { options, clock: None, micro, living, next_id: 0 })
    }

    /// Takes in a window, its rows in their order.
    ///
    /// # Errors
    /// Vectors of another dimension than those before, what the host says. The state is then what
    /// it was.
    pub fn step(
        &mut self,
        window: Window,
        vectors: &UnitVectors,
        host: &dyn Host,
    ) -> Result<WindowClusters> {
        let mut next = self.clone();
        let (found, _) = next.advance(window, vectors, host)?;
        *self = next;
        Ok(found)
    }

    /// Number of micro-clusters that are remembered.
    pub fn micro_clusters(&self) -> usize {
        self.micro.list.len()
    }

    /// [`Self::step`], which leaves an undefined state where it fails.
    pub(super) fn advance(
        &mut self,
        window: Window,
        vectors: &UnitVectors,
        host: &dyn Host,
    ) -> Result<(WindowClusters, Places)> {
        let _state = Loan::new(host, 2 * self.micro.bytes())?;
        let (clock, factor) = Clock::advanced(self.clock, window, self.options.half_life);
        self.clock = Some(clock);
        let taken = self.micro.take_in(vectors, factor, &self.options, host)?;
        let groups = groups(&self.micro, self.options.grouping, host)?;
        let mut group_of = vec![None; self.micro.list.len()];
        for (group, places) in (0_u32..).zip(&groups) {
            places.iter().for_each(|place| group_of[*place as usize] = Some(group));
        }
        let found = self.named(window, &taken, &groups, &group_of);
        Ok((found, Places { of_row: taken.of_row, moved: taken.moved, group_of, factor }))
    }

    /// Gives the clusters of a window their ids and notes what later windows have to know.
    fn named(
        &mut self,
        window: Window,
        taken: &Taken,
        groups: &[Vec<u32>],
        group_of: &[Option<u32>],
    ) -> WindowClusters {
        let weights: Vec<f64> = groups.iter().map(|places| self.micro.weight(places)).collect();
        let group_at = |place: Option<u32>| place.and_then(|place| group_of[place as usize]);
        let shared: Vec<Shared> = (taken.parts.iter())
            .map(|part| {
                let group = group_at(part.place);
                Shared { cluster: part.cluster, group, weight: part.weight }
            })
            .collect();
        let before = self.living.iter().map(|(id, living)| (*id, living.weight)).collect();
        let ClusterOptions { match_share, change_share, .. } = self.options;
        let (present, over) =
            trace(&weights, &shared, &before, match_share, change_share, self.next_id);
        let mut sizes = vec![0_u64; groups.len()];
        let group_of_row: Vec<Option<u32>> = taken.of_row.iter().map(|at| group_at(*at)).collect();
        group_of_row.iter().flatten().for_each(|group| sizes[*group as usize] += 1);

        let earlier = std::mem::take(&mut self.living);
        let mut clusters = Vec::with_capacity(present.len() + over.len());
        for ((fate, weight), size) in present.iter().zip(weights).zip(sizes) {
            let (first_seen, last_seen) = match earlier.get(&fate.id) {
                Some(living) if size == 0 => (living.first_seen, living.last_seen),
                Some(living) => (living.first_seen, living.last_seen.max(window.end)),
                None => (window.start, window.end),
            };
            self.living.insert(fate.id, Living { weight, first_seen, last_seen });
            self.next_id = self.next_id.max(fate.id + 1);
            let (id, event, related) = (fate.id, fate.event, fate.related);
            clusters.push(ClusterInWindow {
                id,
                event,
                related,
                size,
                weight,
                first_seen,
                last_seen,
            });
        }
        for fate in over {
            let Some(living) = earlier.get(&fate.id) else { continue };
            clusters.push(ClusterInWindow {
                id: fate.id,
                event: fate.event,
                related: fate.related,
                size: 0,
                weight: 0.0,
                first_seen: living.first_seen,
                last_seen: living.last_seen,
            });
        }
        let id_of = |group: Option<u32>| group.map(|group| present[group as usize].id);
        for (micro, group) in self.micro.list.iter_mut().zip(group_of) {
            micro.cluster = id_of(*group);
        }
        WindowClusters { cluster_of: group_of_row.into_iter().map(id_of).collect(), clusters }
    }
}
