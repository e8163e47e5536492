//! What a process has once, and what a connection has of its own.
//!
//! An [`Engine`] holds what is dear: loaded models, the memory that queries may use, open indexes.
//! Every session of a process can be made of one engine. What a session has beside that is a
//! [`Connection`]: its catalogue and settings, and its default model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

use crate::SqlError;
use indexes::Indexes;
use models::Registry;

mod connection;
pub(crate) mod indexes;
mod lookup;
pub(crate) mod models;
mod training;

pub(crate) use connection::Connection;
pub(crate) use lookup::prompt_of;
pub use models::{ModelEntry, Models};
pub use training::{PlannedTraining, Trainer};

/// The names of the parameters of each function, by the names it is called by.
pub(crate) type ParameterNames = BTreeMap<String, Vec<String>>;

/// What the queries of a process may use together. `None` everywhere takes DataFusion's default.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Bytes that sorts, joins, aggregations, findings and indexes may hold together; over it they
    /// spill or fail.
    pub memory_limit_bytes: Option<usize>,
    /// Folder for spilled data; the default is the system's folder for temporary files.
    pub spill_folder: Option<PathBuf>,
    /// What trains models for `CREATE MODEL … AS SELECT …`; without it the statement is refused.
    pub trainer: Option<Arc<dyn Trainer>>,
}

/// What the sessions of a process share: models, memory and indexes. Clones are the same engine.
///
/// ```no_run
/// use sembla_sql::{Engine, EngineOptions, SessionOptions};
///
/// # fn main() -> Result<(), sembla_sql::SqlError> {
/// let engine = Engine::new(EngineOptions::default())?;
/// let one = engine.session(SessionOptions::default())?;
/// let other = engine.session(SessionOptions::default())?;
/// // A model that a query of `one` has loaded is loaded for `other` too.
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    models: Arc<Registry>,
    indexes: Indexes,
    runtime: Arc<RuntimeEnv>,
    trainer: Option<Arc<dyn Trainer>>,
}

impl Engine {
    /// An engine with the built-in models, none of them loaded yet.
    ///
    /// # Errors
    /// When an option can't be applied, such as a spill folder that can't be written.
    pub fn new(options: EngineOptions) -> Result<Self, SqlError> {
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(bytes) = options.memory_limit_bytes {
            runtime = runtime.with_memory_limit(bytes, 1.0);
        }
        if let Some(folder) = options.spill_folder {
            runtime = runtime.with_temp_file_path(folder);
        }
        // A folder that a query has just written to must be listed again.
        let runtime = runtime.with_object_list_cache_limit(0).build_arc()?;
        let (models, indexes) = (Arc::new(Registry::new()), Indexes::default());
        Ok(Self { models, indexes, runtime, trainer: options.trainer })
    }

    /// The models for one more session.
    pub(crate) fn models(&self) -> Arc<Models> {
        Arc::new(Models::of(Arc::clone(&self.models)))
    }

    /// What trains models, if something does.
    pub(crate) fn trainer(&self) -> Option<Arc<dyn Trainer>> {
        self.trainer.clone()
    }

    /// The indexes.
    pub(crate) fn indexes(&self) -> &Indexes {
        &self.indexes
    }

    /// What the queries of one more session run with: the memory of the process, and stores of its
    /// own, whose credentials are no other session's.
    ///
    /// # Errors
    /// What DataFusion says.
    pub(crate) fn runtime(&self) -> Result<Arc<RuntimeEnv>, SqlError> {
        let stores = Arc::new(DefaultObjectStoreRegistry::new());
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.runtime);
        Ok(runtime.with_object_store_registry(stores).build_arc()?)
    }
}
