//! Files as sources, and data sets of files as sinks: Parquet or JSON lines, in a folder or in an
//! object store, exactly once.
//!
//! A commit puts data under names that readers skip (`_pending/…`), then one manifest
//! (`_sembla/commit-000000000042.json`) that names the data and the progress, then gives the data
//! their final names. The manifest is the commit: before it nothing happened, after it what is left
//! can be done again by anyone.
//!
//! As a source, files are a static table that is replayed, or a folder that is watched.
//!
//! - *Absent:* reading files, a data set of the sink's among them; that is left to who opens a
//!   source.

mod area;
mod connector;
mod manifest;
mod partition;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod writer;

pub use crate::connector::SourceFiles;
pub use connector::Files;
pub use sink::FilesSink;

use crate::options::{Kind, OptionDef};
use crate::store::STORE_OPTIONS;

/// The options of a files sink.
pub fn sink_options() -> Vec<OptionDef> {
    [SINK_OPTIONS, STORE_OPTIONS].concat()
}

/// The option that gives a place to records that can't be used.
const REJECTED: &str = "dead_letter_path";
/// The option that gives a place to late rows.
const LATE: &str = "late_path";
/// The options of a sink that name places.
const PLACES: [&str; 3] = ["path", REJECTED, LATE];

const SINK_OPTIONS: &[OptionDef] = &[
    OptionDef::new("path", Kind::Text, "folder of the data set: a path or s3://bucket/prefix")
        .required(),
    OptionDef::new(
        "format",
        Kind::Choice(&["parquet", "json"]),
        "format of the files: Parquet, or JSON lines",
    )
    .or("parquet"),
    OptionDef::new(
        "partition_by",
        Kind::Text,
        "columns, separated by commas, to partition folders by: day=2026-01-31/",
    ),
    OptionDef::new(
        "roll_bytes",
        Kind::BYTES,
        "size at which a file is closed; a commit closes all of them",
    )
    .or("128 MiB"),
    OptionDef::new(
        "buffer_bytes",
        Kind::BYTES,
        "memory for open files; beyond it the largest is closed",
    )
    .or("256 MiB"),
    OptionDef::new(
        REJECTED,
        Kind::Text,
        "folder for dead letters (records that can't be used), as JSON lines",
    ),
    OptionDef::new(
        LATE,
        Kind::Text,
        "folder for late rows, as JSON lines with the columns of the window's input; open windows then hold all of these columns",
    ),
];
