//! What sinks into stores of vectors share: collections of Chroma, of Qdrant.
//!
//! A store says how its calls look ([`VectorStore`]); the sink over it ([`CollectionSink`]) is one.
//! A row is upserted when it comes, under an id that is made of its key alone, so writing it again
//! changes nothing. A commit puts the progress into a collection of its own, behind the rows. After
//! a failure rows that were written come once more, under the same ids.
//!
//! - *Invariant:* progress is never ahead of the rows that it stands for.
//! - *Invariant:* a secret is in no message and no debug output.
//! - *Absent:* transactions. A reader sees rows before their commit.

use std::fmt;

use async_trait::async_trait;
use sembla_runtime::Result;
use serde_json::{Map, Value};

mod options;
mod provenance;
mod rest;
mod rows;
mod sink;

pub(crate) use options::{CollectionSettings, base_options, options_of_address};
pub(crate) use rest::{Method, Rest};
pub(crate) use rows::{DocumentEnd, Key, VectorRecord, place_of};
pub(crate) use sink::CollectionSink;

/// A collection that is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collection {
    /// What calls name it by.
    pub(crate) id: String,
    /// Its name, for messages.
    pub(crate) name: String,
    /// Components of its vectors, where it knows.
    pub(crate) dimension: Option<usize>,
    /// Its distance in the words of the option, where the store checks it.
    pub(crate) distance: Option<String>,
    /// What is noted of it, among it the model that made its vectors.
    pub(crate) about: Map<String, Value>,
}

/// What a collection that is created is for.
#[derive(Clone, Debug)]
pub(crate) struct NewCollection {
    /// Components of its vectors.
    pub(crate) dimension: usize,
    /// The distance, in the words of the option.
    pub(crate) distance: &'static str,
    /// What is noted of it.
    pub(crate) about: Map<String, Value>,
}

/// A text that is kept under an id, such as progress or a dead letter.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) id: String,
    /// What the text is, as a word.
    pub(crate) field: &'static str,
    pub(crate) text: String,
    /// More of it, for people who look.
    pub(crate) about: Map<String, Value>,
}

/// The calls of a store that a sink needs. All of them can be made twice.
///
/// # Errors
/// What the outside world says; [`Error::Data`](sembla_runtime::Error::Data) for rows that the
/// server refuses, [`Error::Fenced`](sembla_runtime::Error::Fenced) for a collection that is gone.
#[async_trait]
pub(crate) trait VectorStore: fmt::Debug + Send + Sync {
    /// Whether the server answers, and how many records one call may have, if it says so.
    async fn records_max(&self) -> Result<Option<usize>>;

    /// The collection of a name, if there is one.
    async fn find(&self, name: &str) -> Result<Option<Collection>>;

    /// Makes a collection, or gives the one that is there.
    async fn create(&self, name: &str, new: &NewCollection) -> Result<Collection>;

    /// The same for [`Note`]s.
    async fn create_notes(&self, name: &str) -> Result<Collection>;

    /// Gets a collection ready for [`Self::delete_chunks`].
    async fn prepare_chunks(&self, _of: &Collection) -> Result<()> {
        Ok(())
    }

    /// Writes records, in the place of those with their ids.
    async fn upsert(&self, to: &Collection, records: Vec<VectorRecord>) -> Result<()>;

    /// Removes records; fine where there are none.
    async fn delete(&self, from: &Collection, keys: &[Key]) -> Result<()>;

    /// Removes the chunks of documents that are behind their last ones.
    async fn delete_chunks(&self, from: &Collection, ends: &[DocumentEnd]) -> Result<()>;

    /// The text of a note.
    async fn note(&self, of: &Collection, id: &str) -> Result<Option<String>>;

    /// Writes notes, in the place of those with their ids.
    async fn put_notes(&self, to: &Collection, notes: Vec<Note>) -> Result<()>;
}
