//! SQL for Sembla: a DataFusion session that knows models and vectors.
//!
//! [`Session`] parses and runs statements. It adds to DataFusion's SQL the functions that run
//! models (`embed`, `rerank`, …), the functions on vectors (`cos_sim`, `vector_avg`, …), the
//! statements `CREATE MODEL`, `DROP MODEL` and `SHOW MODELS`, named arguments that can be left out,
//! files, folders and globs in `FROM`, findings in `FROM` (`semantic_search`, `dedup`, `topics`,
//! …), windows of event time in `FROM` (`tumble`, `hop`, `session`), the statements that make,
//! drop and show indexes, sources and sinks, and `INSERT INTO` a sink, which makes a pipeline.
//!
//! Running models belongs to `sembla_models`, arithmetic on vectors to `sembla_operators`. Printing
//! results and reading what the user types belong to the command line.

mod arguments;
pub mod by_name;
mod catalogue;
mod column_names;
mod copy;
pub mod error;
mod files;
mod findings;
mod from_items;
mod functions;
mod index_statements;
mod interval;
mod models_table;
mod ordered;
pub mod planning;
mod prepared;
pub mod registry;
pub mod session;
pub mod statement;
mod streams;
mod vector_type;
mod windows;

pub use error::SqlError;
pub use files::{FilesTable, Notices};
pub use findings::{OnlineSlots, Progress};
pub use registry::{ModelEntry, Models};
pub use sembla_connectors::is_secret as is_secret_option;
pub use session::{Outcome, Session, SessionOptions};
pub use statement::Statement;
pub use streams::StreamPlan;
