//! What one query has to itself. It travels in the configuration that the query is planned with, so
//! that functions, findings, windows and readers of files all find it, and no query finds another
//! one's.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result};
use sembla_models::CancelToken;

/// A listener for the progress of long work. It is called from many threads, often.
pub trait Progress: Send + Sync {
    /// `done` steps of a stage ("embedding", "comparing", …) are behind us, of `total` if that is
    /// known. Steps of one stage take about the same time each.
    fn update(&self, stage: &str, done: u64, total: Option<u64>);
}

/// Where a session's listener is kept; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Listener(Arc<Mutex<Option<Arc<dyn Progress>>>>);

impl Listener {
    /// Sets the listener.
    pub(crate) fn set(&self, progress: Arc<dyn Progress>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    /// The listener, if there is one.
    pub(crate) fn get(&self) -> Option<Arc<dyn Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// What a query has to itself; clones are the same query's.
#[derive(Clone, Default)]
pub(crate) struct QueryScope {
    /// What stops it.
    pub(crate) cancel: CancelToken,
    /// Who hears of its progress.
    pub(crate) progress: Option<Arc<dyn Progress>>,
}

impl QueryScope {
    /// That of the query with this configuration; what nobody stops where there is none.
    pub(crate) fn of(options: &ConfigOptions) -> Self {
        options.extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

impl fmt::Debug for QueryScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueryScope")
    }
}

impl ConfigExtension for QueryScope {
    const PREFIX: &'static str = "sembla_query";
}

/// It has no options that a user could see or set.
impl ExtensionOptions for QueryScope {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        let prefix = Self::PREFIX;
        Err(DataFusionError::Configuration(format!("there is no option {prefix}.{key}")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
