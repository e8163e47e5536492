//! How a pipeline runs, as the user may set it: batches, queues, checkpoints, retries.
//!
//! [`PipelineOptions::OPTIONS`] is the one declaration: keys, defaults, what they are for and how a
//! value is read. SQL's `SET`, the command line and the documentation come from it.

use std::time::Duration;

use crate::quantity::{parse_size, parse_time};
use crate::{Error, Result};

/// One option.
#[derive(Clone, Copy)]
pub struct OptionDef {
    /// The key, as SQL and the command line spell it.
    pub key: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    /// The default, as one would write it.
    pub default: &'static str,
    set: fn(&mut PipelineOptions, Value<'_>) -> Result<()>,
}

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
    /// Micro-batches that are in the row part at the same time.
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
        OptionDef {
            key: "batch_rows",
            about: "most rows that go through the row part together",
            default: "4096",
            set: |options, value| value.count().map(|n| options.batch_rows = n),
        },
        OptionDef {
            key: "batch_bytes",
            about: "most bytes that go through the row part together; a single row may be larger",
            default: "8 MiB",
            set: |options, value| value.size().map(|n| options.batch_bytes = n),
        },
        OptionDef {
            key: "linger",
            about: "how long a row waits for others to go through the row part with",
            default: "5 ms",
            set: |options, value| value.duration().map(|time| options.linger = time),
        },
        OptionDef {
            key: "queue_rows",
            about: "most rows in each queue between two tasks",
            default: "32768",
            set: |options, value| value.count().map(|n| options.queue_rows = n),
        },
        OptionDef {
            key: "queue_bytes",
            about: "most bytes in each queue between two tasks",
            default: "64 MiB",
            set: |options, value| value.size().map(|n| options.queue_bytes = n),
        },
        OptionDef {
            key: "row_tasks",
            about: "batches that are in the row part at the same time",
            default: "2",
            set: |options, value| value.count().map(|n| options.row_tasks = n),
        },
        OptionDef {
            key: "checkpoint_interval",
            about: "time from one commit of results and progress to the next",
            default: "10 s",
            set: |options, value| value.duration().map(|time| options.checkpoint_interval = time),
        },
        OptionDef {
            key: "idle_timeout",
            about: "how long a partition is silent before it no longer holds windows open",
            default: "30 s",
            set: |options, value| value.duration().map(|time| options.idle_timeout = time),
        },
        OptionDef {
            key: "memory_limit",
            about: "most bytes of rows in open windows; more is an error",
            default: "4 GiB",
            set: |options, value| value.size().map(|n| options.memory_limit = n),
        },
        OptionDef {
            key: "retries",
            about: "restarts in a row, without a commit between them, before the pipeline gives up",
            default: "10",
            set: |options, value| value.whole().map(|n| options.retries = n),
        },
        OptionDef {
            key: "retry_backoff_max",
            about: "longest wait before a restart",
            default: "30 s",
            set: |options, value| value.duration().map(|time| options.retry_backoff_max = time),
        },
        OptionDef {
            key: "start_timeout",
            about: "how long a pipeline that could not start so far is tried again",
            default: "1 min",
            set: |options, value| value.duration().map(|time| options.start_timeout = time),
        },
        OptionDef {
            key: "stop_timeout",
            about: "how long a stop waits for what was read to be finished and committed",
            default: "60 s",
            set: |options, value| value.duration().map(|time| options.stop_timeout = time),
        },
    ];

    /// Sets one option from its textual form. Keys are spelt in lower case; times need a unit
    /// (`500 ms`, `10s`, `2 min`, `1 h`), sizes may have one (`64 MiB`, `1 GB`).
    ///
    /// # Errors
    /// [`Error::Option`] when the key is unknown (the message names the nearest known one) or the
    /// value can't be read.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let wanted = key.to_ascii_lowercase();
        let Some(option) = Self::OPTIONS.iter().find(|option| option.key == wanted) else {
            return Err(unknown_key(&wanted));
        };
        (option.set)(self, Value { key: option.key, text: value.trim() })
    }
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

/// The error for a key that no option has.
fn unknown_key(key: &str) -> Error {
    let known = || PipelineOptions::OPTIONS.iter().map(|option| option.key);
    let likeness = |name: &str| strsim::jaro_winkler(name, key);
    let nearest = known().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default();
    let all: Vec<_> = known().collect();
    Error::Option(format!(
        "pipeline option '{key}' is not known; did you mean '{nearest}'? Known options: {}",
        all.join(", ")
    ))
}

/// What was written for an option.
#[derive(Clone, Copy)]
struct Value<'a> {
    key: &'static str,
    text: &'a str,
}

impl Value<'_> {
    /// A whole number.
    fn whole(self) -> Result<usize> {
        self.text.parse().map_err(|_| self.refuse("a whole number"))
    }

    /// A whole number from 1 on.
    fn count(self) -> Result<usize> {
        let refuse = || self.refuse("a whole number of at least 1");
        self.text.parse().ok().filter(|n| *n > 0).ok_or_else(refuse)
    }

    /// Bytes, at least one.
    fn size(self) -> Result<usize> {
        let size = parse_size(self.text).filter(|bytes| *bytes > 0);
        let size = size.and_then(|bytes| usize::try_from(bytes).ok());
        size.ok_or_else(|| self.refuse("a size such as '64 MiB'"))
    }

    /// A time.
    fn duration(self) -> Result<Duration> {
        parse_time(self.text).ok_or_else(|| self.refuse("a time such as '500 ms' or '10 s'"))
    }

    fn refuse(self, what: &str) -> Error {
        Error::Option(format!("option '{}' takes {what}, not '{}'", self.key, self.text))
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
            zeroed.set(option.key, option.default).expect(option.key);
        }
        assert_eq!(zeroed, PipelineOptions::default());
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        assert_eq!(
            message("linger", "10"),
            "option 'linger' takes a time such as '500 ms' or '10 s', not '10'"
        );
        assert_eq!(
            message("batch_rows", "0"),
            "option 'batch_rows' takes a whole number of at least 1, not '0'"
        );
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
            assert!(message(key, value).starts_with(&format!("option '{key}' takes")), "{value}");
        }
    }

    #[test]
    fn an_unknown_key_is_told_the_nearest_one() {
        let said = message("checkpoint_intervall", "1 s");
        assert!(said.contains("did you mean 'checkpoint_interval'?"), "{said}");
    }
}
