//! The sink: upserts as rows come, and progress behind them.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sembla_runtime::{
    Assignment, Delivery, Error, Output, Progress, Rejected, Result, Sink, failpoint,
};
use serde_json::{Map, Value};

use super::options::REJECTED;
use super::provenance::different;
use super::rows::{Roles, VectorRecord};
use super::{Collection, CollectionSettings, NewCollection, Note, VectorStore};
use crate::connector::{failed_before, shared_source};
use crate::formats::json_lines;
use crate::rejected::rejected_rows;

/// Records of one call at most, where the server allows more.
const RECORDS_MAX: usize = 1000;
/// Bytes of the records of one call, about; a single record may have more.
const CALL_BYTES_MAX: usize = 8 << 20;
/// Documents whose late chunks one call deletes.
const DOCUMENTS_MAX: usize = 100;

/// A sink that writes rows to a collection.
pub(crate) struct CollectionSink<S> {
    settings: CollectionSettings,
    roles: Roles,
    store: S,
    pipeline: String,
    open: Option<Open>,
}

/// What recovery has given.
struct Open {
    /// `None` until the first write, where progress is about a collection that is gone.
    rows: Option<Collection>,
    progress: Collection,
    rejected: Option<Collection>,
    records_max: usize,
}

impl<S: VectorStore> CollectionSink<S> {
    /// A sink for rows of a schema. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Option`] for options that don't fit the schema.
    pub(crate) fn new(schema: &SchemaRef, settings: CollectionSettings, store: S) -> Result<Self> {
        let roles = Roles::new(schema, &settings)?;
        Ok(Self { settings, roles, store, pipeline: String::new(), open: None })
    }

    /// Looks whether the server answers and the collection takes the rows; leaves nothing behind.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) async fn probe(self) -> Result<()> {
        self.store.records_max().await?;
        match self.store.find(&self.settings.collection).await? {
            Some(found) => self.check(&found),
            None => Ok(()),
        }
    }

    /// Refuses a collection of vectors of another dimension, distance or model.
    fn check(&self, found: &Collection) -> Result<()> {
        let name = &self.settings.collection;
        if let Some(dimension) =
            found.dimension.filter(|dimension| *dimension != self.roles.dimension)
        {
            return Err(Error::Option(format!(
                "collection '{name}' has vectors of {dimension} dimensions, and the rows have {}; embed with the model \
                 that it was made with, or write to another collection",
                self.roles.dimension
            )));
        }
        let CollectionSettings { distance, distance_option, .. } = self.settings;
        if let Some(own) = found.distance.as_ref().filter(|own| *own != distance) {
            return Err(Error::Option(format!(
                "collection '{name}' has the {distance_option} '{own}', not '{distance}'; set {distance_option} = \
                 '{own}', or write to another collection"
            )));
        }
        match different(&found.about, &self.roles.provenance) {
            None => Ok(()),
            Some((old, new)) => Err(Error::Option(format!(
                "collection '{name}' has vectors of model {old}, and the rows have those of {new}; embed with {old}, or \
                 write to another collection"
            ))),
        }
    }

    async fn create(&self) -> Result<Collection> {
        let new = NewCollection {
            dimension: self.roles.dimension,
            distance: self.settings.distance,
            about: self.roles.provenance.clone(),
        };
        let made = self.store.create(&self.settings.collection, &new).await?;
        // Somebody else may have made it at the same time.
        self.check(&made)?;
        Ok(made)
    }

    /// The collection of the rows, ready to be written.
    async fn ready(&self, found: Collection) -> Result<Collection> {
        if !self.settings.chunks_of.is_empty() {
            self.store.prepare_chunks(&found).await?;
        }
        Ok(found)
    }

    /// The id of this pipeline's record of progress.
    fn progress_id(&self) -> String {
        format!("{} > {}", self.pipeline, self.settings.collection)
    }

    fn opened(&self) -> Result<&Open> {
        self.open.as_ref().ok_or_else(failed_before)
    }

    /// The progress that was committed last.
    async fn last(&self, progress: &Collection) -> Result<Option<Progress>> {
        let written = self.store.note(progress, &self.progress_id()).await?;
        let unreadable = |error: serde_json::Error| Progress {
            pipeline: self.pipeline.clone(),
            doubt: Some(format!(
                "the progress of pipeline '{}' in collection '{}' can't be read ({error}); --ignore-state starts over",
                self.pipeline, self.settings.progress
            )),
            ..Progress::default()
        };
        Ok(written.map(|text| serde_json::from_str(&text).unwrap_or_else(unreadable)))
    }

    async fn write_rows(&mut self, rows: &arrow::array::RecordBatch) -> Result<()> {
        if self.opened()?.rows.is_none() {
            let made = self.ready(self.create().await?).await?;
            self.open.iter_mut().for_each(|open| open.rows = Some(made.clone()));
        }
        let open = self.opened()?;
        let Some(collection) = &open.rows else { return Err(Error::Bug("no collection".into())) };
        let changes = self.roles.changes(rows)?;
        for records in calls(changes.upsert, open.records_max) {
            self.store.upsert(collection, records).await?;
        }
        for keys in changes.delete.chunks(open.records_max) {
            self.store.delete(collection, keys).await?;
        }
        for ends in changes.ends.chunks(DOCUMENTS_MAX) {
            self.store.delete_chunks(collection, ends).await?;
        }
        failpoint::hit("collection.written")
    }

    async fn write_letters(&self, records: &[Rejected]) -> Result<()> {
        let open = self.opened()?;
        let Some(place) = &open.rejected else {
            return Err(Error::Bug("there is no collection for dead letters".into()));
        };
        for records in records.chunks(open.records_max) {
            self.store.put_notes(place, letters(records)?).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl<S: VectorStore> Sink for CollectionSink<S> {
    async fn recover(
        &mut self,
        pipeline: &str,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        if let Some(source) = shared_source(assignment) {
            return Err(Error::Option(format!(
                "another instance reads part of the source '{source}', but one process writes collection '{}'; stop \
                 the other",
                self.settings.collection
            )));
        }
        self.pipeline = pipeline.into();
        self.open = None;
        let records_max = self.store.records_max().await?.unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
        let mut rows = self.store.find(&self.settings.collection).await?;
        // Before anything is created.
        if let Some(found) = &rows {
            self.check(found)?;
        }
        let progress = self.store.create_notes(&self.settings.progress).await?;
        let rejected = match &self.settings.rejected {
            Some(name) => Some(self.store.create_notes(name).await?),
            None => None,
        };
        let mut last = self.last(&progress).await?;
        match (rows.take(), &mut last) {
            (Some(found), _) => rows = Some(self.ready(found).await?),
            (None, None) => rows = Some(self.ready(self.create().await?).await?),
            (None, Some(last)) => {
                last.doubt.get_or_insert_with(|| {
                    format!(
                        "collection '{}' does not exist any more, and pipeline '{pipeline}' has written to it up to \
                         commit {}; bring it back, or start over with --ignore-state",
                        self.settings.collection, last.epoch
                    )
                });
            }
        }
        self.open = Some(Open { rows, progress, rejected, records_max });
        Ok(last)
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        match output {
            Output::Rows(rows) => self.write_rows(rows).await,
            Output::Rejected(records) => self.write_letters(records).await,
            Output::Late(_) | Output::Marks(_) => {
                Err(Error::Bug("a collection has no place for late rows and marks".into()))
            }
        }
    }

    async fn commit(&mut self, progress: &Progress) -> Result<()> {
        failpoint::hit("collection.commit.before")?;
        let text = serde_json::to_string(progress)
            .map_err(|error| Error::Bug(format!("progress has no form in JSON: {error}")))?;
        let about = [
            ("pipeline", Value::from(self.pipeline.as_str())),
            ("collection", self.settings.collection.as_str().into()),
            ("epoch", progress.epoch.into()),
        ];
        let about = about.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        let note = Note { id: self.progress_id(), field: "progress", text, about };
        self.store.put_notes(&self.opened()?.progress, vec![note]).await?;
        failpoint::hit("collection.commit.after")
    }

    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }

    fn takes_rejected(&self) -> bool {
        self.settings.rejected.is_some()
    }

    fn takes_late(&self) -> bool {
        false
    }

    fn rejected_option(&self) -> Option<&'static str> {
        Some(REJECTED)
    }

    fn keeps_progress_apart(&self) -> bool {
        true
    }

    fn promise(&self) -> Delivery {
        Delivery::AtLeastOnce
    }
}

/// Records as they are called for: as many as the server allows, and not too many bytes.
fn calls(records: Vec<VectorRecord>, records_max: usize) -> Vec<Vec<VectorRecord>> {
    let mut calls: Vec<Vec<VectorRecord>> = Vec::new();
    let mut bytes = 0_usize;
    for record in records {
        bytes = bytes.saturating_add(record.bytes);
        match calls.last_mut() {
            Some(call) if call.len() < records_max && bytes <= CALL_BYTES_MAX => call.push(record),
            _ => {
                bytes = record.bytes;
                calls.push(vec![record]);
            }
        }
    }
    calls
}

/// Dead letters as notes. The id follows from what is in one, so that writing it again changes
/// nothing.
fn letters(records: &[Rejected]) -> Result<Vec<Note>> {
    let lines = json_lines(&rejected_rows(records)?)?;
    let lines = lines.split(|byte| *byte == b'\n').take(records.len());
    lines
        .zip(records)
        .map(|(line, record)| {
            let mut about: Map<String, Value> = serde_json::from_slice(line)
                .map_err(|error| Error::Bug(format!("a letter is no JSON object: {error}")))?;
            about.remove("reason");
            let id = blake3::hash(line).to_hex().to_string();
            Ok(Note { id, field: "reason", text: record.reason.clone(), about })
        })
        .collect()
}

impl<S: VectorStore> fmt::Debug for CollectionSink<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectionSink").field("settings", &self.settings).finish_non_exhaustive()
    }
}
