//! How far event time has come.
//!
//! A partition's watermark is the greatest time seen in it minus its source's delay. The pipeline's
//! is the least of those partitions that are neither idle nor ended.
//!
//! - *Invariant:* neither ever goes back, over a restart too.
//! - *Absent:* a clock. The caller says what time it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Partition;

/// How the watermark of a source's partitions comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkRule {
    /// How much later than the latest row another may come.
    pub delay_us: i64,
    /// After how long without rows a partition no longer holds the others back; `None` is never.
    pub idle_timeout_ms: Option<u64>,
}

/// The watermarks of all partitions of all sources of a pipeline.
#[derive(Clone, Debug)]
pub struct Watermarks {
    rules: Vec<WatermarkRule>,
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
}

impl Watermarks {
    /// No partitions yet. One rule for each source.
    pub fn new(rules: Vec<WatermarkRule>) -> Self {
        Self { rules }
    }

    /// Takes up what a checkpoint kept. Call it before `assign`.
    ///
    /// # Errors
    /// [`crate::Error::State`] when it is of another number of sources.
    pub fn restore(&mut self, state: &WatermarkState) -> crate::Result<()> {
        let _ = (state, &self.rules);
        Ok(())
    }

    /// The partitions of a source that are read from now on. What is known of others is forgotten.
    pub fn assign(&mut self, source: usize, partitions: &[Partition], now_ms: u64) {
        let _ = (source, partitions, now_ms);
    }

    /// Rows of a partition came, the latest of that time. `now_ms` must stand still while the
    /// pipeline is blocked and doesn't ask its sources, or busy partitions look idle.
    pub fn observe(&mut self, source: usize, partition: &Partition, max_time_us: i64, now_ms: u64) {
        let _ = (source, partition, max_time_us, now_ms);
    }

    /// A partition has no more rows, ever.
    pub fn end(&mut self, source: usize, partition: &Partition) {
        let _ = (source, partition);
    }

    /// The pipeline's watermark: every row before it has come, or is late. `i64::MIN` before it is
    /// known, `i64::MAX` once every partition has ended.
    pub fn combined(&mut self, now_ms: u64) -> i64 {
        let _ = now_ms;
        i64::MIN
    }

    /// What a checkpoint keeps.
    pub fn snapshot(&self) -> WatermarkState {
        WatermarkState { combined_us: i64::MIN, sources: Vec::new() }
    }
}
