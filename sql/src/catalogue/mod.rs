//! The sources and sinks that a session knows.
//!
//! A source is a table of the session too ([`table`]), so that a query names it like any other;
//! what a query reads of it is in [`read`] (files) and [`bounded`] (what reads by itself). A sink
//! is written by `INSERT INTO` only. Tables of a store, such as PostgreSQL's, are in [`elsewhere`].
//! Opening connections belongs to the connectors, running
//! pipelines to the runtime.
//!
//! - *Invariant:* a definition is whole and consistent, its options too; [`statements`] rejects all
//!   others.
//! - *Absent:* the names of connectors and of their options. A definition holds its connector, and
//!   asks it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

mod bounded;
pub(crate) mod columns;
mod conditions;
mod elsewhere;
mod read;
mod sink;
mod source;
pub(crate) mod source_files;
mod table;

pub(crate) use elsewhere::StoredTables;
pub(crate) use sink::SinkDef;
pub(crate) use source::{SourceColumn, SourceDef};
pub(crate) use table::{SinkTable, StreamTable};

/// Sources and sinks by name; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue(Arc<RwLock<Definitions>>);

#[derive(Debug, Default)]
struct Definitions {
    sources: BTreeMap<String, Arc<SourceDef>>,
    sinks: BTreeMap<String, Arc<SinkDef>>,
}

impl Catalogue {
    /// The source of that name.
    pub(crate) fn source(&self, name: &str) -> Option<Arc<SourceDef>> {
        self.read(|all| all.sources.get(name).cloned())
    }

    /// The sink of that name.
    pub(crate) fn sink(&self, name: &str) -> Option<Arc<SinkDef>> {
        self.read(|all| all.sinks.get(name).cloned())
    }

    /// All sources, by name.
    pub(crate) fn sources(&self) -> Vec<Arc<SourceDef>> {
        self.read(|all| all.sources.values().cloned().collect())
    }

    /// All sinks, by name.
    pub(crate) fn sinks(&self) -> Vec<Arc<SinkDef>> {
        self.read(|all| all.sinks.values().cloned().collect())
    }

    /// Adds a source, in place of one that had its name.
    pub(crate) fn add_source(&self, source: Arc<SourceDef>) {
        self.write(|all| all.sources.insert(source.name.clone(), source));
    }

    /// Adds a sink, in place of one that had its name.
    pub(crate) fn add_sink(&self, sink: Arc<SinkDef>) {
        self.write(|all| all.sinks.insert(sink.name.clone(), sink));
    }

    /// Forgets a source. Tells whether there was one.
    pub(crate) fn remove_source(&self, name: &str) -> bool {
        self.write(|all| all.sources.remove(name)).is_some()
    }

    /// Forgets a sink. Tells whether there was one.
    pub(crate) fn remove_sink(&self, name: &str) -> bool {
        self.write(|all| all.sinks.remove(name)).is_some()
    }

    fn read<T>(&self, read: impl FnOnce(&Definitions) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut Definitions) -> T) -> T {
        write(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}
