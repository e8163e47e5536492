//! The one error type of this crate: what failed, on which object, whose fault it is and whether a
//! retry helps.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// Whose fault an error is. Decides exit codes, retries and the tone of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request or the input is wrong; the user can fix it.
    User,
    /// The outside world failed (disk, network, a missing library); a retry or an installation can
    /// help.
    External,
    /// Sembla is wrong.
    Bug,
}

/// Everything that can go wrong with a model. Each message is one line that names the thing and,
/// where there is one, the fix.
///
/// # Examples
/// ```
/// use sembla_models::{Fault, Model, ModelSpec};
///
/// let error = Model::load(&ModelSpec::new("./no/such/folder")).unwrap_err();
/// assert_eq!(error.fault(), Fault::User);
/// assert!(error.to_string().contains("no such directory"));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No usable ONNX Runtime library was found.
    #[error("{0}")]
    OnnxRuntime(String),

    /// The name is neither a registered model, a directory, nor a hub id.
    #[error("model '{name}' is not known; {hint}")]
    UnknownModel {
        /// The name as the user wrote it.
        name: String,
        /// What would help: the known names, or the path that was looked at.
        hint: String,
    },

    /// An option of a model is unknown or has a value that it can't have.
    #[error("{0}")]
    BadOption(String),

    /// A file of a model directory is missing, torn, too large or says something impossible.
    #[error("model file {}: {problem}", path.display())]
    BadModelFile {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it and what would fix it.
        problem: String,
    },

    /// The model is sound, but can't do what was asked (a cross-encoder asked to embed, say).
    #[error("{0}")]
    Unsupported(String),

    /// The device that was asked for isn't there.
    #[error("device '{device}' can't be used: {reason}")]
    Device {
        /// The device as the user wrote it.
        device: String,
        /// Why not.
        reason: String,
    },

    /// ONNX Runtime rejected the graph or failed while running it.
    #[error("model '{model}': ONNX Runtime: {message}")]
    Inference {
        /// The model.
        model: String,
        /// ONNX Runtime's own message, on one line.
        message: String,
    },

    /// A tokenizer failed on a text.
    #[error("model '{model}': tokenizer: {message}")]
    Tokenizer {
        /// The model.
        model: String,
        /// The tokenizer's message.
        message: String,
    },

    /// The hub could not be reached or does not have the model.
    #[error("model '{id}' could not be fetched from the hub: {message}")]
    Hub {
        /// The hub id.
        id: String,
        /// What the hub client said, with the fix.
        message: String,
    },

    /// The cache of vectors could not be read or written.
    #[error("cache {}: {message}", path.display())]
    Cache {
        /// The cache directory.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },

    /// An operation on a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },

    /// The caller asked for a stop.
    #[error("cancelled")]
    Cancelled,

    /// An invariant of this crate does not hold.
    #[error("internal error in sembla-models: {0}; please report it")]
    Bug(String),
}

impl ModelError {
    /// Whose fault this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnknownModel { .. }
            | Self::BadOption(_)
            | Self::BadModelFile { .. }
            | Self::Unsupported(_)
            | Self::Device { .. }
            | Self::Cancelled => Fault::User,
            Self::OnnxRuntime(_)
            | Self::Inference { .. }
            | Self::Tokenizer { .. }
            | Self::Hub { .. }
            | Self::Cache { .. }
            | Self::Io { .. } => Fault::External,
            Self::Bug(_) => Fault::Bug,
        }
    }

    /// A [`ModelError::BadModelFile`].
    pub fn file(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::BadModelFile { path: path.into(), problem: problem.into() }
    }

    /// A [`ModelError::Io`].
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}

/// Messages of libraries can hold several lines; a user gets one.
pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
