//! Cases, and what comes of them by plain computation over all static rows.

use std::collections::BTreeMap;

use super::world::{Partitions, Random};
use crate::window::WindowKind;

/// A row of a source.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) key: i64,
    pub(super) time_us: i64,
    /// Whether the row part rejects it.
    pub(super) is_poison: bool,
}

/// What a pipeline is run over.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) partitions: Partitions,
    pub(super) windows: Option<WindowKind>,
    pub(super) delay_us: i64,
    /// Whether the sink has a place for rejected records.
    pub(super) has_dead_letters: bool,
    /// Whether the source ends after its rows.
    pub(super) is_bounded: bool,
    /// Whether the source has all of its partitions.
    pub(super) is_whole: bool,
    /// How many sources share the partitions, in turn.
    pub(super) sources: usize,
    /// What the sink does before each write.
    pub(super) slowness: Slowness,
    /// What every partition is.
    pub(super) identity: Option<&'static str>,
    /// The ids of rows that the window part rejects.
    pub(super) window_rejects: Vec<i64>,
    /// The ids, as rows of the result, that the sink can't write.
    pub(super) sink_refuses: Vec<i64>,
}

/// How slow the sink is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slowness {
    /// It lets others go first so many times.
    Yields(usize),
    /// Its first write takes a time.
    FirstWrite(std::time::Duration),
}

/// The kinds of windows that are run, none among them.
pub(super) const KINDS: [Option<WindowKind>; 4] = [
    None,
    Some(WindowKind::Tumble { size_us: 20, offset_us: 3 }),
    Some(WindowKind::Hop { slide_us: 10, size_us: 25, offset_us: 0 }),
    Some(WindowKind::Session { gap_us: 6 }),
];

impl Case {
    /// Random rows: times rise, but for a disorder below the delay.
    pub(super) fn new(
        windows: Option<WindowKind>,
        partitions: usize,
        rows: usize,
        seed: u64,
    ) -> Self {
        let mut random = Random::new(seed);
        let delay_us = 8;
        let mut all = vec![Vec::new(); partitions];
        for id in 0..rows as i64 {
            let row = Row {
                id,
                key: random.below(3) as i64,
                time_us: id * 2 + random.below(delay_us as u64) as i64,
                is_poison: false,
            };
            all[random.below(partitions as u64) as usize].push(row);
        }
        Self {
            partitions: all,
            windows,
            delay_us,
            has_dead_letters: true,
            is_bounded: true,
            is_whole: true,
            sources: 1,
            slowness: Slowness::Yields(0),
            identity: None,
            window_rejects: Vec::new(),
            sink_refuses: Vec::new(),
        }
    }

    pub(super) fn describe(&self) -> String {
        let (partitions, sources) = (self.partitions.len(), self.sources);
        format!("windows {:?} over {partitions} partitions of {sources} sources", self.windows)
    }

    /// The key columns of its windows.
    pub(super) fn keys(&self) -> Vec<usize> {
        match self.windows {
            Some(WindowKind::Session { .. }) => vec![1],
            _ => Vec::new(),
        }
    }

    /// The usable rows, each with its partition and its offset there.
    fn usable(&self) -> impl Iterator<Item = (usize, usize, &Row)> {
        let partitions = self.partitions.iter().enumerate();
        let rows = partitions.flat_map(|(p, rows)| {
            rows.iter().enumerate().map(move |(offset, row)| (p, offset, row))
        });
        rows.filter(|(_, _, row)| !row.is_poison)
    }

    /// The records that must be rejected, as the sink writes them down.
    pub(super) fn rejected(&self) -> Vec<String> {
        let partitions = self.partitions.iter().enumerate();
        let mut rejected: Vec<_> = partitions
            .flat_map(|(partition, rows)| {
                rows.iter().enumerate().filter(|(_, row)| row.is_poison).map(
                    move |(offset, row)| {
                        let (time, id) = (row.time_us, row.id);
                        format!("p/{partition} {offset} {time} id {id}: id {id} is poison")
                    },
                )
            })
            .collect();
        rejected.sort();
        rejected
    }

    /// The results, in the order in which they must come where there are windows, else sorted.
    pub(super) fn expected(&self) -> Vec<String> {
        let Some(kind) = self.windows else {
            let mut rows: Vec<_> = self.usable().map(|(_, _, row)| format!("{}", row.id)).collect();
            rows.sort();
            return rows;
        };
        // By end, then start; rows by time, offset, partition.
        let mut windows = BTreeMap::<_, Vec<_>>::new();
        for (partition, offset, row) in self.usable() {
            for (start, end) in self.windows_of(kind, row) {
                let window = windows.entry((end, start)).or_default();
                window.push((row.time_us, offset, partition, row.id));
            }
        }
        let mut before = 0;
        let mut lines = Vec::new();
        for ((end, start), mut rows) in windows {
            rows.sort();
            let ids: Vec<_> = rows.iter().map(|row| row.3.to_string()).collect();
            lines.push(format!("[{start}, {end}) {before} before: {}", ids.join(" ")));
            before += rows.len();
        }
        lines
    }

    /// The windows of a row, by their definitions.
    fn windows_of(&self, kind: WindowKind, row: &Row) -> Vec<(i64, i64)> {
        let time = row.time_us;
        let hops = |slide: i64, size: i64, offset: i64| {
            let starts =
                (time - size..=time).filter(|start| (start - offset).rem_euclid(slide) == 0);
            starts
                .map(|start| (start, start + size))
                .filter(|w| w.0 <= time && time < w.1)
                .collect()
        };
        match kind {
            WindowKind::Tumble { size_us, offset_us } => hops(size_us, size_us, offset_us),
            WindowKind::Hop { slide_us, size_us, offset_us } => hops(slide_us, size_us, offset_us),
            WindowKind::Session { gap_us } => {
                let same = self.usable().filter(|(_, _, other)| other.key == row.key);
                let mut times: Vec<_> = same.map(|(_, _, other)| other.time_us).collect();
                times.sort_unstable();
                let near = |pair: (i64, i64)| pair.1 - pair.0 < gap_us;
                let at = times.partition_point(|t| *t < time);
                let (mut first, mut last) = (at, at);
                while first > 0 && near((times[first - 1], times[first])) {
                    first -= 1;
                }
                while last + 1 < times.len() && near((times[last], times[last + 1])) {
                    last += 1;
                }
                vec![(times[first], times[last] + gap_us)]
            }
        }
    }
}
