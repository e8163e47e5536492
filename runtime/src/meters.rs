//! The metrics of a pipeline: their names in one place, and handles that remember their labels.
//!
//! What is counted goes to whatever recorder the process has installed; without one it costs next
//! to nothing. Times are counted in whole seconds, what is left of one being kept for the next,
//! because a counter that may only rise has no fractions.

use std::sync::Mutex;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Seconds that are counted as they pass.
pub(crate) struct Seconds {
    counter: Counter,
    rest: Mutex<Duration>,
}

impl Seconds {
    fn new(counter: Counter) -> Self {
        Self { counter, rest: Mutex::new(Duration::ZERO) }
    }

    /// Adds a time.
    pub(crate) fn add(&self, time: Duration) {
        let mut rest = self.rest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *rest += time;
        let whole = rest.as_secs();
        if whole > 0 {
            self.counter.increment(whole);
            *rest -= Duration::from_secs(whole);
        }
    }
}

/// What is reported about a queue.
pub(crate) struct EdgeMeter {
    rows: Gauge,
    bytes: Gauge,
    blocked: Seconds,
    starved: Seconds,
}

impl EdgeMeter {
    /// The meter of an edge of a pipeline.
    pub(crate) fn new(pipeline: &str, edge: &'static str) -> Self {
        let pipeline = pipeline.to_string();
        Self {
            rows: gauge!("sembla_queue_rows", "pipeline" => pipeline.clone(), "edge" => edge),
            bytes: gauge!("sembla_queue_bytes", "pipeline" => pipeline.clone(), "edge" => edge),
            blocked: Seconds::new(counter!(
                "sembla_edge_blocked_seconds_total", "pipeline" => pipeline.clone(), "edge" => edge
            )),
            starved: Seconds::new(counter!(
                "sembla_edge_starved_seconds_total", "pipeline" => pipeline, "edge" => edge
            )),
        }
    }

    /// What lies in the queue now.
    pub(crate) fn fill(&self, rows: usize, bytes: usize) {
        self.rows.set(rows as f64);
        self.bytes.set(bytes as f64);
    }

    /// A time that a sender waited for room.
    pub(crate) fn blocked(&self, time: Duration) {
        self.blocked.add(time);
    }

    /// A time that the receiver waited for an item.
    pub(crate) fn starved(&self, time: Duration) {
        self.starved.add(time);
    }
}

/// What is reported about one source.
pub(crate) struct SourceMeter {
    pub(crate) rows: Counter,
    pub(crate) bytes: Counter,
    pub(crate) batches: Counter,
    pub(crate) lag: Gauge,
}

impl SourceMeter {
    pub(crate) fn new(pipeline: &str, source: &str) -> Self {
        let labels = [("pipeline", pipeline.to_string()), ("source", source.to_string())];
        Self {
            rows: counter!("sembla_rows_in_total", &labels),
            bytes: counter!("sembla_bytes_in_total", &labels),
            batches: counter!("sembla_batches_in_total", &labels),
            lag: gauge!("sembla_lag_rows", &labels),
        }
    }
}

/// What is reported about the pipeline as a whole.
pub(crate) struct PipelineMeter {
    pub(crate) rows_out: Counter,
    pub(crate) batches_out: Counter,
    pub(crate) rows_late: Counter,
    pub(crate) rows_rejected: Counter,
    pub(crate) rows_dead_lettered: Counter,
    pub(crate) watermark: Gauge,
    pub(crate) checkpoints: Counter,
    pub(crate) checkpoint_seconds: Histogram,
    pub(crate) checkpoint_bytes: Gauge,
    pub(crate) state_bytes: Gauge,
    pub(crate) windows_open: Gauge,
    pub(crate) windows_closed: Counter,
    pub(crate) restarts: Counter,
    pub(crate) row_stage: Seconds,
    pub(crate) window_stage: Seconds,
}

impl PipelineMeter {
    pub(crate) fn new(pipeline: &str) -> Self {
        let labels = [("pipeline", pipeline.to_string())];
        let stage = |stage: &str| {
            let labels = [("pipeline", pipeline.to_string()), ("stage", stage.to_string())];
            Seconds::new(counter!("sembla_stage_seconds_total", &labels))
        };
        Self {
            rows_out: counter!("sembla_rows_out_total", &labels),
            batches_out: counter!("sembla_batches_out_total", &labels),
            rows_late: counter!("sembla_rows_late_total", &labels),
            rows_rejected: counter!("sembla_rows_rejected_total", &labels),
            rows_dead_lettered: counter!("sembla_rows_dead_lettered_total", &labels),
            watermark: gauge!("sembla_watermark_seconds", &labels),
            checkpoints: counter!("sembla_checkpoints_total", &labels),
            checkpoint_seconds: histogram!("sembla_checkpoint_seconds", &labels),
            checkpoint_bytes: gauge!("sembla_checkpoint_bytes", &labels),
            state_bytes: gauge!("sembla_state_bytes", &labels),
            windows_open: gauge!("sembla_windows_open", &labels),
            windows_closed: counter!("sembla_windows_closed_total", &labels),
            restarts: counter!("sembla_restarts_total", &labels),
            row_stage: stage("rows"),
            window_stage: stage("windows"),
        }
    }
}
