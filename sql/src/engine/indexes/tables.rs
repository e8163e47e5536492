//! The indexes of a process as tables of one session. Other sessions make and drop indexes too, so
//! the tables are looked after before each statement.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::error::Result;
use datafusion::prelude::SessionContext;

use super::table::IndexTable;
use super::{Index, Indexes};

/// Which indexes are tables of a session.
#[derive(Debug, Default)]
pub(crate) struct IndexTables(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The change of the indexes that has been seen.
    change: u64,
    shown: BTreeMap<String, Arc<Index>>,
}

impl IndexTables {
    /// The index that is the table of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Index>> {
        self.state().shown.get(name).cloned()
    }

    /// Makes the indexes that there are now tables, and no others. A table that the session has
    /// made itself keeps its name.
    ///
    /// # Errors
    /// What DataFusion says.
    pub(crate) fn refresh(&self, context: &SessionContext, indexes: &Indexes) -> Result<()> {
        let mut state = self.state();
        if state.change == indexes.change() {
            return Ok(());
        }
        let (change, known) = indexes.all();
        let known: BTreeMap<String, Arc<Index>> = known.into_iter().collect();
        let is_known = |name: &str, index: &Arc<Index>| {
            known.get(name).is_some_and(|known| Arc::ptr_eq(known, index))
        };
        let gone: Vec<String> = state
            .shown
            .iter()
            .filter(|(name, index)| !is_known(name, index))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            state.shown.remove(&name);
            context.deregister_table(name.as_str())?;
        }
        for (name, index) in known {
            if !state.shown.contains_key(&name) && !context.table_exist(name.as_str())? {
                let table = Arc::new(IndexTable(Arc::clone(&index)));
                context.register_table(name.as_str(), table)?;
                state.shown.insert(name, index);
            }
        }
        state.change = change;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
