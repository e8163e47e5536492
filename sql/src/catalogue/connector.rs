//! What the rows of sources come from and those of sinks go to.

use std::time::Duration;

use sembla_connectors::options::{Kind, OptionDef, Options};
use sembla_connectors::replay::REPLAY_OPTIONS;
use sembla_runtime::Error;

use crate::SqlError;
use crate::statement::StreamOptions;

/// Topics of Apache Kafka.
pub(crate) const KAFKA: &str = "kafka";
/// Files.
pub(crate) const FILES: &str = "files";
/// All connectors.
pub(crate) const ALL: &[&str] = &[KAFKA, FILES];

/// The options of a source of files, beside those of its replay.
const FILES_SOURCE_OPTIONS: &[OptionDef] = &[
    OptionDef::new("path", Kind::Text, "a file, a folder or a glob of Parquet, CSV or JSON")
        .required(),
    OptionDef::new(
        "timestamp_unit",
        Kind::Choice(&["s", "ms", "us"]),
        "the unit of times given as numbers",
    )
    .or("ms"),
    OptionDef::new(
        "delimiter",
        Kind::Text,
        "the character between fields of CSV, or 'tab'; found in the file where it is left out",
    ),
    OptionDef::new(
        "header",
        Kind::Flag,
        "whether CSV begins with the names of its columns; found in the file where it is left out",
    ),
    OptionDef::new(
        "in_order",
        Kind::Flag,
        "rows come as they lie in the files; else they are sorted by the watermark's column",
    )
    .or("false"),
    OptionDef::new(
        "watch",
        Kind::Flag,
        "waits for new files, for ever; rows come as they lie in the files",
    )
    .or("false"),
    OptionDef::new("watch_interval", Kind::Duration, "how long until new files are looked for")
        .or("1s"),
];

/// The options of a source of files, checked.
///
/// # Errors
/// [`sembla_runtime::Error::Option`] for options that can't be.
pub(crate) fn files_source_options(options: &StreamOptions) -> sembla_runtime::Result<Options> {
    let declared = [FILES_SOURCE_OPTIONS, REPLAY_OPTIONS].concat();
    Options::read("a files source", &declared, options.as_slice())
}

/// How often a source of files looks for new ones; `None` for one that ends with those there are.
///
/// # Errors
/// [`sembla_runtime::Error::Option`] for an interval of nothing.
pub(crate) fn watch_interval(options: &Options) -> sembla_runtime::Result<Option<Duration>> {
    if !options.flag("watch")? {
        return Ok(None);
    }
    match options.duration("watch_interval")? {
        Duration::ZERO => Err(Error::Option("watch_interval must be longer than 0, got 0".into())),
        interval => Ok(Some(interval)),
    }
}

/// Looks up what options refer to and takes the connector out of them. `what` is what has them, for
/// messages.
///
/// # Errors
/// [`SqlError::Statement`] for a variable that isn't set, and where the connector is missing or
/// unknown.
pub(super) fn take(what: &str, options: &mut StreamOptions) -> Result<String, SqlError> {
    options.look_up().map_err(|error| SqlError::Statement(format!("{what}: {error}")))?;
    match options.take("connector") {
        Some(given) if ALL.contains(&given.as_str()) => Ok(given),
        Some(given) => Err(SqlError::Statement(format!(
            "{what}: connector is '{given}'; it is '{}'",
            ALL.join("' or '")
        ))),
        None => Err(SqlError::Statement(format!(
            "{what} needs the option connector = '{}'",
            ALL.join("' or '")
        ))),
    }
}
