//! Which cluster of a window is which of the windows before, and what happened to it.
//!
//! Clusters are made of micro-clusters, which keep their ids, so it is known exactly how much of
//! what an earlier cluster weighed is in which of the present ones (MONIC, Spiliopoulou et al.
//! 2006). Ids go where most of their weight went: of all pairs of an earlier and a present cluster
//! that share enough, the heaviest share comes first (equal: the lower id, then the first cluster).

use std::collections::{BTreeMap, BTreeSet};

/// What happened to a cluster since the last window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It was not there, and is no part of one that was.
    New,
    /// It weighs more.
    Grown,
    /// It weighs less.
    Shrunk,
    /// It weighs about the same.
    Stable,
    /// It was not there; it is a part of the related cluster, which goes on.
    Split,
    /// It is part of the related cluster now, and its id is over.
    Merged,
    /// Nothing, or too little, of it is left, and its id is over.
    Died,
}

impl Event {
    /// The event in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Grown => "grown",
            Self::Shrunk => "shrunk",
            Self::Stable => "stable",
            Self::Split => "split",
            Self::Merged => "merged",
            Self::Died => "died",
        }
    }

    /// Whether the cluster is there after it.
    pub fn is_alive(self) -> bool {
        !matches!(self, Self::Merged | Self::Died)
    }
}

/// A share of an earlier cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shared {
    /// The earlier cluster.
    pub(super) cluster: u64,
    /// The present cluster that it is in, if it is in one.
    pub(super) group: Option<u32>,
    /// What it weighs, without rows that came since.
    pub(super) weight: f64,
}

/// What became of a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fate {
    pub(super) id: u64,
    pub(super) event: Event,
    pub(super) related: Option<u64>,
}

/// Gives each present cluster, by weight, its id, and tells which earlier ones are over. `before`
/// has the ids and weights of the earlier clusters in order; new ids begin with `next_id`.
pub(super) fn trace(
    weights: &[f64],
    shared: &[Shared],
    before: &BTreeMap<u64, f64>,
    match_share: f64,
    change_share: f64,
    next_id: u64,
) -> (Vec<Fate>, Vec<Fate>) {
    let shares = Shares::new(shared);
    let heirs = shares.heirs(before, weights.len(), match_share);
    let mut next_id = next_id..;
    let mut ids: Vec<u64> = Vec::with_capacity(weights.len());
    for group in 0..weights.len() as u32 {
        let kept = heirs.iter().find(|(_, heir)| **heir == group).map(|(id, _)| *id);
        ids.extend(kept.or_else(|| next_id.next()));
    }
    let present = ids.iter().zip(weights).enumerate().map(|(group, (id, weight))| {
        if let Some(earlier) = before.get(id).filter(|_| heirs.contains_key(id)) {
            let event = change(*earlier, *weight, change_share);
            return Fate { id: *id, event, related: None };
        }
        let origin =
            shares.largest(|(cluster, of)| *of == group as u32 && heirs.contains_key(cluster));
        match origin {
            Some(((cluster, _), share)) if share >= match_share * weight => {
                Fate { id: *id, event: Event::Split, related: Some(cluster) }
            }
            _ => Fate { id: *id, event: Event::New, related: None },
        }
    });
    let present = present.collect();
    let over = before.keys().filter(|id| !heirs.contains_key(id)).map(|id| {
        let rest = shares.largest(|(cluster, _)| cluster == id);
        match rest {
            Some(((_, group), share)) if share >= match_share * shares.total(*id) => {
                let related = ids.get(group as usize).copied();
                Fate { id: *id, event: Event::Merged, related }
            }
            _ => Fate { id: *id, event: Event::Died, related: None },
        }
    });
    (present, over.collect())
}

fn change(earlier: f64, weight: f64, least: f64) -> Event {
    if weight >= earlier * (1.0 + least) {
        Event::Grown
    } else if weight <= earlier * (1.0 - least) {
        Event::Shrunk
    } else {
        Event::Stable
    }
}

/// How much of earlier clusters is in present ones.
struct Shares {
    /// By earlier and present cluster.
    of: BTreeMap<(u64, u32), f64>,
    /// By earlier cluster, what is in none too.
    total: BTreeMap<u64, f64>,
}

impl Shares {
    fn new(shared: &[Shared]) -> Self {
        let (mut of, mut total) = (BTreeMap::new(), BTreeMap::new());
        for part in shared {
            *total.entry(part.cluster).or_default() += part.weight;
            if let Some(group) = part.group {
                *of.entry((part.cluster, group)).or_default() += part.weight;
            }
        }
        Self { of, total }
    }

    fn total(&self, cluster: u64) -> f64 {
        self.total.get(&cluster).copied().unwrap_or_default()
    }

    /// The largest of some shares; of equal ones the first.
    fn largest(&self, wanted: impl Fn(&(u64, u32)) -> bool) -> Option<((u64, u32), f64)> {
        let wanted = self.of.iter().filter(|(pair, _)| wanted(pair));
        let wanted = wanted.map(|(pair, share)| (*pair, *share));
        wanted.reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    /// The present cluster that goes on with each id.
    fn heirs(
        &self,
        before: &BTreeMap<u64, f64>,
        groups: usize,
        match_share: f64,
    ) -> BTreeMap<u64, u32> {
        let enough = |((cluster, _), share): &(&(u64, u32), &f64)| {
            before.contains_key(cluster) && **share >= match_share * self.total(*cluster)
        };
        let mut pairs: Vec<(&(u64, u32), &f64)> = self.of.iter().filter(enough).collect();
        // The sort keeps the order of ids and clusters among equals.
        pairs.sort_by(|a, b| b.1.total_cmp(a.1));
        let (mut heirs, mut taken) = (BTreeMap::new(), BTreeSet::new());
        for ((cluster, group), _) in pairs {
            if !heirs.contains_key(cluster) && (*group as usize) < groups && taken.insert(*group) {
                heirs.insert(*cluster, *group);
            }
        }
        heirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(cluster: u64, group: impl Into<Option<u32>>, weight: f64) -> Shared {
        Shared { cluster, group: group.into(), weight }
    }

    fn traced(weights: &[f64], shared: &[Shared], before: &[(u64, f64)]) -> Vec<String> {
        let before = before.iter().copied().collect();
        let (present, over) = trace(weights, shared, &before, 0.3, 0.25, 100);
        let told = |fate: &Fate| {
            let related = fate.related.map_or(String::new(), |related| format!(" {related}"));
            format!("{} {}{related}", fate.id, fate.event.name())
        };
        present.iter().chain(&over).map(told).collect()
    }

    #[test]
    fn without_a_past_all_is_new() {
        assert_eq!(traced(&[5.0, 3.0], &[], &[]), ["100 new", "101 new"]);
        assert!(traced(&[], &[], &[]).is_empty());
    }

    #[test]
    fn weights_tell_growth() {
        let shares = [shared(7, 0, 4.0), shared(8, 1, 4.0), shared(9, 2, 4.0)];
        let before = [(7, 4.0), (8, 4.0), (9, 8.0)];
        assert_eq!(traced(&[5.0, 4.9, 6.0], &shares, &before), ["7 grown", "8 stable", "9 shrunk"]);
    }

    #[test]
    fn the_larger_part_keeps_the_id_of_a_split() {
        let shares = [shared(7, 0, 4.0), shared(7, 1, 6.0)];
        assert_eq!(traced(&[6.0, 6.0], &shares, &[(7, 10.0)]), ["100 split 7", "7 shrunk"]);
        // A part that is lost among new rows is no split.
        assert_eq!(traced(&[50.0, 6.0], &shares, &[(7, 10.0)]), ["100 new", "7 shrunk"]);
        // Equal parts: the first cluster.
        let shares = [shared(7, 0, 5.0), shared(7, 1, 5.0)];
        assert_eq!(traced(&[5.0, 5.0], &shares, &[(7, 10.0)]), ["7 shrunk", "100 split 7"]);
    }

    #[test]
    fn the_heavier_keeps_its_id_in_a_merge() {
        let shares = [shared(7, 0, 4.0), shared(8, 0, 6.0)];
        let before = [(7, 4.0), (8, 6.0)];
        assert_eq!(traced(&[10.0], &shares, &before), ["8 grown", "7 merged 8"]);
        let shares = [shared(7, 0, 5.0), shared(8, 0, 5.0)];
        let before = [(7, 5.0), (8, 5.0)];
        assert_eq!(traced(&[10.0], &shares, &before), ["7 grown", "8 merged 7"]);
    }

    #[test]
    fn what_fades_dies_and_its_id_is_not_given_again() {
        let shares = [shared(7, None, 1.0), shared(8, 0, 1.0), shared(8, None, 9.0)];
        let before = [(7, 5.0), (8, 12.0), (9, 2.0)];
        assert_eq!(traced(&[9.0], &shares, &before), ["100 new", "7 died", "8 died", "9 died"]);
    }

    #[test]
    fn a_part_without_an_id_takes_one_that_is_free() {
        // Most of 7 went to where 8 is; what else is left of it keeps its id if it is enough.
        let shares = [shared(7, 0, 6.0), shared(7, 1, 4.0), shared(8, 0, 20.0)];
        let before = [(7, 10.0), (8, 20.0)];
        assert_eq!(traced(&[26.0, 4.0], &shares, &before), ["8 grown", "7 shrunk"]);
        let shares = [shared(7, 0, 8.0), shared(7, 1, 2.0), shared(8, 0, 20.0)];
        assert_eq!(traced(&[28.0, 9.0], &shares, &before), ["8 grown", "100 new", "7 merged 8"]);
    }
}
