//! A schema registry over HTTP, as Confluent's and those that speak like it.
//!
//! - *Invariant:* what it can't give at the moment is [`Error::Transient`]; what it doesn't know is
//!   `None`, and the record that refers to it is rejected.
//! - Schemas never change under an id, so whoever asks keeps the answer.

use std::time::Duration;

use sembla_runtime::{Error, Result};
use serde::Deserialize;

use crate::base64::base64;
use crate::http::{blocking, in_path};
use crate::options::Options;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How deep schemas may refer to schemas.
const REFERENCES_DEPTH_MAX: usize = 16;

/// A registry.
#[derive(Clone)]
pub(super) struct Registry {
    address: String,
    authorization: Option<String>,
    agent: ureq::Agent,
}

/// A schema as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RegisteredSchema {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub(super) kind: String,
    /// The schema.
    pub(super) text: String,
    /// What it refers to, by the name that it uses.
    pub(super) references: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

impl Registry {
    /// The registry of `schema_registry`, if there is one.
    ///
    /// # Errors
    /// [`Error::Option`] for an address that isn't one.
    pub(super) fn from_options(options: &Options) -> Result<Option<Self>> {
        let Some(address) = options.find_text("schema_registry") else { return Ok(None) };
        if !address.starts_with("http://") && !address.starts_with("https://") {
            return Err(Error::Option(format!(
                "schema_registry must be an address that begins with http:// or https://, got '{address}'"
            )));
        }
        if address.contains('@') {
            return Err(Error::Option(
                "schema_registry contains a user or a password; give them as schema_registry_user and schema_registry_password"
                    .into(),
            ));
        }
        let authorization = options.find_text("schema_registry_user").map(|user| {
            let password = options.find_text("schema_registry_password").unwrap_or_default();
            format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
        });
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(REQUEST_TIMEOUT))
            .http_status_as_error(false)
            .build()
            .new_agent();
        let address = address.trim_end_matches('/').to_string();
        Ok(Some(Self { address, authorization, agent }))
    }

    /// Its address, for messages.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The schema with that id; `None` when the registry doesn't know it.
    ///
    /// # Errors
    /// [`Error::Transient`] when it can't be reached, [`Error::External`] when it rejects.
    pub(super) async fn schema(&self, id: u32) -> Result<Option<RegisteredSchema>> {
        let registry = self.clone();
        blocking(move || {
            let Some(answer) = registry.get::<Answer>(&format!("/schemas/ids/{id}"))? else {
                return Ok(None);
            };
            let mut references = Vec::new();
            registry.collect(answer.references, &mut references, 0)?;
            Ok(Some(RegisteredSchema {
                kind: answer.kind.unwrap_or_else(|| "AVRO".into()),
                text: answer.schema,
                references,
            }))
        })
        .await
    }

    /// The id of a schema under a subject; it is registered where it is new.
    ///
    /// # Errors
    /// As [`Self::schema`]; also when the registry finds the schema incompatible.
    pub(super) async fn register(&self, subject: &str, kind: &str, schema: &str) -> Result<u32> {
        let registry = self.clone();
        let path = format!("/subjects/{}/versions", in_path(subject));
        let body = serde_json::json!({ "schema": schema, "schemaType": kind }).to_string();
        blocking(move || {
            let mut request = registry
                .agent
                .post(format!("{}{path}", registry.address))
                .header("Content-Type", "application/vnd.schemaregistry.v1+json");
            if let Some(authorization) = &registry.authorization {
                request = request.header("Authorization", authorization);
            }
            let registered: Option<Registered> = registry.answer(request.send(&body), &path)?;
            registered.map(|registered| registered.id).ok_or_else(|| {
                Error::External(format!("the schema registry {} has no {path}", registry.address))
            })
        })
        .await
    }

    /// All schemas that are referred to, the deepest first.
    fn collect(
        &self,
        references: Vec<Reference>,
        found: &mut Vec<(String, String)>,
        depth: usize,
    ) -> Result<()> {
        for reference in references {
            if found.iter().any(|(name, _)| *name == reference.name) {
                continue;
            }
            let path =
                format!("/subjects/{}/versions/{}", in_path(&reference.subject), reference.version);
            let answer: Answer = self.get(&path)?.ok_or_else(|| {
                Error::External(format!("the schema registry {} has no {path}", self.address))
            })?;
            if depth < REFERENCES_DEPTH_MAX {
                self.collect(answer.references, found, depth + 1)?;
            }
            found.push((reference.name, answer.schema));
        }
        Ok(())
    }

    fn get<T: for<'a> Deserialize<'a>>(&self, path: &str) -> Result<Option<T>> {
        let mut request = self.agent.get(format!("{}{path}", self.address));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        self.answer(request.call(), path)
    }

    /// What an answer says; `None` for 404.
    fn answer<T: for<'a> Deserialize<'a>>(
        &self,
        response: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        path: &str,
    ) -> Result<Option<T>> {
        let address = &self.address;
        let mut response = response.map_err(|error| {
            Error::Transient(format!("the schema registry {address} can't be reached: {error}"))
        })?;
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string().map_err(|error| {
            Error::Transient(format!(
                "the schema registry {address} closed the connection: {error}"
            ))
        })?;
        match status {
            200..=299 => serde_json::from_str(&body).map(Some).map_err(|error| {
                Error::External(format!("{address}{path} returned an invalid schema: {error}"))
            }),
            404 => Ok(None),
            401 | 403 => Err(Error::External(format!(
                "the schema registry {address} denied access (HTTP {status}); check schema_registry_user and schema_registry_password"
            ))),
            408 | 429 | 500.. => Err(Error::Transient(format!("{address}{path}: HTTP {status}"))),
            _ => {
                let body: String = body.chars().take(200).collect();
                Err(Error::External(format!("{address}{path}: HTTP {status}: {body}")))
            }
        }
    }
}
