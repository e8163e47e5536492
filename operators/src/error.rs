//! The one error type of the operators: what was wrong, and whether the caller can fix it.

use crate::DimensionMismatch;

/// Shorthand for results of operators.
pub type Result<T, E = OperatorError> = std::result::Result<T, E>;

/// Why an operator gave no result. Each message is one line that names the thing and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// An option has a value that it can't have.
    #[error("{0}")]
    Option(String),

    /// The rows themselves are not what the operator needs.
    #[error("{0}")]
    Data(String),

    /// Vectors that should go together have different dimensions.
    #[error(transparent)]
    Dimension(#[from] DimensionMismatch),

    /// The host asked to stop.
    #[error("cancelled")]
    Cancelled,

    /// The host has no more memory to lend.
    #[error("{0}")]
    Memory(String),

    /// What the caller gave the operator to call (a sink, a model) failed with this message.
    #[error("{0}")]
    Caller(String),

    /// A library failed in a way that it should not.
    #[error("internal error: {0}; please report it")]
    Bug(String),
}
