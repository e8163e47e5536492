//! The calls of Qdrant's REST interface that a sink needs.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use sembla_runtime::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ids::{id_of, uuid_of};
use super::options::{API_KEY, Settings};
use crate::collections::{
    Collection, DocumentEnd, Key, Method, NewCollection, Note, Rest, VectorRecord, VectorStore,
};
use crate::http::in_path;
use crate::keys::CHUNK;

/// A server.
pub(super) struct QdrantStore {
    settings: Settings,
    /// The columns that deletions of chunks ask for, with Qdrant's names of their types.
    indexed: Vec<(String, &'static str)>,
    rest: Rest,
}

/// What every answer has.
#[derive(Deserialize)]
struct Answer<T> {
    result: T,
}

/// A collection, as Qdrant tells of it.
#[derive(Deserialize)]
struct Described {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    params: Params,
    /// Since Qdrant 1.16.
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Params {
    /// Those of one vector, or of several by their names.
    #[serde(default)]
    vectors: Value,
}

#[derive(Deserialize)]
struct VectorParams {
    size: usize,
    distance: String,
}

/// A point that was asked for.
#[derive(Deserialize)]
struct Got {
    #[serde(default)]
    payload: Option<Map<String, Value>>,
}

/// Points to write.
#[derive(Serialize)]
struct Points {
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    id: Value,
    vector: Vector,
    payload: Map<String, Value>,
}

/// A vector, under its name where it has one.
#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Plain(Vec<f32>),
    Named(BTreeMap<String, Vec<f32>>),
}

/// The fields of a note's payload that say what it is, and its text.
const KIND: &str = "kind";
const TEXT: &str = "text";

impl QdrantStore {
    /// The server that settings name, for rows of a schema.
    pub(super) fn new(settings: Settings, schema: &SchemaRef) -> Self {
        let rest = Rest::new("qdrant", &settings.base, "api-key", API_KEY);
        let columns = settings.base.chunks_of.iter().map(String::as_str).chain([CHUNK]);
        let types = columns.filter_map(|name| {
            let field = schema.field_with_name(name).ok()?;
            Some((name.to_string(), index_type(field.data_type())?))
        });
        let indexed = types.collect();
        Self { settings, indexed, rest }
    }

    /// The collection that was asked for, which must have the vector that rows go to.
    fn of(&self, name: &str, found: Described) -> Result<Collection> {
        let Config { params, metadata } = found.config;
        let vector = self.vector_of(name, &params.vectors)?;
        Ok(Collection {
            id: in_path(name),
            name: name.into(),
            dimension: Some(vector.size),
            distance: Some(vector.distance.to_lowercase()),
            about: metadata.unwrap_or_default(),
        })
    }

    fn vector_of(&self, name: &str, vectors: &Value) -> Result<VectorParams> {
        let single = VectorParams::deserialize(vectors).ok();
        let wanted = self.settings.vector_name.as_deref();
        let found = match (wanted, single) {
            (None, Some(single)) => return Ok(single),
            (Some(wanted), None) => vectors.get(wanted).map(VectorParams::deserialize),
            _ => None,
        };
        if let Some(Ok(found)) = found {
            return Ok(found);
        }
        let names = vectors.as_object().map(|all| {
            let dense = all.iter().filter(|(_, params)| VectorParams::deserialize(*params).is_ok());
            dense.map(|(name, _)| format!("'{name}'")).collect::<Vec<_>>()
        });
        let names = names.unwrap_or_default();
        Err(Error::Option(match (names.as_slice(), wanted) {
            ([], Some(_)) if vectors.get("size").is_some() => {
                format!("collection '{name}' has one vector without a name; leave out vector_name")
            }
            ([], _) => format!(
                "collection '{name}' has no dense vectors; write to another collection, which is created"
            ),
            (names, _) => format!(
                "collection '{name}' has named vectors; set vector_name to one of {}",
                names.join(", ")
            ),
        }))
    }

    async fn make(&self, name: &str, body: &Value) -> Result<()> {
        let path = format!("/collections/{}", in_path(name));
        let what = format!("creating collection '{name}'");
        let made: Result<Option<Answer<bool>>> =
            self.rest.call(&what, path, Method::Put(body.to_string())).await;
        match made {
            Ok(Some(Answer { result: true })) => Ok(()),
            Ok(_) => Err(Error::External(format!(
                "{what}: {} did not create it; check that url is that of the REST interface",
                self.rest.server()
            ))),
            // No row is to blame.
            Err(Error::Data(why)) => Err(Error::External(why)),
            Err(error) => Err(error),
        }
    }

    /// Makes a collection, unless somebody else does at the same time.
    async fn make_once(&self, name: &str, body: &Value) -> Result<()> {
        match self.make(name, body).await {
            Err(error @ Error::External(_)) if self.described(name).await?.is_none() => Err(error),
            Err(Error::External(_)) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn described(&self, name: &str) -> Result<Option<Described>> {
        let path = format!("/collections/{}", in_path(name));
        let what = format!("looking for collection '{name}'");
        let found: Option<Answer<Described>> = self.rest.call(&what, path, Method::Get).await?;
        Ok(found.map(|found| found.result))
    }

    async fn write(&self, to: &Collection, points: Vec<Point>) -> Result<()> {
        let path = format!("/collections/{}/points?wait=true", to.id);
        let body = serde_json::to_string(&Points { points })
            .map_err(|error| Error::Data(format!("rows have no form in JSON: {error}")))?;
        self.change(to, path, Method::Put(body)).await
    }

    async fn remove(&self, from: &Collection, which: &Value) -> Result<()> {
        let path = format!("/collections/{}/points/delete?wait=true", from.id);
        self.change(from, path, Method::Post(which.to_string())).await
    }

    async fn change(&self, collection: &Collection, path: String, method: Method) -> Result<()> {
        let what = format!("writing collection '{}'", collection.name);
        let done: Option<Answer<Value>> = self.rest.call(&what, path, method).await?;
        match done {
            Some(_) => Ok(()),
            None => Err(Error::Fenced(format!("{what}: it was deleted meanwhile"))),
        }
    }
}

#[async_trait]
impl VectorStore for QdrantStore {
    async fn records_max(&self) -> Result<Option<usize>> {
        // It has no such limit, only one of bytes.
        Ok(None)
    }

    async fn find(&self, name: &str) -> Result<Option<Collection>> {
        let found = self.described(name).await?;
        found.map(|found| self.of(name, found)).transpose()
    }

    async fn create(&self, name: &str, new: &NewCollection) -> Result<Collection> {
        let distance = match new.distance {
            "dot" => "Dot",
            "euclid" => "Euclid",
            "manhattan" => "Manhattan",
            _ => "Cosine",
        };
        let vector = json!({ "size": new.dimension, "distance": distance });
        let vectors = match &self.settings.vector_name {
            Some(name) => json!({ name: vector }),
            None => vector,
        };
        let mut body = json!({ "vectors": vectors });
        if let (false, Some(body)) = (new.about.is_empty(), body.as_object_mut()) {
            body.insert("metadata".into(), new.about.clone().into());
        }
        self.make_once(name, &body).await?;
        let found = self.find(name).await?;
        found.ok_or_else(|| Error::Fenced(format!("collection '{name}' was deleted meanwhile")))
    }

    async fn create_notes(&self, name: &str) -> Result<Collection> {
        if self.described(name).await?.is_none() {
            let vectors = json!({ "vectors": { "size": 1, "distance": "Dot" } });
            self.make_once(name, &vectors).await?;
        }
        Ok(Collection { id: in_path(name), name: name.into(), ..Collection::default() })
    }

    async fn prepare_chunks(&self, of: &Collection) -> Result<()> {
        for (name, kind) in &self.indexed {
            let path = format!("/collections/{}/index?wait=true", of.id);
            let body = json!({ "field_name": payload_path(name)?, "field_schema": kind });
            let what = format!("indexing '{name}' of collection '{}'", of.name);
            let done: Result<Option<Answer<Value>>> =
                self.rest.call(&what, path, Method::Put(body.to_string())).await;
            done.map_err(|error| match error {
                Error::Data(why) => Error::External(why),
                other => other,
            })?;
        }
        Ok(())
    }

    async fn upsert(&self, to: &Collection, records: Vec<VectorRecord>) -> Result<()> {
        let points = records.into_iter().map(|VectorRecord { key, vector, columns, .. }| {
            let vector = match &self.settings.vector_name {
                Some(name) => Vector::Named(BTreeMap::from([(name.clone(), vector)])),
                None => Vector::Plain(vector),
            };
            Point { id: id_of(&key), vector, payload: columns }
        });
        self.write(to, points.collect()).await
    }

    async fn delete(&self, from: &Collection, keys: &[Key]) -> Result<()> {
        let ids: Vec<Value> = keys.iter().map(id_of).collect();
        self.remove(from, &json!({ "points": ids })).await
    }

    async fn delete_chunks(&self, from: &Collection, ends: &[DocumentEnd]) -> Result<()> {
        let behind = ends.iter().map(behind).collect::<Result<Vec<_>>>()?;
        self.remove(from, &json!({ "filter": { "should": behind } })).await
    }

    async fn note(&self, of: &Collection, id: &str) -> Result<Option<String>> {
        let path = format!("/collections/{}/points", of.id);
        let body = json!({ "ids": [uuid_of(id)], "with_payload": true, "with_vector": false });
        let got: Option<Answer<Vec<Got>>> =
            self.rest.call("reading progress", path, Method::Post(body.to_string())).await?;
        let payload = got.and_then(|got| got.result.into_iter().next()).and_then(|got| got.payload);
        Ok(payload.and_then(|all| all.get(TEXT).and_then(Value::as_str).map(str::to_string)))
    }

    async fn put_notes(&self, to: &Collection, notes: Vec<Note>) -> Result<()> {
        let points = notes.into_iter().map(|Note { id, field, text, mut about }| {
            about.insert(TEXT.into(), text.into());
            about.insert(KIND.into(), field.into());
            Point { id: uuid_of(&id).into(), vector: Vector::Plain(vec![0.0]), payload: about }
        });
        self.write(to, points.collect()).await
    }
}

impl fmt::Debug for QdrantStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QdrantStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Qdrant's name of the index over values of a type, if they can be compared with one.
fn index_type(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Boolean => Some("bool"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some("keyword"),
        number if number.is_integer() => Some("integer"),
        _ => None,
    }
}

/// A column as the path of a payload, in which points and brackets mean something unless quoted.
fn payload_path(name: &str) -> Result<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    match name {
        _ if name.chars().all(is_plain) => Ok(name.into()),
        _ if name.contains('"') => Err(Error::Option(format!(
            "chunks_of: qdrant can't ask for a column called '{name}'; rename it with AS"
        ))),
        _ => Ok(format!("\"{name}\"")),
    }
}

/// The condition for the chunks of a document behind its last one.
fn behind(end: &DocumentEnd) -> Result<Value> {
    let same = end.document.iter().map(|(name, value)| {
        if value.is_f64() || value.is_array() || value.is_object() {
            return Err(Error::Data(format!(
                "column '{name}' of chunks_of is {value}; qdrant compares texts, whole numbers and booleans only"
            )));
        }
        Ok(json!({ "key": payload_path(name)?, "match": { "value": value } }))
    });
    let mut all = same.collect::<Result<Vec<_>>>()?;
    all.push(json!({ "key": CHUNK, "range": { "gt": end.last } }));
    Ok(json!({ "must": all }))
}
