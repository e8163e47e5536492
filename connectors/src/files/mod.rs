//! Data sets of files as sinks: Parquet or JSON lines, in a folder or in an object store, exactly
//! once.
//!
//! A commit puts data under names that readers skip (`_pending/…`), then one manifest
//! (`_sembla/commit-000000000042.json`) that names the data and the progress, then gives the data
//! their final names. The manifest is the commit: before it nothing happened, after it what is left
//! can be done again by anyone.
//!
//! - *Absent:* reading a data set back; to SQL it is a folder of files.

mod area;
mod manifest;
mod partition;
mod rejected;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

pub use sink::FilesSink;

use crate::options::{Kind, OptionDef};
use crate::store::STORE_OPTIONS;

/// The options of a files sink.
pub fn sink_options() -> Vec<OptionDef> {
    [SINK_OPTIONS, STORE_OPTIONS].concat()
}

const SINK_OPTIONS: &[OptionDef] = &[
    OptionDef::new("path", Kind::Text, "the folder of the data set: a path or s3://bucket/prefix")
        .required(),
    OptionDef::new(
        "format",
        Kind::Choice(&["parquet", "json"]),
        "what the files are: Parquet, or JSON lines",
    )
    .or("parquet"),
    OptionDef::new(
        "partition_by",
        Kind::Text,
        "columns, separated by commas, that become folders: day=2026-01-31/",
    ),
    OptionDef::new("roll_bytes", Kind::Bytes, "a file of this size is closed; all are at a commit")
        .or("128 MiB"),
    OptionDef::new(
        "buffer_bytes",
        Kind::Bytes,
        "memory of all open files; beyond it the largest is closed",
    )
    .or("256 MiB"),
    OptionDef::new(
        "dead_letter_path",
        Kind::Text,
        "the folder of records that can't be used, as JSON lines",
    ),
    OptionDef::new(
        "late_path",
        Kind::Text,
        "the folder of rows that came too late, as JSON lines with the columns of the window's input; open windows hold all of these then",
    ),
];
