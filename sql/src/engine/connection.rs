//! What a statement works on: a session's catalogue and settings, and what the engine shares.

use std::sync::Arc;

use datafusion::prelude::SessionContext;

use super::ParameterNames;
use super::indexes::tables::IndexTables;
use super::indexes::{Index, Indexes};
use super::models::Models;
use super::training::Trainer;
use crate::SqlError;
use crate::catalogue::Catalogue;

/// What a session has. Clones share everything but the context, which is one query's while that is
/// planned.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) context: SessionContext,
    pub(crate) models: Arc<Models>,
    pub(crate) catalogue: Catalogue,
    pub(crate) parameters: Arc<ParameterNames>,
    /// What trains models, if something does.
    pub(crate) trainer: Option<Arc<dyn Trainer>>,
    /// The indexes of the process.
    pub(crate) indexes: Indexes,
    /// Those of them that are tables of this session.
    pub(crate) index_tables: Arc<IndexTables>,
}

impl Connection {
    /// The index of that name, unless the name is that of another table of this session.
    pub(crate) fn index(&self, name: &str) -> Option<Arc<Index>> {
        self.index_tables.get(name)
    }

    /// Makes the indexes that there are now tables of this session.
    ///
    /// # Errors
    /// What DataFusion says.
    pub(crate) fn show_indexes(&self) -> Result<(), SqlError> {
        Ok(self.index_tables.refresh(&self.context, &self.indexes)?)
    }
}
