//! What the rows of sources come from and those of sinks go to.

use crate::SqlError;
use crate::statement::StreamOptions;

/// Topics of Apache Kafka.
pub(crate) const KAFKA: &str = "kafka";
/// Files.
pub(crate) const FILES: &str = "files";
/// All connectors.
pub(crate) const ALL: &[&str] = &[KAFKA, FILES];

/// Takes the connector out of the options. `what` is what has them, for messages.
///
/// # Errors
/// [`SqlError::Statement`] where it is missing or unknown.
pub(super) fn take(what: &str, options: &mut StreamOptions) -> Result<String, SqlError> {
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
