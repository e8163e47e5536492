//! The calls of Chroma's HTTP interface that a sink needs.

use std::fmt;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sembla_runtime::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::options::{Settings, TOKEN};
use crate::collections::{
    Collection, DocumentEnd, Key, Method, NewCollection, Note, Rest, VectorRecord, VectorStore,
    place_of,
};
use crate::http::in_path;
use crate::keys::CHUNK;

/// The column of documents where none is named: the first of these that is there.
const DOCUMENTS: [&str; 2] = ["text", "chunk"];

/// A server, a tenant and a database.
pub(super) struct ChromaStore {
    settings: Settings,
    /// The column of documents, if there is one.
    document: Option<String>,
    /// The path of the database.
    base: String,
    rest: Rest,
}

/// A collection, as Chroma tells of it.
#[derive(Deserialize)]
struct Described {
    id: String,
    /// Components of its vectors, once it has some.
    #[serde(default)]
    dimension: Option<usize>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

/// Records to write; all fields have as many entries.
#[derive(Debug, Default, Serialize)]
struct Upsert {
    ids: Vec<String>,
    embeddings: Vec<Vec<f32>>,
    documents: Vec<Option<String>>,
    metadatas: Vec<Option<Map<String, Value>>>,
}

/// What a server says of its limits.
#[derive(Deserialize)]
struct Limits {
    #[serde(default)]
    max_batch_size: Option<usize>,
}

/// Documents of records that were asked for.
#[derive(Deserialize)]
struct Got {
    #[serde(default)]
    documents: Option<Vec<Option<String>>>,
}

impl ChromaStore {
    /// The database that settings name, for rows of a schema.
    ///
    /// # Errors
    /// [`Error::Option`] for a column of documents that the rows don't have.
    pub(super) fn new(settings: Settings, schema: &SchemaRef) -> Result<Self> {
        if let Some(name) = &settings.document {
            place_of(schema, "document", name)?;
        }
        let rest = Rest::new("chroma", &settings.base, "x-chroma-token", TOKEN);
        let base = format!(
            "/api/v2/tenants/{}/databases/{}",
            in_path(&settings.tenant),
            in_path(&settings.database)
        );
        let is_free = |name: &String| {
            schema.index_of(name).is_ok() && !settings.base.chunks_of.contains(name)
        };
        let default = || DOCUMENTS.into_iter().map(str::to_string).find(is_free);
        let document = settings.document.clone().or_else(default);
        Ok(Self { settings, document, base, rest })
    }

    async fn make(
        &self,
        name: &str,
        space: &str,
        about: &Map<String, Value>,
    ) -> Result<Collection> {
        let mut body = json!({
            "name": name,
            "get_or_create": true,
            "configuration": { "hnsw": { "space": space } },
        });
        if let (false, Some(body)) = (about.is_empty(), body.as_object_mut()) {
            body.insert("metadata".into(), about.clone().into());
        }
        let path = format!("{}/collections", self.base);
        let what = format!("creating collection '{name}'");
        let made = self.rest.call(&what, path, Method::Post(body.to_string())).await;
        let made: Option<Described> = made.map_err(|error| match error {
            // No row is to blame.
            Error::Data(why) => Error::External(why),
            other => other,
        })?;
        let Settings { tenant, database, .. } = &self.settings;
        made.map(|made| of(name, made)).ok_or_else(|| {
            Error::External(format!(
                "{} has no database '{database}' of tenant '{tenant}'; create it, or correct the options",
                self.rest.server()
            ))
        })
    }

    async fn write(&self, to: &Collection, upsert: Upsert) -> Result<()> {
        let body = serde_json::to_string(&upsert)
            .map_err(|error| Error::Data(format!("rows have no form in JSON: {error}")))?;
        self.change(to, "upsert", body).await
    }

    async fn change(&self, collection: &Collection, how: &str, body: String) -> Result<()> {
        let path = format!("{}/collections/{}/{how}", self.base, in_path(&collection.id));
        let what = format!("writing collection '{}'", collection.name);
        let done: Option<Value> = self.rest.call(&what, path, Method::Post(body)).await?;
        match done {
            Some(_) => Ok(()),
            None => Err(Error::Fenced(format!("{what}: it was deleted meanwhile"))),
        }
    }

    /// The document and the metadata of a row. A list or an object is text.
    fn split(
        &self,
        mut columns: Map<String, Value>,
    ) -> (Option<String>, Option<Map<String, Value>>) {
        let document = self.document.as_ref().map(|name| match columns.remove(name) {
            Some(Value::String(text)) => text,
            Some(Value::Null) | None => String::new(),
            Some(value) => value.to_string(),
        });
        for value in columns.values_mut() {
            if value.is_array() || value.is_object() {
                *value = value.to_string().into();
            }
        }
        (document, (!columns.is_empty()).then_some(columns))
    }
}

#[async_trait]
impl VectorStore for ChromaStore {
    async fn records_max(&self) -> Result<Option<usize>> {
        let path = "/api/v2/pre-flight-checks".to_string();
        let limits: Option<Limits> = self.rest.call("asking for limits", path, Method::Get).await?;
        Ok(limits.and_then(|limits| limits.max_batch_size).filter(|size| *size > 0))
    }

    async fn find(&self, name: &str) -> Result<Option<Collection>> {
        let path = format!("{}/collections/{}", self.base, in_path(name));
        let what = format!("looking for collection '{name}'");
        let found: Option<Described> = self.rest.call(&what, path, Method::Get).await?;
        Ok(found.map(|found| of(name, found)))
    }

    async fn create(&self, name: &str, new: &NewCollection) -> Result<Collection> {
        self.make(name, new.distance, &new.about).await
    }

    async fn create_notes(&self, name: &str) -> Result<Collection> {
        self.make(name, "l2", &Map::new()).await
    }

    async fn upsert(&self, to: &Collection, records: Vec<VectorRecord>) -> Result<()> {
        let mut upsert = Upsert::default();
        for VectorRecord { key, vector, columns, .. } in records {
            let (document, metadata) = self.split(columns);
            upsert.ids.push(key.text());
            upsert.embeddings.push(vector);
            upsert.documents.push(document);
            upsert.metadatas.push(metadata);
        }
        self.write(to, upsert).await
    }

    async fn delete(&self, from: &Collection, keys: &[Key]) -> Result<()> {
        let ids: Vec<String> = keys.iter().map(Key::text).collect();
        self.change(from, "delete", json!({ "ids": ids }).to_string()).await
    }

    async fn delete_chunks(&self, from: &Collection, ends: &[DocumentEnd]) -> Result<()> {
        let behind: Vec<Value> = ends.iter().map(behind).collect();
        let condition = match behind.as_slice() {
            [one] => one.clone(),
            _ => json!({ "$or": behind }),
        };
        self.change(from, "delete", json!({ "where": condition }).to_string()).await
    }

    async fn note(&self, of: &Collection, id: &str) -> Result<Option<String>> {
        let path = format!("{}/collections/{}/get", self.base, in_path(&of.id));
        let body = json!({ "ids": [id], "include": ["documents"] }).to_string();
        let got: Option<Got> = self.rest.call("reading progress", path, Method::Post(body)).await?;
        Ok(got.and_then(|got| got.documents).and_then(|all| all.into_iter().next().flatten()))
    }

    async fn put_notes(&self, to: &Collection, notes: Vec<Note>) -> Result<()> {
        let mut upsert = Upsert::default();
        for Note { id, text, about, .. } in notes {
            upsert.ids.push(id);
            upsert.embeddings.push(vec![0.0]);
            upsert.documents.push(Some(text));
            upsert.metadatas.push((!about.is_empty()).then_some(about));
        }
        self.write(to, upsert).await
    }
}

impl fmt::Debug for ChromaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChromaStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn of(name: &str, found: Described) -> Collection {
    Collection {
        id: found.id,
        name: name.into(),
        dimension: found.dimension,
        distance: None,
        about: found.metadata.unwrap_or_default(),
    }
}

/// The condition for the chunks of a document behind its last one.
fn behind(end: &DocumentEnd) -> Value {
    let same = end.document.iter().map(|(name, value)| json!({ name: { "$eq": value } }));
    let behind = json!({ CHUNK: { "$gt": end.last } });
    json!({ "$and": same.chain([behind]).collect::<Vec<_>>() })
}
