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
//!
//! Modules stand on floors, each of which uses only those listed before it.

pub mod error;

mod columns;
mod query;
pub mod syntax;

mod chunker;

mod one_input;

mod files;

mod catalogue;

mod engine;

mod functions;
mod relations;

mod findings;
mod windows;

mod streams;

pub mod planning;

mod statements;

pub mod reference;
pub mod session;

pub use chunker::{ChunkSpec, Chunker};
pub use columns::by_name;
pub use engine::{Engine, EngineOptions, ModelEntry, Models, PlannedTraining, Trainer};
pub use error::SqlError;
pub use files::{FilesTable, JOB_RUNS_FILE, Notices, image_rows};
pub use functions::alike;
pub use query::Progress;
pub use relations::OnlineSlots;
pub use sembla_connectors::is_secret as is_secret_option;
pub use sembla_operators::chunks::Chunk;
pub use session::{Outcome, Session, SessionOptions};
pub use streams::StreamPlan;
pub use syntax::Statement;
