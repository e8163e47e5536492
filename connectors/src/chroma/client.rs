//! The calls of Chroma's HTTP interface that a sink needs.

use std::sync::Arc;
use std::time::Duration;

use sembla_runtime::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::options::Settings;
use crate::http::{blocking, in_path};

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a server may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer, and letters of one that a message quotes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const QUOTED_LETTERS: usize = 300;

/// A server, a tenant and a database.
#[derive(Clone)]
pub(super) struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    /// The address of the database.
    base: String,
    agent: ureq::Agent,
}

/// A collection.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Collection {
    pub(super) id: String,
    /// Components of its vectors, once it has some.
    #[serde(default)]
    pub(super) dimension: Option<usize>,
}

/// Records to write; all fields have as many entries.
#[derive(Debug, Default, Serialize)]
pub(super) struct Upsert {
    pub(super) ids: Vec<String>,
    pub(super) embeddings: Vec<Vec<f32>>,
    pub(super) documents: Vec<Option<String>>,
    pub(super) metadatas: Vec<Option<Map<String, Value>>>,
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

impl Client {
    pub(super) fn new(settings: Settings) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(CALL_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .build()
            .new_agent();
        let base = format!(
            "{}/api/v2/tenants/{}/databases/{}",
            settings.url,
            in_path(&settings.tenant),
            in_path(&settings.database)
        );
        Self { inner: Arc::new(Inner { settings, base, agent }) }
    }

    /// Records that one call may have.
    ///
    /// # Errors
    /// A server that does not answer or refuses.
    pub(super) async fn batch_size(&self) -> Result<Option<usize>> {
        let url = format!("{}/api/v2/pre-flight-checks", self.inner.settings.url);
        let limits: Option<Limits> = self.call("asking for limits", url, None).await?;
        Ok(limits.and_then(|limits| limits.max_batch_size).filter(|size| *size > 0))
    }

    /// The collection of a name, if there is one.
    ///
    /// # Errors
    /// As [`Self::batch_size`].
    pub(super) async fn find(&self, name: &str) -> Result<Option<Collection>> {
        let url = format!("{}/collections/{}", self.inner.base, in_path(name));
        self.call(&format!("looking for collection '{name}'"), url, None).await
    }

    /// Makes a collection, or gives the one that is there.
    ///
    /// # Errors
    /// As [`Self::batch_size`].
    pub(super) async fn create(&self, name: &str, about: Map<String, Value>) -> Result<Collection> {
        let mut body = json!({
            "name": name,
            "get_or_create": true,
            "configuration": { "hnsw": { "space": self.inner.settings.space } },
        });
        if let (false, Some(body)) = (about.is_empty(), body.as_object_mut()) {
            body.insert("metadata".into(), about.into());
        }
        let url = format!("{}/collections", self.inner.base);
        let what = format!("creating collection '{name}'");
        let made =
            self.call(&what, url, Some(body.to_string())).await.map_err(|error| match error {
                // No row is to blame.
                Error::Data(why) => Error::External(why),
                other => other,
            })?;
        made.ok_or_else(|| self.no_database())
    }

    /// Writes records, in the place of those with their ids.
    ///
    /// # Errors
    /// As [`Self::batch_size`]; [`Error::Data`] for records that the server does not take.
    pub(super) async fn upsert(&self, collection: &Collection, records: &Upsert) -> Result<()> {
        let body = serde_json::to_string(records)
            .map_err(|error| Error::Data(format!("rows have no form in JSON: {error}")))?;
        self.change(collection, "upsert", body).await
    }

    /// Removes records; fine where there are none.
    ///
    /// # Errors
    /// As [`Self::batch_size`].
    pub(super) async fn delete(&self, collection: &Collection, ids: &[String]) -> Result<()> {
        self.change(collection, "delete", json!({ "ids": ids }).to_string()).await
    }

    /// The document of a record.
    ///
    /// # Errors
    /// As [`Self::batch_size`].
    pub(super) async fn document(
        &self,
        collection: &Collection,
        id: &str,
    ) -> Result<Option<String>> {
        let url = format!("{}/collections/{}/get", self.inner.base, in_path(&collection.id));
        let body = json!({ "ids": [id], "include": ["documents"] }).to_string();
        let got: Option<Got> = self.call("reading progress", url, Some(body)).await?;
        Ok(got.and_then(|got| got.documents).and_then(|all| all.into_iter().next().flatten()))
    }

    async fn change(&self, collection: &Collection, how: &str, body: String) -> Result<()> {
        let url = format!("{}/collections/{}/{how}", self.inner.base, in_path(&collection.id));
        let what = format!("writing collection '{}'", self.inner.settings.collection);
        let done: Option<Value> = self.call(&what, url, Some(body)).await?;
        match done {
            Some(_) => Ok(()),
            None => Err(Error::Fenced(format!("{what}: it was deleted meanwhile"))),
        }
    }

    /// One call: a POST with a body, or a GET without. `None` for what is not there.
    async fn call<T: for<'a> Deserialize<'a> + Send + 'static>(
        &self,
        what: &str,
        url: String,
        body: Option<String>,
    ) -> Result<Option<T>> {
        let (inner, what) = (Arc::clone(&self.inner), what.to_string());
        blocking(move || {
            let token = inner.settings.token.as_ref().map(|token| token.0.as_str());
            let answered = match body {
                Some(body) => {
                    let mut request =
                        inner.agent.post(&url).header("Content-Type", "application/json");
                    if let Some(token) = token {
                        request = request.header("x-chroma-token", token);
                    }
                    request.send(&body)
                }
                None => {
                    let mut request = inner.agent.get(&url);
                    if let Some(token) = token {
                        request = request.header("x-chroma-token", token);
                    }
                    request.call()
                }
            };
            inner.answer(&what, answered)
        })
        .await
    }

    fn no_database(&self) -> Error {
        let Settings { url, tenant, database, .. } = &self.inner.settings;
        Error::External(format!(
            "chroma at {url} has no database '{database}' of tenant '{tenant}'; create it, or correct the options"
        ))
    }
}

impl Inner {
    fn answer<T: for<'a> Deserialize<'a>>(
        &self,
        what: &str,
        answered: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Option<T>> {
        let url = &self.settings.url;
        let mut answer = answered.map_err(|error| {
            Error::Transient(format!(
                "chroma at {url} can't be reached ({error}); check that it runs, and url"
            ))
        })?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let body = body.map_err(|error| {
            Error::Transient(format!("{what}: chroma at {url} closed the connection ({error})"))
        })?;
        let said: String = body.replace(['\n', '\r'], " ").chars().take(QUOTED_LETTERS).collect();
        match status {
            200..=299 if body.is_empty() => Ok(serde_json::from_str("{}").ok()),
            200..=299 => serde_json::from_str(&body).map(Some).map_err(|error| {
                Error::External(format!("{what}: chroma at {url} sent no valid answer ({error})"))
            }),
            404 => Ok(None),
            401 | 403 => Err(Error::External(format!(
                "{what}: chroma at {url} refuses access (HTTP {status}); check the option token"
            ))),
            408 | 429 | 500.. => {
                Err(Error::Transient(format!("{what}: chroma at {url}: HTTP {status}: {said}")))
            }
            400 | 413 | 422 => Err(Error::Data(format!("{what}: {said}"))),
            _ => Err(Error::External(format!("{what}: chroma at {url}: HTTP {status}: {said}"))),
        }
    }
}
