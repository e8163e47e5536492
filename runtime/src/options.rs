//! How a pipeline runs, as the user may set it: batches, queues, checkpoints, retries.
//!
//! [`PipelineOptions::OPTIONS`] is the one declaration: keys, defaults, what they are for and what
//! they take. SQL's `SET`, the command line and the documentation come from it.

use std::time::Duration;

use sembla_options::{Kind, OptionDef, Value, unknown};

use crate::{Error, Result};

/// How a pipeline runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineOptions {
    /// Most rows of a micro-batch.
    pub batch_rows: usize,
    /// Most bytes of a micro-batch; a single row may be larger.
    pub batch_bytes: usize,
    /// How long the oldest row of a micro-batch waits for others.
    pub linger: Duration,
    /// Most rows in each queue between two tasks.
    pub queue_rows: usize,
    /// Most bytes in each queue between two tasks.
    pub queue_bytes: usize,
    /// Micro-micro-batches processed in parallel.
    pub row_tasks: usize,
    /// Time from one checkpoint to the next.
    pub checkpoint_interval: Duration,
    /// How long a partition is silent before it no longer holds the watermark.
    pub idle_timeout: Duration,
    /// Most bytes of rows in open windows.
    pub memory_limit: usize,
    /// Restarts in a row without a commit between them.
    pub retries: usize,
    /// Longest wait before a restart.
    pub retry_backoff_max: Duration,
    /// How long a pipeline that has never run is tried again.
    pub start_timeout: Duration,
    /// How long a stop waits for what was read to be finished and committed.
    pub stop_timeout: Duration,
}

impl PipelineOptions {
    /// Every option that [`PipelineOptions::set`] takes.
    pub const OPTIONS: &'static [OptionDef] = &[
        OptionDef::new("batch_rows", Kind::at_least(1), "maximum rows per micro-batch").or("4096"),
        OptionDef::new(
            "batch_bytes",
            Kind::Bytes { least: 1 },
            "maximum bytes per micro-batch; a single row may be larger",
        )
        .or("8 MiB"),
        OptionDef::new(
            "linger",
            Kind::Duration,
            "how long a row waits for its micro-batch to fill",
        )
        .or("5 ms"),
        OptionDef::new(
            "queue_rows",
            Kind::at_least(1),
            "maximum rows in each queue between two tasks",
        )
        .or("32768"),
        OptionDef::new(
            "queue_bytes",
            Kind::Bytes { least: 1 },
            "maximum bytes in each queue between two tasks",
        )
        .or("64 MiB"),
        OptionDef::new("row_tasks", Kind::at_least(1), "micro-batches processed in parallel")
            .or("2"),
        OptionDef::new(
            "checkpoint_interval",
            Kind::Duration,
            "time from one commit of results and progress to the next",
        )
        .or("10 s"),
        OptionDef::new(
            "idle_timeout",
            Kind::Duration,
            "how long a silent partition holds back windows",
        )
        .or("30 s"),
        OptionDef::new(
            "memory_limit",
            Kind::Bytes { least: 1 },
            "maximum bytes of rows in open windows; more is an error",
        )
        .or("4 GiB"),
        OptionDef::new(
            "retries",
            Kind::COUNT,
            "consecutive restarts without a commit before the pipeline gives up",
        )
        .or("10"),
        OptionDef::new("retry_backoff_max", Kind::Duration, "longest wait before a restart")
            .or("30 s"),
        OptionDef::new(
            "start_timeout",
            Kind::Duration,
            "how long to retry a pipeline that could not start yet",
        )
        .or("1 min"),
        OptionDef::new(
            "stop_timeout",
            Kind::Duration,
            "how long a stop waits for what was read to be finished and committed",
        )
        .or("60 s"),
    ];

    /// Sets one option from its textual form. Keys are spelt in lower case; times need a unit
    /// (`500 ms`, `10s`, `2 min`, `1 h`), sizes may have one (`64 MiB`, `1 GB`).
    ///
    /// ```
    /// use sembla_runtime::PipelineOptions;
    ///
    /// let mut options = PipelineOptions::default();
    /// options.set("queue_bytes", "16 MiB")?;
    /// assert_eq!(options.queue_bytes, 16 << 20);
    /// # Ok::<(), sembla_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Option`] when the key is unknown (the message names the nearest known one) or the
    /// value can't be read.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let wanted = key.to_ascii_lowercase();
        let Some(option) = Self::OPTIONS.iter().find(|option| option.key == wanted) else {
            let known = Self::OPTIONS.iter().map(|option| option.key);
            return Err(Error::Option(unknown("a pipeline", known, &wanted)));
        };
        match (option.key, option.parse(value)?) {
            ("batch_rows", Value::Count(count)) => self.batch_rows = whole(count),
            ("queue_rows", Value::Count(count)) => self.queue_rows = whole(count),
            ("row_tasks", Value::Count(count)) => self.row_tasks = whole(count),
            ("retries", Value::Count(count)) => self.retries = whole(count),
            ("batch_bytes", Value::Bytes(bytes)) => self.batch_bytes = whole(bytes),
            ("queue_bytes", Value::Bytes(bytes)) => self.queue_bytes = whole(bytes),
            ("memory_limit", Value::Bytes(bytes)) => self.memory_limit = whole(bytes),
            ("linger", Value::Duration(time)) => self.linger = time,
            ("checkpoint_interval", Value::Duration(time)) => self.checkpoint_interval = time,
            ("idle_timeout", Value::Duration(time)) => self.idle_timeout = time,
            ("retry_backoff_max", Value::Duration(time)) => self.retry_backoff_max = time,
            ("start_timeout", Value::Duration(time)) => self.start_timeout = time,
            ("stop_timeout", Value::Duration(time)) => self.stop_timeout = time,
            (key, value) => {
                return Err(Error::Bug(format!(
                    "the option '{key}' is set to {value}, but nobody set it"
                )));
            }
        }
        Ok(())
    }
}

/// A number of rows or bytes of this machine; more than it can count is as good as no bound.
fn whole(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            batch_rows: 4096,
            batch_bytes: 8 << 20,
            linger: Duration::from_millis(5),
            queue_rows: 32_768,
            queue_bytes: 64 << 20,
            row_tasks: 2,
            checkpoint_interval: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            memory_limit: 4 << 30,
            retries: 10,
            retry_backoff_max: Duration::from_secs(30),
            start_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(key: &str, value: &str) -> String {
        PipelineOptions::default().set(key, value).expect_err("refused").to_string()
    }

    #[test]
    fn the_written_defaults_are_the_defaults() {
        let mut zeroed = PipelineOptions {
            batch_rows: 0,
            batch_bytes: 0,
            linger: Duration::MAX,
            queue_rows: 0,
            queue_bytes: 0,
            row_tasks: 0,
            checkpoint_interval: Duration::MAX,
            idle_timeout: Duration::MAX,
            memory_limit: 0,
            retries: 0,
            retry_backoff_max: Duration::MAX,
            start_timeout: Duration::MAX,
            stop_timeout: Duration::MAX,
        };
        for option in PipelineOptions::OPTIONS {
            let default = option.default.expect("a default");
            zeroed.set(option.key, default).expect(option.key);
        }
        assert_eq!(zeroed, PipelineOptions::default());
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        assert_eq!(
            message("linger", "10"),
            "linger must be a time such as '500 ms', '10s', '2 min', '1 h' or '1 day', got '10'"
        );
        assert_eq!(message("batch_rows", "0"), "batch_rows must be a whole number >= 1, got '0'");
        for (key, value) in [
            ("linger", "-1 s"),
            ("linger", "NaN s"),
            ("linger", "1e300 h"),
            ("linger", ""),
            ("queue_bytes", "0"),
            ("queue_bytes", "1 parsec"),
            ("queue_bytes", "99999999999 GiB"),
            ("retries", "-1"),
        ] {
            assert!(message(key, value).starts_with(&format!("{key} must be")), "{value}");
        }
    }

    #[test]
    fn an_unknown_key_is_told_the_nearest_one() {
        let said = message("checkpoint_intervall", "1 s");
        assert!(
            said.starts_with("a pipeline has no option 'checkpoint_intervall'; did you mean 'checkpoint_interval'?"),
            "{said}"
        );
    }
}
