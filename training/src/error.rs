//! The one error type of this crate: what failed, and whose fault it is.

use std::path::PathBuf;

use sembla_models::{Fault, ModelError};

/// Shorthand for results of this crate.
pub type Result<T, E = TrainError> = std::result::Result<T, E>;

/// Everything that can go wrong with training. Each message is one line that names the thing and,
/// where there is one, the fix.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model that training begins with can't be read, or the trained one can't be written.
    #[error(transparent)]
    Model(#[from] ModelError),

    /// The rows can't be trained on.
    #[error("{0}")]
    Data(String),

    /// An option has a value that it can't have, or does not fit the model.
    #[error("{0}")]
    Option(String),

    /// The loss is not a number any more.
    #[error("{0}")]
    Diverged(String),

    /// A checkpoint can't be read, or belongs to another run.
    #[error("checkpoint {}: {problem}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would mend it.
        problem: String,
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
}

impl TrainError {
    /// Whose fault this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Model(error) => error.fault(),
            Self::Data(_) | Self::Option(_) | Self::Diverged(_) | Self::Checkpoint { .. } => {
                Fault::User
            }
            Self::Io { .. } => Fault::External,
        }
    }

    /// A [`TrainError::Io`].
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}
