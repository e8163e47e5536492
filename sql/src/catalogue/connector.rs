//! What the rows of sources come from and those of sinks go to.

use sembla_connectors::options::{Kind, OptionDef, Options};
use sembla_connectors::replay::REPLAY_OPTIONS;

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
        "in_order",
        Kind::Flag,
        "rows come as they lie in the files; else they are sorted by the watermark's column",
    )
    .or("false"),
];

/// The options of a source of files, checked.
///
/// # Errors
/// [`sembla_runtime::Error::Option`] for options that can't be.
pub(crate) fn files_source_options(options: &StreamOptions) -> sembla_runtime::Result<Options> {
    let declared = [FILES_SOURCE_OPTIONS, REPLAY_OPTIONS].concat();
    Options::read("a files source", &declared, options.as_slice())
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
