//! The one error type of this crate: what failed, in which file and line, and whose fault it is.

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. Each message is one line that names the file and says how to fix it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file's content can't be read as asked.
    #[error("{0}")]
    Data(String),

    /// An option or a name that is wrong, whatever the file holds.
    #[error("{0}")]
    Option(String),

    /// There is no file or folder of that name.
    #[error("{0}")]
    Missing(String),

    /// The disk, the network or the object store failed; another try may succeed.
    #[error("{0}")]
    Io(String),

    /// A limit of [`Limits`](crate::Limits) was exceeded; the message names it.
    #[error("{0}")]
    Limit(String),

    /// The work was stopped on request.
    #[error("stopped")]
    Cancelled,
}
