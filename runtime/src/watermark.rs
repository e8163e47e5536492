//! How far event time has come.
//!
//! A partition's watermark is the greatest time seen in it minus its source's delay. The pipeline's
//! is the least of those partitions that are neither idle nor ended; where all are, the greatest of
//! all, so that the order in which they fall idle doesn't matter.
//!
//! - *Invariant:* neither ever goes back, over a restart too.
//! - *Absent:* a clock. The caller says what time it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Mark, Partition, Result, Standing};

/// How the watermark of a source's partitions comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkRule {
    /// How much later than the latest row another may come; not negative.
    pub delay_us: i64,
    /// After how long without rows a partition no longer holds the others back; `None` is never.
    pub idle_timeout_ms: Option<u64>,
}

/// The watermarks of all partitions of all sources of a pipeline.
#[derive(Clone, Debug)]
pub struct Watermarks {
    sources: Vec<SourceMarks>,
    /// The pipeline's watermark as it was last found.
    combined_us: i64,
}

#[derive(Clone, Debug)]
struct SourceMarks {
    rule: WatermarkRule,
    partitions: BTreeMap<Partition, Live>,
    /// Whether its partitions are known. Until then it holds the others back.
    is_assigned: bool,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    mark: PartitionMark,
    /// When it last had rows, or was assigned.
    seen_ms: u64,
}

/// What a checkpoint keeps of [`Watermarks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkState {
    /// The pipeline's watermark.
    pub combined_us: i64,
    /// By source: by partition.
    pub sources: Vec<BTreeMap<String, PartitionMark>>,
}

/// What a checkpoint keeps of one partition's watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMark {
    /// The watermark; `i64::MIN` before the first row.
    pub watermark_us: i64,
    /// Whether no more rows will come.
    pub has_ended: bool,
    /// Whether the pipeline that reads the partition has found it idle; for an exchange only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_idle: bool,
}

impl PartitionMark {
    const NEW: Self = Self { watermark_us: i64::MIN, has_ended: false, is_idle: false };
}

impl Watermarks {
    /// No partitions yet. One rule for each source.
    pub fn new(rules: Vec<WatermarkRule>) -> Self {
        let sources = rules
            .into_iter()
            .map(|rule| SourceMarks { rule, partitions: BTreeMap::new(), is_assigned: false })
            .collect();
        Self { sources, combined_us: i64::MIN }
    }

    /// Takes up what a checkpoint kept. Call it before `assign`.
    ///
    /// # Errors
    /// [`Error::State`] when it is of another number of sources.
    pub fn restore(&mut self, state: &WatermarkState) -> Result<()> {
        let (here, there) = (self.sources.len(), state.sources.len());
        if here != there {
            return Err(Error::State(format!(
                "the state has watermarks of {there} sources and the query has {here}; \
                 --ignore-state starts anew"
            )));
        }
        self.combined_us = state.combined_us;
        for (source, marks) in self.sources.iter_mut().zip(&state.sources) {
            source.partitions = marks
                .iter()
                .map(|(name, mark)| (name.as_str().into(), Live { mark: *mark, seen_ms: 0 }))
                .collect();
        }
        Ok(())
    }

    /// The partitions of a source that are read from now on. What is known of others is forgotten.
    pub fn assign(&mut self, source: usize, partitions: &[Partition], now_ms: u64) {
        let Some(source) = self.sources.get_mut(source) else { return };
        let mut known = std::mem::take(&mut source.partitions);
        source.is_assigned = true;
        for name in partitions {
            let mark = known.remove(name).map_or(PartitionMark::NEW, |live| live.mark);
            source.partitions.insert(name.clone(), Live { mark, seen_ms: now_ms });
        }
    }

    /// Rows of a partition came, the latest of that time. `now_ms` must stand still while the
    /// pipeline is blocked and doesn't ask its sources, or busy partitions look idle. Nothing
    /// happens for a partition that isn't assigned.
    pub fn observe(&mut self, source: usize, partition: &Partition, max_time_us: i64, now_ms: u64) {
        let Some(source) = self.sources.get_mut(source) else { return };
        let watermark_us = max_time_us.saturating_sub(source.rule.delay_us.max(0));
        if let Some(live) = source.partitions.get_mut(partition) {
            live.mark.watermark_us = live.mark.watermark_us.max(watermark_us);
            live.seen_ms = live.seen_ms.max(now_ms);
        }
    }

    /// What the pipeline that reads a partition of an exchange says of it. The partition is known
    /// from then on; [`Self::assign`] is not called for an exchange.
    pub fn mark(&mut self, source: usize, mark: &Mark) {
        let Some(source) = self.sources.get_mut(source) else { return };
        source.is_assigned = true;
        let name = Partition::from(mark.partition.to_string());
        let live = Live { mark: PartitionMark::NEW, seen_ms: 0 };
        let known = &mut source.partitions.entry(name).or_insert(live).mark;
        known.watermark_us = known.watermark_us.max(mark.watermark_us);
        if mark.standing != Standing::Elsewhere {
            known.is_idle = mark.standing == Standing::Idle;
            known.has_ended = mark.standing == Standing::Ended;
        }
    }

    /// Goes on with the partitions of an exchange that a checkpoint kept, where there are some.
    pub fn resume(&mut self, source: usize) {
        if let Some(source) = self.sources.get_mut(source) {
            source.is_assigned = !source.partitions.is_empty();
        }
    }

    /// Whether the partitions of all sources are known and have ended.
    pub fn have_ended(&self) -> bool {
        self.sources.iter().all(|source| {
            source.is_assigned && source.partitions.values().all(|live| live.mark.has_ended)
        })
    }

    /// What is known of a partition, for an exchange; `None` where it isn't assigned.
    pub fn standing(
        &self,
        source: usize,
        partition: &Partition,
        now_ms: u64,
    ) -> Option<(i64, Standing)> {
        let source = self.sources.get(source)?;
        let live = source.partitions.get(partition)?;
        let standing = match live {
            Live { mark: PartitionMark { has_ended: true, .. }, .. } => Standing::Ended,
            live if live.is_awake(&source.rule, now_ms) => Standing::Awake,
            _ => Standing::Idle,
        };
        Some((live.mark.watermark_us, standing))
    }

    /// A partition has no more rows, ever.
    pub fn end(&mut self, source: usize, partition: &Partition) {
        let partitions = self.sources.get_mut(source).map(|source| &mut source.partitions);
        if let Some(live) = partitions.and_then(|partitions| partitions.get_mut(partition)) {
            live.mark.has_ended = true;
        }
    }

    /// The pipeline's watermark: every row before it has come, or is late. `i64::MIN` before it is
    /// known, `i64::MAX` once every partition has ended.
    pub fn combined(&mut self, now_ms: u64) -> i64 {
        self.combined_us = self.combined_us.max(self.found(now_ms));
        self.combined_us
    }

    /// The watermark that the partitions have now, whatever it was before.
    fn found(&self, now_ms: u64) -> i64 {
        if !self.sources.iter().all(|source| source.is_assigned) {
            return i64::MIN;
        }
        let all = || self.sources.iter().flat_map(|source| source.lives());
        if all().all(|(_, live)| live.mark.has_ended) {
            return i64::MAX;
        }
        let awake = all().filter(|(rule, live)| live.is_awake(rule, now_ms));
        let least = awake.map(|(_, live)| live.mark.watermark_us).min();
        let greatest = || all().map(|(_, live)| live.mark.watermark_us).max();
        least.or_else(greatest).unwrap_or(i64::MIN)
    }

    /// What a checkpoint keeps.
    pub fn snapshot(&self) -> WatermarkState {
        let marks = |source: &SourceMarks| {
            source.partitions.iter().map(|(name, live)| (name.to_string(), live.mark)).collect()
        };
        WatermarkState {
            combined_us: self.combined_us,
            sources: self.sources.iter().map(marks).collect(),
        }
    }
}

impl Live {
    /// Whether it holds the others back.
    fn is_awake(&self, rule: &WatermarkRule, now_ms: u64) -> bool {
        let silent_ms = now_ms.saturating_sub(self.seen_ms);
        let is_silent = rule.idle_timeout_ms.is_some_and(|timeout| silent_ms >= timeout);
        !(self.mark.has_ended || self.mark.is_idle || is_silent)
    }
}

impl SourceMarks {
    fn lives(&self) -> impl Iterator<Item = (&WatermarkRule, &Live)> {
        self.partitions.values().map(|live| (&self.rule, live))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    fn of(delay_us: i64, idle_timeout_ms: Option<u64>, names: &[&str]) -> Watermarks {
        let mut marks = Watermarks::new(vec![WatermarkRule { delay_us, idle_timeout_ms }]);
        marks.assign(0, &partitions(names), 0);
        marks
    }

    fn partitions(names: &[&str]) -> Vec<Partition> {
        names.iter().map(|name| Partition::from(*name)).collect()
    }

    fn seen(marks: &mut Watermarks, name: &str, time_us: i64, now_ms: u64) -> i64 {
        marks.observe(0, &name.into(), time_us, now_ms);
        marks.combined(now_ms)
    }

    #[test]
    fn the_slowest_partition_decides_and_nothing_goes_back() {
        let mut marks = of(10, None, &["a", "b"]);
        assert_eq!(seen(&mut marks, "a", 100, 0), i64::MIN, "b has said nothing");
        assert_eq!(seen(&mut marks, "b", 50, 0), 40);
        assert_eq!(seen(&mut marks, "b", 30, 0), 40);
        assert_eq!(seen(&mut marks, "b", 200, 0), 90);
    }

    #[test]
    fn an_idle_partition_holds_nothing_back_until_it_speaks() {
        let mut marks = of(0, Some(1000), &["a", "b"]);
        seen(&mut marks, "b", 50, 0);
        assert_eq!(seen(&mut marks, "a", 100, 999), 50);
        assert_eq!(seen(&mut marks, "a", 101, 1000), 101);
        assert_eq!(seen(&mut marks, "b", 60, 1001), 101, "monotone");
        assert_eq!(seen(&mut marks, "a", 300, 1001), 101, "b is awake again, at 60");
    }

    #[test]
    fn where_all_are_idle_their_order_of_falling_asleep_does_not_matter() {
        for (first, second) in [(100, 50), (50, 100)] {
            let mut marks = of(0, Some(1000), &["a", "b"]);
            seen(&mut marks, "a", first, 0);
            seen(&mut marks, "b", second, 500);
            assert_eq!(marks.combined(2000), 100);
        }
    }

    #[test]
    fn when_all_have_ended_time_is_over() {
        let mut marks = of(0, None, &["a", "b"]);
        seen(&mut marks, "b", 7, 0);
        marks.end(0, &"a".into());
        assert_eq!(marks.combined(0), 7, "a no longer counts");
        marks.end(0, &"b".into());
        assert_eq!(marks.combined(0), i64::MAX);
    }

    #[test]
    fn ended_and_idle_together_are_not_the_end() {
        let mut marks = of(0, Some(10), &["a", "b"]);
        seen(&mut marks, "b", 7, 0);
        seen(&mut marks, "a", 9, 0);
        marks.end(0, &"a".into());
        assert_eq!(marks.combined(100), 9);
    }

    #[test]
    fn a_source_without_partitions_yet_holds_the_others_back() {
        let rule = WatermarkRule { delay_us: 0, idle_timeout_ms: None };
        let mut marks = Watermarks::new(vec![rule, rule]);
        marks.assign(0, &partitions(&["a"]), 0);
        marks.end(0, &"a".into());
        assert_eq!(marks.combined(0), i64::MIN);
        marks.assign(1, &[], 0);
        assert_eq!(marks.combined(0), i64::MAX, "and one that has none does not");
    }

    #[test]
    fn a_restored_one_goes_on_where_it_was() {
        let mut marks = of(5, None, &["a", "b"]);
        seen(&mut marks, "a", 100, 0);
        seen(&mut marks, "b", 80, 0);
        marks.end(0, &"b".into());
        let state = marks.snapshot();
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<WatermarkState>(&json).unwrap(), state);

        let rule = WatermarkRule { delay_us: 5, idle_timeout_ms: None };
        let mut restored = Watermarks::new(vec![rule]);
        restored.restore(&state).unwrap();
        assert_eq!(restored.combined(0), 75, "before its partitions are known");
        restored.assign(0, &partitions(&["a", "b", "c"]), 0);
        assert_eq!(restored.combined(0), 75, "c is new and has said nothing");
        assert_eq!(seen(&mut restored, "c", 300, 0), 95, "b had ended");

        let mut other = Watermarks::new(vec![rule, rule]);
        assert!(matches!(other.restore(&state), Err(Error::State(_))));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut marks = of(i64::MAX, Some(0), &["a"]);
        assert_eq!(seen(&mut marks, "a", i64::MIN, u64::MAX), i64::MIN);
    }
}
