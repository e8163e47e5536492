//! How a job ends when it does not end well: one line for the user, and whose fault it was.

use std::fmt::Display;
use std::io;
use std::path::Path;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;
use sembla_models::{Fault, ModelError};
use sembla_readers::Error as ReadError;
use sembla_sql::SqlError;

use crate::printable::printable;

/// Shorthand for results of this crate.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a job ends early.
#[derive(Debug)]
pub enum Failure {
    /// The request or the input is wrong; the user can fix it.
    User(String),
    /// The outside world failed, or Sembla did.
    Other(String),
    /// It was cancelled. The text, if any, says what is left behind and how to resume.
    Interrupted(Option<String>),
    /// Whoever read the output has gone (`| head`): nothing to report.
    OutputClosed,
}

impl Failure {
    /// A mistake of the user.
    pub fn user(message: impl Into<String>) -> Self {
        Self::User(message.into())
    }

    /// A failure of the outside world.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }

    /// A failure that concerns the file or folder `path`. A missing or forbidden file is the user's
    /// to fix.
    pub fn file(path: &Path, error: &io::Error) -> Self {
        let message = format!("{}: {}", path.display(), plain(error));
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory => Self::User(message),
            _ => Self::Other(message),
        }
    }

    /// A failed write to standard output or to a file that results go to.
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Other(format!("writing the result: {}", plain(error))),
        }
    }

    /// A failed write of Arrow's CSV or JSON writer.
    pub fn arrow_output(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, source) => Self::output(&source),
            ArrowError::CsvError(message) if message.contains("Broken pipe") => Self::OutputClosed,
            other => Self::Other(one_line(other)),
        }
    }

    /// Puts `context` before the message.
    pub fn context(self, context: impl Display) -> Self {
        match self {
            Self::User(message) => Self::User(format!("{context}: {message}")),
            Self::Other(message) => Self::Other(format!("{context}: {message}")),
            other => other,
        }
    }

    /// The line for standard error, if there is something to say.
    pub fn message(&self) -> Option<String> {
        match self {
            Self::User(message) | Self::Other(message) => {
                Some(format!("error: {}", printable(message)))
            }
            Self::Interrupted(Some(words)) => Some(format!("interrupted; {words}")),
            Self::Interrupted(None) => Some("interrupted".to_string()),
            Self::OutputClosed => None,
        }
    }

    /// By the fault of a library of ours.
    fn by_fault(fault: Fault, message: String) -> Self {
        match fault {
            Fault::User => Self::User(message),
            Fault::External | Fault::Bug => Self::Other(message),
        }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Cancelled => Self::Interrupted(None),
            other => Self::by_fault(other.fault(), one_line(&other)),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Data(message)
            | ReadError::Option(message)
            | ReadError::Missing(message)
            | ReadError::Limit(message) => Self::User(message),
            ReadError::Io(message) => Self::Other(message),
            ReadError::Cancelled => Self::Interrupted(None),
        }
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::by_fault(error.fault(), one_line(&error))
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        SqlError::from(error).into()
    }
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(source) => match source.downcast_ref::<io::Error>() {
                Some(error) => Self::Other(plain(error)),
                None => Self::Other(one_line(source)),
            },
            other => Self::Other(one_line(other)),
        }
    }
}

/// A message on one line, whatever it was before, in which every character can be seen.
pub fn one_line(message: impl Display) -> String {
    let text = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    printable(&text).into_owned()
}

/// An operating system's error without its number, with what helps if that is known.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    };
    match error.kind() {
        io::ErrorKind::StorageFull => format!("{text}; free some space and run it again"),
        io::ErrorKind::QuotaExceeded => format!("{text}; free some of it and run it again"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_the_users_to_mend() {
        let error = io::Error::from_raw_os_error(2);
        let failure = Failure::file(Path::new("x.csv"), &error);
        assert_eq!(failure.message().as_deref(), Some("error: x.csv: no such file or directory"));
        assert!(matches!(failure, Failure::User(_)));
    }

    #[test]
    fn a_full_disk_is_named_and_says_what_helps() {
        let full = io::Error::from_raw_os_error(28);
        let failure = Failure::from(ParquetError::External(Box::new(full)));
        let line = failure.context("out.parquet").message().expect("words");
        assert_eq!(
            line,
            "error: out.parquet: no space left on device; free some space and run it again"
        );
    }

    #[test]
    fn a_message_has_one_line() {
        assert_eq!(one_line("a\n  b\tc"), "a b c");
        assert_eq!(one_line("no file '\u{1b}]0;x'"), "no file '\\u{1b}]0;x'");
    }
}
