//! How a running pipeline is: for a status line, a health endpoint and the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::Error;
use crate::message::Counted;
use crate::meters::PipelineMeter;

/// Checkpoints that may be missed before a pipeline is called unhealthy.
const MISSED_CHECKPOINTS_MAX: u32 = 3;

/// Things that are said once.
const SAID_MAX: usize = 1000;

/// How much the last second counts in the rate.
const RATE_WEIGHT: f64 = 0.3;

/// What a pipeline is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It waits for partitions, reads progress and state.
    #[default]
    Starting,
    /// Other instances have all partitions; it takes over what they give back.
    StandingBy,
    /// Rows flow.
    Running,
    /// An attempt failed with this error; the next one begins soon.
    Waiting(String),
    /// What was read is being finished.
    Stopping,
    /// It has ended.
    Ended,
}

/// A snapshot of a pipeline. Counts are since the process began to run it; what a failed attempt
/// counted and did not commit is taken off when the next one begins.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Rows that came from the sources.
    pub rows_in: u64,
    /// Rows per second that came lately.
    pub rows_in_per_second: f64,
    /// Rows that were written to the sink.
    pub rows_out: u64,
    /// Rows that came after their windows had closed.
    pub rows_late: u64,
    /// Records that could not be used.
    pub rows_rejected: u64,
    /// How far event time has come, in microseconds since 1970.
    pub watermark_us: Option<i64>,
    /// Records that are known to lie ahead; `None` where no source knows.
    pub lag_rows: Option<i64>,
    /// Windows that are open.
    pub windows_open: usize,
    /// The number of the last commit.
    pub epoch: u64,
    /// When the last checkpoint of this attempt was done, or the attempt began to run.
    pub checkpoint_at: Option<Instant>,
    /// How often it was restarted after a failure.
    pub restarts: u64,
    /// How often it began at what is committed: at its start, after failures, and when partitions
    /// were dealt anew. What is said of event time goes forward within an attempt.
    pub attempts: u64,
}

impl Status {
    /// Whether an attempt is running and its checkpoints keep up with their interval.
    pub fn is_healthy(&self, now: Instant, checkpoint_interval: Duration) -> bool {
        let patience = checkpoint_interval.saturating_mul(MISSED_CHECKPOINTS_MAX);
        match self.phase {
            Phase::Starting | Phase::StandingBy | Phase::Ended => true,
            Phase::Waiting(_) => false,
            Phase::Running | Phase::Stopping => {
                self.checkpoint_at.is_none_or(|at| now.saturating_duration_since(at) <= patience)
            }
        }
    }
}

/// Where the tasks of a pipeline tell what they do.
pub(crate) struct Reporter {
    pub(crate) meter: PipelineMeter,
    status: watch::Sender<Status>,
    commits: AtomicU64,
    /// How much lies ahead, by source.
    lags: Mutex<BTreeMap<usize, i64>>,
    /// Whether an attempt has come to read rows.
    has_run: AtomicBool,
    /// What has been said and is said once.
    said: Mutex<BTreeSet<String>>,
    /// The counts of rows at the last commit.
    committed: Mutex<Committed>,
}

/// Counts at the last commit, and at the beginning of the attempt.
#[derive(Clone, Copy, Debug, Default)]
struct Committed {
    now: Counts,
    before: Counts,
    /// Those of the last commit that was tried, and its number: it may be made though it failed.
    tried: Option<(u64, Counts)>,
}

/// The counts of a status that begin again at the last commit when an attempt fails.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    rows_in: u64,
    rows_out: u64,
    rows_late: u64,
    rows_rejected: u64,
}

impl Reporter {
    /// Tells the metrics of the pipeline of that name, and `status`.
    pub(crate) fn new(pipeline: &str, status: watch::Sender<Status>) -> Self {
        Self {
            meter: PipelineMeter::new(pipeline),
            status,
            commits: AtomicU64::new(0),
            lags: Mutex::default(),
            has_run: AtomicBool::new(false),
            said: Mutex::default(),
            committed: Mutex::default(),
        }
    }

    /// Whether an attempt has come to read rows.
    pub(crate) fn has_run(&self) -> bool {
        self.has_run.load(Ordering::Relaxed)
    }

    /// Whether this is said for the first time. After [`SAID_MAX`] things nothing is.
    pub(crate) fn is_first(&self, what: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.len() < SAID_MAX && said.insert(what.to_string())
    }

    /// An attempt goes on from the commit of that number: what was counted and not committed comes
    /// again, and is counted then.
    pub(crate) fn resume(&self, epoch: u64) {
        let counts = {
            let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, counts)) = committed.tried.take_if(|(tried, _)| *tried == epoch) {
                committed.now = counts;
            }
            committed.before = committed.now;
            committed.now
        };
        self.status.send_modify(|status| {
            let Counts { rows_in, rows_out, rows_late, rows_rejected } = counts;
            (status.rows_in, status.rows_out) = (rows_in, rows_out);
            (status.rows_late, status.rows_rejected) = (rows_late, rows_rejected);
        });
    }

    pub(crate) fn phase(&self, phase: Phase) {
        self.status.send_modify(|status| {
            if phase == Phase::Running {
                self.has_run.store(true, Ordering::Relaxed);
                status.checkpoint_at = Some(Instant::now());
            }
            status.phase = phase;
        });
    }

    pub(crate) fn rows_in(&self, rows: usize) {
        self.status.send_modify(|status| status.rows_in += rows as u64);
    }

    pub(crate) fn rows_out(&self, rows: usize) {
        self.meter.rows_out.increment(rows as u64);
        self.meter.batches_out.increment(1);
        self.status.send_modify(|status| status.rows_out += rows as u64);
    }

    pub(crate) fn late(&self, rows: usize) {
        self.meter.rows_late.increment(rows as u64);
        self.status.send_modify(|status| status.rows_late += rows as u64);
    }

    pub(crate) fn rejected(&self, records: usize) {
        self.meter.rows_rejected.increment(records as u64);
        self.status.send_modify(|status| status.rows_rejected += records as u64);
    }

    /// The watermark; its two ends, which are no times, are left out.
    pub(crate) fn watermark(&self, watermark_us: i64) {
        if watermark_us != i64::MIN && watermark_us != i64::MAX {
            self.meter.watermark.set(watermark_us as f64 / 1e6);
            self.status.send_modify(|status| status.watermark_us = Some(watermark_us));
        }
    }

    pub(crate) fn windows(&self, open: usize, bytes: usize) {
        self.meter.windows_open.set(open as f64);
        self.meter.state_bytes.set(bytes as f64);
        self.status.send_modify(|status| status.windows_open = open);
    }

    /// A checkpoint was done, or found nothing to do.
    pub(crate) fn checkpoint(&self, epoch: Option<u64>) {
        self.status.send_modify(|status| {
            status.checkpoint_at = Some(Instant::now());
            status.epoch = epoch.unwrap_or(status.epoch);
        });
        if epoch.is_some() {
            let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, counts)) = committed.tried.take() {
                committed.now = counts;
            }
        }
        self.commits.fetch_add(u64::from(epoch.is_some()), Ordering::Relaxed);
    }

    /// The commit of that number is tried for what was counted before a barrier; `unwritable` are
    /// the rows that the sink has rejected in this attempt.
    pub(crate) fn tries(&self, epoch: u64, counted: Counted, unwritable: u64) {
        let rows_out = self.status.borrow().rows_out;
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = committed.before;
        let counts = Counts {
            rows_in: counted.rows_in,
            rows_out,
            rows_late: before.rows_late + counted.late,
            rows_rejected: before.rows_rejected + counted.rejected + unwritable,
        };
        committed.tried = Some((epoch, counts));
    }

    /// An attempt begins at what is committed.
    pub(crate) fn begin(&self) {
        self.status.send_modify(|status| {
            status.attempts += 1;
            status.watermark_us = None;
        });
    }

    /// An attempt failed, and another one follows.
    pub(crate) fn restart(&self, error: &Error) {
        self.meter.restarts.increment(1);
        self.status.send_modify(|status| {
            status.restarts += 1;
            status.phase = Phase::Waiting(error.to_string());
        });
    }

    /// How often something was committed.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// How much lies ahead in a source.
    pub(crate) fn lag(&self, source: usize, rows: i64) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        lags.insert(source, rows);
        let all = lags.values().sum();
        self.status.send_modify(|status| status.lag_rows = Some(all));
    }

    /// Rows that have come so far.
    pub(crate) fn rows_in_so_far(&self) -> u64 {
        self.status.borrow().rows_in
    }

    /// Measures the rate since the last call, when there were `before` rows in. Gives the rows in.
    pub(crate) fn measure_rate(&self, before: u64, time: Duration) -> u64 {
        let seconds = time.as_secs_f64().max(1e-3);
        let mut rows_in = before;
        self.status.send_modify(|status| {
            let latest = status.rows_in.saturating_sub(before) as f64 / seconds;
            status.rows_in_per_second += RATE_WEIGHT * (latest - status.rows_in_per_second);
            rows_in = status.rows_in;
        });
        rows_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_healthy_while_checkpoints_keep_up() {
        let interval = Duration::from_secs(10);
        let now = Instant::now();
        let status = |phase, checkpoint_at| Status { phase, checkpoint_at, ..Status::default() };
        let old = Some(now);
        for (phase, is_healthy) in [
            (Phase::Starting, true),
            (Phase::Running, false),
            (Phase::Stopping, false),
            (Phase::Waiting("no broker".into()), false),
            (Phase::Ended, true),
        ] {
            let later = now + interval * 3 + Duration::from_millis(1);
            let told = format!("{phase:?}");
            assert_eq!(status(phase, old).is_healthy(later, interval), is_healthy, "{told}");
        }
        assert!(status(Phase::Running, old).is_healthy(now + interval * 3, interval));
        assert!(!status(Phase::Waiting("no broker".into()), old).is_healthy(now, interval));
    }

    #[test]
    fn the_rate_follows_the_rows() {
        let (status, seen) = watch::channel(Status::default());
        let reporter = Reporter::new("test", status);
        let mut before = 0;
        for _ in 0..50 {
            reporter.rows_in(200);
            before = reporter.measure_rate(before, Duration::from_secs(2));
        }
        assert_eq!(before, 10_000);
        assert!((seen.borrow().rows_in_per_second - 100.0).abs() < 0.1);
    }
}
