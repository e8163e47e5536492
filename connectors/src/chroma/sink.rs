//! The sink: upserts as rows come, and progress behind them.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sembla_runtime::{Assignment, Delivery, Error, Output, Progress, Result, Sink, failpoint};
use serde_json::{Map, Value};

use super::client::{Client, Collection, Upsert};
use super::options::Settings;
use super::records::Roles;
use crate::connector::{failed_before, shared_source};

/// Records of one call at most, where the server allows more.
const RECORDS_MAX: usize = 1000;

/// A sink that writes rows to a collection of Chroma.
pub struct ChromaSink {
    settings: Settings,
    roles: Roles,
    client: Client,
    pipeline: String,
    open: Option<Open>,
}

/// What recovery has given.
struct Open {
    /// `None` until the first write, where progress is about a collection that is gone.
    rows: Option<Collection>,
    progress: Collection,
    records_max: usize,
}

impl ChromaSink {
    /// A sink for rows of a schema. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Option`] for options that don't fit the schema.
    pub(super) fn new(schema: &SchemaRef, settings: Settings) -> Result<Self> {
        let roles = Roles::new(schema, &settings)?;
        let client = Client::new(settings.clone());
        Ok(Self { settings, roles, client, pipeline: String::new(), open: None })
    }

    /// Looks whether the server answers and the collection takes the rows; leaves nothing behind.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) async fn probe(self) -> Result<()> {
        self.client.batch_size().await?;
        match self.client.find(&self.settings.collection).await? {
            Some(found) => self.check(&found),
            None => Ok(()),
        }
    }

    /// Refuses a collection of vectors of another dimension.
    fn check(&self, found: &Collection) -> Result<()> {
        match found.dimension.filter(|dimension| *dimension != self.roles.dimension) {
            None => Ok(()),
            Some(dimension) => Err(Error::Option(format!(
                "collection '{}' has vectors of {dimension} dimensions, and the rows have {}; embed with the model \
                 that it was made with, or write to another collection",
                self.settings.collection, self.roles.dimension
            ))),
        }
    }

    async fn create(&self) -> Result<Collection> {
        let about = self.roles.provenance.clone();
        self.client.create(&self.settings.collection, about).await
    }

    /// The id of this pipeline's record of progress.
    fn progress_id(&self) -> String {
        format!("{} > {}", self.pipeline, self.settings.collection)
    }

    fn opened(&self) -> Result<&Open> {
        self.open.as_ref().ok_or_else(failed_before)
    }
}

#[async_trait]
impl Sink for ChromaSink {
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
        let records_max = self.client.batch_size().await?.unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
        let progress = self.client.create(&self.settings.progress, Map::new()).await?;
        let written = self.client.document(&progress, &self.progress_id()).await?;
        let mut last = written.map(|text| {
            serde_json::from_str(&text).unwrap_or_else(|error| Progress {
                pipeline: pipeline.into(),
                doubt: Some(format!(
                    "the progress of pipeline '{pipeline}' in collection '{}' can't be read ({error}); \
                     --ignore-state starts over",
                    self.settings.progress
                )),
                ..Progress::default()
            })
        });
        let mut rows = self.client.find(&self.settings.collection).await?;
        match (&rows, &mut last) {
            (Some(found), _) => self.check(found)?,
            (None, None) => rows = Some(self.create().await?),
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
        self.open = Some(Open { rows, progress, records_max });
        Ok(last)
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        let Output::Rows(rows) = output else {
            return Err(Error::Bug("a collection has no place for other rows than results".into()));
        };
        if self.opened()?.rows.is_none() {
            let made = self.create().await?;
            self.open.iter_mut().for_each(|open| open.rows = Some(made.clone()));
        }
        let open = self.opened()?;
        let Some(collection) = &open.rows else { return Err(Error::Bug("no collection".into())) };
        let changes = self.roles.changes(rows)?;
        let mut upsert = changes.upsert;
        while !upsert.ids.is_empty() {
            let rest = upsert.split_off(open.records_max);
            self.client.upsert(collection, &upsert).await?;
            upsert = rest;
        }
        for ids in changes.delete.chunks(open.records_max) {
            self.client.delete(collection, ids).await?;
        }
        failpoint::hit("chroma.written")
    }

    async fn commit(&mut self, progress: &Progress) -> Result<()> {
        failpoint::hit("chroma.commit.before")?;
        let text = serde_json::to_string(progress)
            .map_err(|error| Error::Bug(format!("progress has no form in JSON: {error}")))?;
        let about = [
            ("pipeline", Value::from(self.pipeline.as_str())),
            ("collection", self.settings.collection.as_str().into()),
            ("epoch", progress.epoch.into()),
        ];
        let about = about.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        let record = Upsert {
            ids: vec![self.progress_id()],
            embeddings: vec![vec![0.0]],
            documents: vec![Some(text)],
            metadatas: vec![Some(about)],
        };
        self.client.upsert(&self.opened()?.progress, &record).await?;
        failpoint::hit("chroma.commit.after")
    }

    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }

    fn takes_rejected(&self) -> bool {
        false
    }

    fn takes_late(&self) -> bool {
        false
    }

    fn keeps_progress_apart(&self) -> bool {
        true
    }

    fn promise(&self) -> Delivery {
        Delivery::AtLeastOnce
    }
}

impl Upsert {
    /// Takes what is behind the first records.
    fn split_off(&mut self, records: usize) -> Self {
        let at = records.max(1).min(self.ids.len());
        Self {
            ids: self.ids.split_off(at),
            embeddings: self.embeddings.split_off(at),
            documents: self.documents.split_off(at),
            metadatas: self.metadatas.split_off(at),
        }
    }
}

impl fmt::Debug for ChromaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChromaSink").field("settings", &self.settings).finish_non_exhaustive()
    }
}
