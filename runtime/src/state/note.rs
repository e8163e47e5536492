//! The note that a pipeline has committed progress, kept with its state: for which partitions, and
//! what these were.
//!
//! The truth about progress is the sink's. The note only says that there was some: committed
//! offsets expire and topics are deleted, and without it a pipeline would start over and write
//! everything a second time.
//!
//! - *Invariant:* a note is written after the commit that it is about, so it never says too much.
//! - *Invariant:* each note adds a partition to those before it, so there are never more notes than
//!   partitions. A note's name has a hash of its content; one that is torn is rejected.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::positions::Positions;
use crate::window::HASH_DIGITS;
use crate::{Error, Partition, Result};

/// How names of notes begin.
const PREFIX: &str = "committed-";
/// The version of what is written here.
const VERSION: u32 = 1;

/// By source what an instance reads: the partitions, and what each one is where that is known.
pub(crate) type ReadNow = BTreeMap<String, BTreeMap<Partition, Option<String>>>;

/// A note as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgressNote {
    version: u32,
    pipeline: String,
    /// By source, by partition: what it is.
    partitions: BTreeMap<String, BTreeMap<String, Option<String>>>,
}

/// What all notes say together.
#[derive(Clone, Debug, Default)]
pub(crate) struct NotedProgress(Vec<ProgressNote>);

/// What notes say of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// There was no commit.
    Never,
    /// There was one for this partition.
    Same,
    /// There was one for another partition of that name.
    Another,
}

impl ProgressNote {
    /// Reads all notes of a store.
    ///
    /// # Errors
    /// [`Error::State`] for one that is torn or of a later version; what the store says.
    pub(crate) async fn read_all(store: &dyn Store) -> Result<NotedProgress> {
        let mut notes = Vec::new();
        for name in store.list().await?.iter().filter(|name| name.starts_with(PREFIX)) {
            let refused = |why: &str| {
                Error::State(format!(
                    "the note '{name}' in '{}' {why}; restore the file, or remove it if the progress of the \
                     pipeline is there",
                    store.place()
                ))
            };
            // Another instance may have it under a name that was just given up.
            let Some(bytes) = store.get(name).await? else { continue };
            if *name != name_of(&bytes) {
                return Err(refused("is damaged: its hash does not match"));
            }
            let note: Self =
                serde_json::from_slice(&bytes).map_err(|_| refused("can't be read"))?;
            if note.version > VERSION {
                return Err(refused("was written by a later version"));
            }
            notes.push(note);
        }
        Ok(NotedProgress(notes))
    }

    /// Writes it down.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn write(&self, store: &dyn Store) -> Result<()> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Error::Bug(format!("a note can't be written: {error}")))?;
        store.put(&name_of(&bytes), Bytes::from(bytes)).await
    }
}

impl NotedProgress {
    /// What is noted of a partition that is now of that identity, if that is known.
    pub(crate) fn find(&self, source: &str, partition: &str, identity: Option<&str>) -> Noted {
        let of_source = self.0.iter().filter_map(|note| note.partitions.get(source));
        let noted: Vec<_> = of_source.filter_map(|all| all.get(partition)).collect();
        let is_same = |then: &Option<String>| match (then.as_deref(), identity) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        };
        match noted.iter().any(|then| is_same(then)) {
            true => Noted::Same,
            false if noted.is_empty() => Noted::Never,
            false => Noted::Another,
        }
    }

    /// Takes in a note that was written.
    pub(crate) fn add(&mut self, note: ProgressNote) {
        self.0.push(note);
    }

    /// The note that is missing of what is read now and has a position; `None` where all of it is
    /// noted.
    pub(crate) fn missing(
        &self,
        pipeline: &str,
        read: &ReadNow,
        positions: &Positions,
    ) -> Option<ProgressNote> {
        let is_noted = |source: &str, name: &Partition, identity: &Option<String>| {
            self.0.iter().any(|note| {
                note.partitions.get(source).and_then(|all| all.get::<str>(name)) == Some(identity)
            })
        };
        let mut partitions: BTreeMap<String, BTreeMap<String, Option<String>>> = BTreeMap::new();
        let mut is_missing = false;
        for (source, names) in read {
            let Some(committed) = positions.get(source) else { continue };
            for (name, identity) in names.iter().filter(|(name, _)| committed.contains_key(*name)) {
                is_missing |= !is_noted(source, name, identity);
                let of_source = partitions.entry(source.clone()).or_default();
                of_source.insert(name.to_string(), identity.clone());
            }
        }
        let note = ProgressNote { version: VERSION, pipeline: pipeline.to_string(), partitions };
        is_missing.then_some(note)
    }
}

/// The refusal to start over where there was progress.
pub(crate) fn lost_progress(store: &dyn Store, pipeline: &str, partition: &str) -> Error {
    Error::State(format!(
        "pipeline '{pipeline}' has committed progress in partition '{partition}', as '{}' says, but that \
         progress is missing: the sink, or the committed offsets of the group, were deleted or have \
         expired; restore them, or start over with --ignore-state",
        store.place()
    ))
}

fn name_of(bytes: &[u8]) -> String {
    format!("{PREFIX}{}.json", &blake3::hash(bytes).to_hex()[..HASH_DIGITS])
}
