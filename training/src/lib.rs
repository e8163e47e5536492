//! Training for Sembla: batches in, weights out.
//!
//! A model directory is the contract on both sides: what a run begins with is read by
//! `sembla-models`, and what it writes is read there again, and by Sentence-Transformers.
//!
//! - [`network`]: a model that can be trained, with its own forward and backward pass in f32 over
//!   packed batches: the tokens of all texts one after another, none of them padding.
//!
//! - *Invariant:* the same data, options and seed give the same bits, on any number of threads.
//! - *Absent:* SQL, tables and files of rows; arguments and terminals.

mod attention;
mod batch;
mod encoder;
pub mod error;
mod gemm;
mod head;
pub mod losses;
pub mod network;
mod parameters;
mod random;
mod rows;
mod table;
mod workspace;

pub use error::{Result, TrainError};
pub use network::Network;
#[cfg(test)]
mod tests;
