//! What Sembla does with vectors and texts: pure functions from slices to numbers, vectors and
//! findings.
//!
//! No network, no clock, no SQL, no tables. What runs long is lent memory by a [`Host`], which can
//! stop it and hear of its progress. Each function's result depends on its input alone: sums
//! are taken in a fixed order that is the same on every processor, so the machine, its vector width
//! and the number of threads never show.

pub mod approximate;
#[doc(hidden)]
pub mod bench;
pub mod bitext;
pub mod chunks;
pub mod cluster;
mod code_dots;
pub mod communities;
pub mod componentwise;
pub mod dedup;
pub mod documents;
pub mod error;
pub mod evaluate;
mod forest;
pub mod fusion;
pub mod hamming;
pub mod host;
mod lanes;
pub mod logistic;
pub mod map;
pub mod mining;
pub mod negatives;
pub mod neighbours;
pub mod online;
pub mod quantize;
pub mod search;
mod shortlist;
pub mod similarity;
#[cfg(test)]
mod test_rows;
pub mod text_index;
pub mod topics;
mod trend;
pub mod unit;

pub use error::OperatorError;
pub use host::{Host, Loan, Unbounded};
pub use neighbours::{Neighbour, Neighbours, Pair};
pub use unit::UnitVectors;

/// Two vectors that should have the same number of components don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("vectors of {left} and {right} components can't be combined")]
pub struct DimensionMismatch {
    /// Components of the first vector.
    pub left: usize,
    /// Components of the second vector.
    pub right: usize,
}

/// Checks that two vectors have the same number of components.
///
/// # Errors
/// [`DimensionMismatch`] with both numbers.
pub fn same_dimension<A, B>(a: &[A], b: &[B]) -> Result<(), DimensionMismatch> {
    if a.len() == b.len() {
        return Ok(());
    }
    Err(DimensionMismatch { left: a.len(), right: b.len() })
}
