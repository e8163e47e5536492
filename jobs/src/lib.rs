//! What the commands of Sembla do, as a library: a program, a server or a binding can embed files,
//! run pipelines and write results without the binary.
//!
//! - [`embed`]: files of texts become files of vectors; killed jobs resume.
//! - [`eval`]: models are ranked by what they score on a suite of tasks.
//! - [`pipelines`]: runs pipelines side by side, and serves their metrics, health and status.
//! - [`train`]: rows of a query become a fine-tuned model.
//! - [`distil`]: smaller students learn a model's vectors.
//! - [`architecture`]: new models from modules.
//! - [`input`]: files as tables whose columns have known roles.
//! - [`output`]: writes rows as a table, CSV, JSON, Arrow or Parquet; a file appears whole or not
//!   at all.
//! - [`report`]: self-contained HTML pages.
//! - *Invariant:* nothing is printed. Results go to the writers and paths that are given, progress
//!   and notices to the callbacks, and the end is a value or a [`Failure`].
//! - *Absent:* arguments, terminals, signals and exit codes, which are the binary's.

pub mod architecture;
mod description;
pub mod distil;
pub mod embed;
pub mod eval;
mod failure;
pub mod input;
pub mod numbers;
pub mod output;
pub mod pipelines;
pub mod printable;
pub mod report;
pub mod train;
pub mod whole_file;

pub use failure::{Failure, Result, one_line};
