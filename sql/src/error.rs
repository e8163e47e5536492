//! The one error type of this crate, and how DataFusion's chains of errors become one line.
//!
//! The messages of DataFusion's inner errors are kept; what only says through which layers an error
//! went is dropped.

use std::error::Error;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use sembla_models::{Fault, ModelError};
use sembla_operators::OperatorError;
use sembla_options::OptionError;
use sembla_runtime::Error as StreamError;

/// What went wrong with a statement. Each message is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The text is not SQL.
    #[error("SQL syntax: {0}")]
    Syntax(String),

    /// The statement asks for something that does not exist or does not fit: a name, a type, an
    /// option, a file.
    #[error("{0}")]
    Statement(String),

    /// The statement is sound, but some of the data it reads is not.
    #[error("{0}")]
    Data(String),

    /// A model could not be loaded or could not run.
    #[error("{message}")]
    Model {
        /// The model's own message.
        message: String,
        /// Whose fault it is.
        fault: Fault,
    },

    /// The work was stopped because the cancel token was set.
    #[error("cancelled")]
    Cancelled,

    /// The memory limit or the room for spilling does not suffice.
    #[error("{0}")]
    Resources(String),

    /// A disk, a network or an object store failed.
    #[error("{0}")]
    Io(String),

    /// Something that should not happen did.
    #[error("internal error: {0}; please report it")]
    Bug(String),
}

impl SqlError {
    /// Whose fault this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Syntax(_) | Self::Statement(_) | Self::Data(_) | Self::Cancelled => Fault::User,
            Self::Model { fault, .. } => *fault,
            Self::Resources(_) | Self::Io(_) => Fault::External,
            Self::Bug(_) => Fault::Bug,
        }
    }

    /// What a connector says, with the name of the source or sink that has it.
    pub(crate) fn of(kind: &str, name: &str, error: StreamError) -> Self {
        match Self::from(error) {
            Self::Statement(message) => Self::Statement(format!("{kind} '{name}': {message}")),
            Self::Io(message) => Self::Io(format!("{kind} '{name}': {message}")),
            other => other,
        }
    }

    /// Whether the work was stopped on request.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

impl From<ModelError> for SqlError {
    fn from(error: ModelError) -> Self {
        from_model(&error)
    }
}

impl From<OperatorError> for SqlError {
    fn from(error: OperatorError) -> Self {
        let message = one_line(&error.to_string());
        match error {
            OperatorError::Option(_) => Self::Statement(message),
            OperatorError::Data(_) | OperatorError::Dimension(_) => Self::Data(message),
            OperatorError::Cancelled => Self::Cancelled,
            OperatorError::Memory(_) => Self::Resources(message),
            OperatorError::Caller(message) | OperatorError::Bug(message) => Self::Bug(message),
        }
    }
}

impl From<OptionError> for SqlError {
    fn from(error: OptionError) -> Self {
        StreamError::from(error).into()
    }
}

impl From<StreamError> for SqlError {
    fn from(error: StreamError) -> Self {
        let message = one_line(&error.to_string());
        match error {
            StreamError::Option(_) => Self::Statement(message),
            StreamError::Data(_) => Self::Data(message),
            StreamError::Transient(_)
            | StreamError::External(_)
            | StreamError::Fenced(_)
            | StreamError::Replaced(_)
            | StreamError::State(_) => Self::Io(message),
            StreamError::Memory(_) => Self::Resources(message),
            StreamError::Stopped => Self::Cancelled,
            StreamError::Bug(message) => Self::Bug(message),
        }
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        from_datafusion(&error)
    }
}

impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> Self {
        Self::External(Box::new(error))
    }
}

/// The error of a model, which can lie behind a reference.
fn from_model(error: &ModelError) -> SqlError {
    match error {
        ModelError::Cancelled => SqlError::Cancelled,
        error => SqlError::Model { message: one_line(&error.to_string()), fault: error.fault() },
    }
}

/// The error at the root of DataFusion's chain.
fn from_datafusion(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            from_datafusion(inner)
        }
        DataFusionError::Shared(inner) => from_datafusion(inner),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => from_datafusion(first),
            None => SqlError::Bug("an empty collection of errors".into()),
        },
        DataFusionError::ArrowError(inner, _) => arrow_error(inner),
        DataFusionError::ParquetError(inner) => from_parquet(inner),
        DataFusionError::ObjectStore(inner) => from_store(inner),
        DataFusionError::IoError(inner) => from_io(inner),
        DataFusionError::SQL(inner, _) => from_parser(inner),
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        DataFusionError::NotImplemented(message) => {
            SqlError::Statement(format!("not supported: {}", one_line(message)))
        }
        DataFusionError::Plan(message) => {
            let message = one_line(message);
            SqlError::Statement(unknown_table(&message).unwrap_or(message))
        }
        DataFusionError::Configuration(message) | DataFusionError::Substrait(message) => {
            SqlError::Statement(one_line(message))
        }
        DataFusionError::Execution(message) => SqlError::Data(one_line(message)),
        DataFusionError::ResourcesExhausted(message) => SqlError::Resources(format!(
            "out of memory or disk for this query: {}; raise the memory limit",
            one_line(message)
        )),
        DataFusionError::ExecutionJoin(inner) => SqlError::Bug(one_line(&inner.to_string())),
        DataFusionError::External(inner) => from_any(inner.as_ref()),
        DataFusionError::Internal(message) | DataFusionError::Ffi(message) => {
            SqlError::Bug(one_line(message))
        }
    }
}

/// An error of which only `dyn Error` is known.
fn from_any(error: &(dyn Error + 'static)) -> SqlError {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<SqlError>() {
            return error.clone();
        }
        if let Some(error) = error.downcast_ref::<ModelError>() {
            return from_model(error);
        }
        if let Some(error) = error.downcast_ref::<DataFusionError>() {
            return from_datafusion(error);
        }
        if let Some(error) = error.downcast_ref::<ArrowError>() {
            return arrow_error(error);
        }
        if let Some(error) = error.downcast_ref::<datafusion::parquet::errors::ParquetError>() {
            return from_parquet(error);
        }
        if let Some(error) = error.downcast_ref::<datafusion::object_store::Error>() {
            return from_store(error);
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return from_io(error);
        }
        next = error.source();
    }
    SqlError::Io(one_line(&error.to_string()))
}

/// An error of arrow: about data, unless it carries another.
pub(crate) fn arrow_error(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => from_any(inner.as_ref()),
        ArrowError::IoError(message, inner) => match from_io(inner) {
            SqlError::Io(_) => SqlError::Io(one_line(message)),
            other => other,
        },
        error => SqlError::Data(one_line(&error.to_string())),
    }
}

/// An error of the Parquet reader: the file is torn, or reading it failed.
fn from_parquet(error: &datafusion::parquet::errors::ParquetError) -> SqlError {
    match error {
        datafusion::parquet::errors::ParquetError::External(inner) => from_any(inner.as_ref()),
        error => SqlError::Data(one_line(&error.to_string())),
    }
}

/// An error of an object store.
fn from_store(error: &datafusion::object_store::Error) -> SqlError {
    match error {
        datafusion::object_store::Error::NotFound { path, .. } => {
            SqlError::Statement(format!("file '{path}' does not exist"))
        }
        error => match error.source() {
            Some(inner) if inner.is::<SqlError>() || inner.is::<ModelError>() => from_any(inner),
            _ => SqlError::Io(sembla_readers::files::store::one_line(error)),
        },
    }
}

/// An error of the operating system, which can carry one of ours.
fn from_io(error: &std::io::Error) -> SqlError {
    match error.get_ref() {
        Some(inner) => from_any(inner),
        None if error.kind() == std::io::ErrorKind::NotFound => {
            SqlError::Statement(one_line(&error.to_string()))
        }
        None => SqlError::Io(one_line(&error.to_string())),
    }
}

/// A syntax error.
fn from_parser(error: &ParserError) -> SqlError {
    SqlError::Syntax(match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            one_line(message)
        }
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".into(),
    })
}

/// What is said of a table that does not exist, if a message is about one.
fn unknown_table(message: &str) -> Option<String> {
    let name = table_in(message)?;
    Some(format!("table or index '{name}' does not exist; SHOW TABLES lists them"))
}

/// The table that a message says does not exist.
fn table_in(message: &str) -> Option<&str> {
    let name = message.strip_prefix("table 'datafusion.")?.strip_suffix("' not found")?;
    Some(name.strip_prefix("public.").unwrap_or(name))
}

/// The table that a statement names and that does not exist, if that is what is wrong.
pub(crate) fn missing_table(error: &DataFusionError) -> Option<&str> {
    match error.find_root() {
        DataFusionError::Plan(message) => table_in(message),
        _ => None,
    }
}

/// A name that the schema does not have, or has twice.
fn from_schema(error: &SchemaError) -> SqlError {
    SqlError::Statement(match error {
        SchemaError::FieldNotFound { field, valid_fields } if valid_fields.is_empty() => format!(
            "column '{}' does not exist: nothing in FROM has columns (an empty file has none)",
            field.name
        ),
        error => one_line(&error.to_string()),
    })
}

/// The words of a message on one line.
pub(crate) fn one_line(message: &str) -> String {
    let without_trace = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or(message);
    without_trace.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_root_is_found_through_every_layer() {
        let root = DataFusionError::External(Box::new(ModelError::BadOption("no such".into())));
        let wrapped = DataFusionError::Shared(Arc::new(root.context("while planning")));
        let arrow = ArrowError::ExternalError(Box::new(wrapped));
        let error = SqlError::from(DataFusionError::ArrowError(Box::new(arrow), None));
        assert_eq!(error, SqlError::Model { message: "no such".into(), fault: Fault::User });
    }

    #[test]
    fn a_store_without_credentials_says_what_to_set() {
        let asked = "PUT http://169.254.169.254/latest/api/token: operation timed out";
        let error = datafusion::object_store::Error::Generic { store: "S3", source: asked.into() };
        let error = SqlError::from(DataFusionError::ObjectStore(Box::new(error)));
        assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    }

    #[test]
    fn a_message_is_one_line() {
        let error = SqlError::from(DataFusionError::Plan("first\n  second".into()));
        assert_eq!(error.to_string(), "first second");
    }

    #[test]
    fn a_table_that_is_not_there_is_named_as_it_was_written() {
        let told =
            |message: &str| SqlError::from(DataFusionError::Plan(message.into())).to_string();
        assert_eq!(
            told("table 'datafusion.public.docs' not found"),
            "table or index 'docs' does not exist; SHOW TABLES lists them"
        );
        let error = DataFusionError::Plan("table 'datafusion.public.q.parquet' not found".into());
        assert_eq!(missing_table(&error.context("while planning")), Some("q.parquet"));
        assert_eq!(missing_table(&DataFusionError::Plan("another".into())), None);
    }

    #[test]
    fn cancelling_is_recognised() {
        let error = DataFusionError::External(Box::new(ModelError::Cancelled));
        assert!(SqlError::from(error).is_cancelled());
    }
}
