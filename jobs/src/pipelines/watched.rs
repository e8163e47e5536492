//! A running pipeline as others see it: the status line, the health answer, the status as JSON.

use std::time::Duration;

use arrow::temporal_conversions::timestamp_us_to_datetime;
use sembla_runtime::{Phase, Status};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::numbers::count;

/// A pipeline that runs.
#[derive(Clone)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// How it is.
    pub status: watch::Receiver<Status>,
    /// How often it commits.
    pub checkpoint_interval: Duration,
}

impl Watched {
    /// Why the pipeline is not healthy, if it isn't.
    pub fn complaint(&self) -> Option<String> {
        let status = self.status.borrow();
        if status.is_healthy(Instant::now(), self.checkpoint_interval) {
            return None;
        }
        Some(match &status.phase {
            Phase::Waiting(error) => format!("{}: waiting to retry after: {error}", self.name),
            _ => format!("{}: the last commit is older than three intervals", self.name),
        })
    }

    /// The status, for programs.
    pub fn json(&self) -> serde_json::Value {
        let status = self.status.borrow();
        json!({
            "pipeline": self.name,
            "phase": phase(&status.phase),
            "healthy": status.is_healthy(Instant::now(), self.checkpoint_interval),
            "rows_in": status.rows_in,
            "rows_in_per_second": status.rows_in_per_second.round(),
            "rows_out": status.rows_out,
            "rows_late": status.rows_late,
            "rows_rejected": status.rows_rejected,
            "watermark": status.watermark_us.and_then(time),
            "lag_rows": status.lag_rows,
            "windows_open": status.windows_open,
            "epoch": status.epoch,
            "restarts": status.restarts,
        })
    }

    /// The status in one line, for people.
    pub fn line(&self) -> String {
        let status = self.status.borrow();
        let mut parts = vec![
            format!("{}: {}", self.name, phase(&status.phase)),
            format!(
                "{} in ({}/s)",
                count(status.rows_in),
                count(status.rows_in_per_second.round() as u64)
            ),
            format!("{} out", count(status.rows_out)),
        ];
        parts.extend(status.watermark_us.and_then(time).map(|time| format!("at {time}")));
        if status.windows_open > 0 {
            parts.push(format!("{} windows", status.windows_open));
        }
        parts.extend(status.lag_rows.map(|lag| format!("lag {}", count(lag.max(0) as u64))));
        for (rows, what) in [(status.rows_late, "late"), (status.rows_rejected, "rejected")] {
            if rows > 0 {
                parts.push(format!("{} {what}", count(rows)));
            }
        }
        parts.push(format!("commit {}", status.epoch));
        parts.join("  ")
    }
}

fn phase(phase: &Phase) -> String {
    match phase {
        Phase::Starting => "starting".into(),
        Phase::StandingBy => "standing by".into(),
        Phase::Running => "running".into(),
        Phase::Waiting(error) => format!("waiting after: {error}"),
        Phase::Stopping => "stopping".into(),
        Phase::Ended => "ended".into(),
    }
}

/// A time as people and programs read it.
fn time(microseconds: i64) -> Option<String> {
    let time = timestamp_us_to_datetime(microseconds)?;
    Some(time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}
