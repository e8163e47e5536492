//! The one error type of streams: what failed, whose fault it is, and whether a retry helps.

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The user's: an option, a statement, a row of data.
    User,
    /// That of a disk, a network, a broker.
    External,
    /// Ours.
    Bug,
}

/// What went wrong. Each message is one line that names the thing and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An option or a statement that can't be.
    #[error("{0}")]
    Option(String),

    /// A row, or a batch of rows, that can't be used. The runtime looks for the row and hands it to
    /// the dead letters.
    #[error("{0}")]
    Data(String),

    /// The outside world failed in a way that may pass; the same call may be made again.
    #[error("{0}")]
    Transient(String),

    /// The outside world failed for good.
    #[error("{0}")]
    External(String),

    /// Another instance has taken over, or the fate of a commit is unknown. What was not committed
    /// is gone; the pipeline starts again from the committed progress.
    #[error("{0}")]
    Fenced(String),

    /// Another instance has certainly taken over, or a transaction was given up for taking too
    /// long. Apart from that it is as [`Error::Fenced`].
    #[error("{0}")]
    Replaced(String),

    /// State that is torn, missing, or of another query. It is never replaced by an empty start.
    #[error("{0}")]
    State(String),

    /// Over the memory limit.
    #[error("{0}")]
    Memory(String),

    /// The work was stopped on request.
    #[error("stopped")]
    Stopped,

    /// Something that should not happen did.
    #[error("internal error: {0}; please report it")]
    Bug(String),
}

impl Error {
    /// Whose fault this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Option(_) | Self::Data(_) | Self::Memory(_) | Self::Stopped => Fault::User,
            Self::Transient(_)
            | Self::External(_)
            | Self::Fenced(_)
            | Self::Replaced(_)
            | Self::State(_) => Fault::External,
            Self::Bug(_) => Fault::Bug,
        }
    }

    /// Whether what was not committed is gone, so that the sink must be recovered.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced(_) | Self::Replaced(_))
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Data(error.to_string().replace('\n', " "))
    }
}

impl From<sembla_options::OptionError> for Error {
    fn from(error: sembla_options::OptionError) -> Self {
        match error {
            sembla_options::OptionError::Mistake(message) => Self::Option(message),
            sembla_options::OptionError::Bug(message) => Self::Bug(message),
        }
    }
}
