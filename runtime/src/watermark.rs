//! How far event time has come.
//!
//! A partition's watermark is the greatest time seen in it minus its source's delay. The pipeline's
//! is the least of those partitions that are neither idle nor ended; where all are, the greatest of
//! all, so that the order in which they fall idle doesn't matter.
//!
//! One row with a wrong clock would make all that follow late. So a source may have a bound,
//! `max_ahead_us`: a row that is further than that ahead of the rows before it in its partition
//! moves the watermark only when the next row says so too, as after a real gap; and where the rows
//! are of the present, one that is further ahead of the clock never does. Such a row stays in its
//! window.
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
    /// How far ahead a single row may be and still count; `None` is as far as it likes.
    pub max_ahead_us: Option<i64>,
}

/// A row whose event time is too far ahead to move the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Its event time.
    pub time_us: i64,
    /// Its sequence, which is its position in its partition.
    pub sequence: i64,
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
    /// The last row, where it is so far ahead that the next one decides whether it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Ahead>,
}

impl PartitionMark {
    const NEW: Self =
        Self { watermark_us: i64::MIN, has_ended: false, is_idle: false, ahead: None };

    /// Takes in a row. Gives the row that is found to be too far ahead: this one, or the one
    /// before.
    fn take(&mut self, rule: &WatermarkRule, row: Ahead, clock_us: Option<i64>) -> Option<Ahead> {
        let Some(bound_us) = rule.max_ahead_us else {
            self.advance(rule, row.time_us);
            return None;
        };
        let time_us = row.time_us;
        if clock_us.is_some_and(|clock_us| time_us > clock_us.saturating_add(bound_us)) {
            return Some(row);
        }
        let is_present =
            clock_us.is_some_and(|clock_us| time_us >= clock_us.saturating_sub(bound_us));
        if is_present || time_us <= self.reach_us(rule, bound_us) {
            self.advance(rule, time_us);
            // The row before was alone in being ahead, unless this one has caught up with it.
            return self.ahead.take().filter(|ahead| ahead.time_us > self.reach_us(rule, bound_us));
        }
        let Some(before) = self.ahead.take() else {
            self.ahead = Some(row);
            return None;
        };
        let (less, more) = if before.time_us <= time_us { (before, row) } else { (row, before) };
        self.advance(rule, less.time_us);
        match more.time_us <= self.reach_us(rule, bound_us) {
            true => self.advance(rule, more.time_us),
            false => self.ahead = Some(more),
        }
        None
    }

    /// The latest time that counts at once; any, before the first row.
    fn reach_us(&self, rule: &WatermarkRule, bound_us: i64) -> i64 {
        match self.watermark_us {
            i64::MIN => i64::MAX,
            known => known.saturating_add(rule.delay_us.max(0)).saturating_add(bound_us),
        }
    }

    fn advance(&mut self, rule: &WatermarkRule, time_us: i64) {
        let watermark_us = time_us.saturating_sub(rule.delay_us.max(0));
        self.watermark_us = self.watermark_us.max(watermark_us);
    }
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
                "the state has watermarks of {there} sources, but the query has {here}; --ignore-state starts over"
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

    /// Rows of a partition came, in this order. `now_ms` must stand still while the pipeline is
    /// blocked and doesn't ask its sources, or busy partitions look idle. `clock_us` is the time of
    /// day, where rows are of the present. Gives the first row that is too far ahead to count.
    /// Nothing happens for a partition that isn't assigned.
    pub fn observe(
        &mut self,
        source: usize,
        partition: &Partition,
        rows: impl Iterator<Item = Ahead>,
        now_ms: u64,
        clock_us: Option<i64>,
    ) -> Option<Ahead> {
        let source = self.sources.get_mut(source)?;
        let live = source.partitions.get_mut(partition)?;
        live.seen_ms = live.seen_ms.max(now_ms);
        let mut first = None;
        for row in rows {
            let ahead = live.mark.take(&source.rule, row, clock_us);
            first = first.or(ahead);
        }
        first
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
        let mut marks = Watermarks::new(vec![rule(delay_us, idle_timeout_ms)]);
        marks.assign(0, &partitions(names), 0);
        marks
    }

    fn rule(delay_us: i64, idle_timeout_ms: Option<u64>) -> WatermarkRule {
        WatermarkRule { delay_us, idle_timeout_ms, max_ahead_us: None }
    }

    fn partitions(names: &[&str]) -> Vec<Partition> {
        names.iter().map(|name| Partition::from(*name)).collect()
    }

    fn seen(marks: &mut Watermarks, name: &str, time_us: i64, now_ms: u64) -> i64 {
        let row = Ahead { time_us, sequence: 0 };
        marks.observe(0, &name.into(), [row].into_iter(), now_ms, None);
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
        let rule = rule(0, None);
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

        let rule = rule(5, None);
        let mut restored = Watermarks::new(vec![rule]);
        restored.restore(&state).unwrap();
        assert_eq!(restored.combined(0), 75, "before its partitions are known");
        restored.assign(0, &partitions(&["a", "b", "c"]), 0);
        assert_eq!(restored.combined(0), 75, "c is new and has said nothing");
        assert_eq!(seen(&mut restored, "c", 300, 0), 95, "b had ended");

        let mut other = Watermarks::new(vec![rule, rule]);
        assert!(matches!(other.restore(&state), Err(Error::State(_))));
    }

    /// One partition with a delay of 5 and a bound of 100; of each row in turn its time, whether a
    /// row is found to be too far ahead, and the watermark afterwards.
    fn bounded(clock_us: Option<i64>, rows: &[(i64, Option<i64>, i64)]) -> Watermarks {
        let rule = WatermarkRule { max_ahead_us: Some(100), ..rule(5, None) };
        let mut marks = Watermarks::new(vec![rule]);
        marks.assign(0, &partitions(&["a"]), 0);
        for (sequence, (time_us, found, watermark_us)) in (0..).zip(rows) {
            let row = Ahead { time_us: *time_us, sequence };
            let ahead = marks.observe(0, &"a".into(), [row].into_iter(), 0, clock_us);
            assert_eq!(ahead.map(|ahead| ahead.time_us), *found, "row {sequence}");
            assert_eq!(marks.combined(0), *watermark_us, "row {sequence}");
        }
        marks
    }

    #[test]
    fn one_row_far_ahead_does_not_move_it() {
        bounded(None, &[(0, None, -5), (9000, None, -5), (50, Some(9000), 45), (150, None, 145)]);
        // A gap is one when two rows say so, and the less of them counts.
        bounded(None, &[(0, None, -5), (9000, None, -5), (9010, None, 9005)]);
        bounded(None, &[(0, None, -5), (9000, None, -5), (500, None, 495), (510, Some(9000), 505)]);
        // What others catch up with was right.
        bounded(None, &[(0, None, -5), (101, None, -5), (50, None, 45)]);
    }

    #[test]
    fn rows_of_the_present_are_held_against_the_clock() {
        let clock = Some(10_000);
        bounded(
            clock,
            &[
                (0, None, -5),
                (9950, None, 9945),
                (10_100, None, 10_095),
                (10_101, Some(10_101), 10_095),
            ],
        );
        bounded(clock, &[(90_000, Some(90_000), i64::MIN), (90_001, Some(90_001), i64::MIN)]);
        // Before the present they are held against each other.
        bounded(clock, &[(0, None, -5), (5000, None, -5), (40, Some(5000), 35)]);
    }

    #[test]
    fn a_row_that_awaits_its_next_is_kept_over_a_restart() {
        let state = bounded(None, &[(0, None, -5), (9000, None, -5)]).snapshot();
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<WatermarkState>(&json).unwrap(), state);
        let rule = WatermarkRule { max_ahead_us: Some(100), ..rule(5, None) };
        let mut restored = Watermarks::new(vec![rule]);
        restored.restore(&state).unwrap();
        restored.assign(0, &partitions(&["a"]), 0);
        assert_eq!(seen(&mut restored, "a", 9001, 0), 8996);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut marks = of(i64::MAX, Some(0), &["a"]);
        assert_eq!(seen(&mut marks, "a", i64::MIN, u64::MAX), i64::MIN);
    }
}
