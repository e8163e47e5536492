//! Training for Sembla: batches in, weights out.
//!
//! A model directory is the contract on both sides: what a run begins with is read by
//! `sembla-models`, and what it writes is read there again, and by Sentence-Transformers.
//!
//! - [`network`]: a model that can be trained, with its own forward and backward pass in f32 over
//!   packed batches: the tokens of all texts one after another, none of them padding.
//! - [`losses`]: what a model is trained for, one file each, on one list.
//! - [`trainer`]: a run: steps, evaluations, checkpoints.
//! - [`architecture`]: new models from modules; [`distil`]: smaller students of a model;
//!   [`static_student`]: a table of its tokens' vectors; [`pca`]: vectors of fewer components.
//! - *Invariant:* the same data, options and seed give the same bits, on any number of threads.
//! - *Absent:* SQL, tables and files of rows; arguments and terminals.

mod adam;
pub mod architecture;
mod attention;
mod batch;
mod checkpoint;
pub mod data;
pub mod distil;
mod eigen;
mod encoder;
pub mod error;
pub mod evaluate;
mod gemm;
mod head;
mod layers;
pub mod losses;
pub mod network;
pub mod options;
pub mod pairs;
mod parameters;
pub mod pca;
mod plan;
mod random;
mod rows;
pub mod schedule;
pub mod static_student;
mod table;
pub mod trainer;
pub mod work;
mod workspace;

pub use checkpoint::History;
pub use data::Dataset;
pub use error::{Result, TrainError};
pub use evaluate::Evaluator;
pub use losses::{Labels, LossDef};
pub use network::Network;
pub use options::{CheckpointEvery, Options};
pub use schedule::Schedule;
pub use trainer::{Event, Objective, Summary, Target, Training, train};
#[cfg(test)]
mod tests;
