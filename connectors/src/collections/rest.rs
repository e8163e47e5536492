//! Calls of a server over HTTP with JSON: one address, one secret in one header, and a few tries.
//!
//! - *Invariant:* every call that is made here can be made twice, since a lost answer makes it so.
//! - *Invariant:* the secret is in no message, whatever the server answers.

use std::sync::Arc;
use std::time::Duration;

use sembla_runtime::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::CollectionSettings;
use super::options::Secret;
use crate::http::blocking;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a server may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait before the second try of a call, of which each is twice the one before, and the
/// longest, also where the server asks for more.
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer, and letters of one that a message quotes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const QUOTED_LETTERS: usize = 300;
/// A secret that is shorter may be part of any word, and is not looked for in messages.
const SECRET_LETTERS_MIN: usize = 4;

type Answered = std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// How a call is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post(String),
    Put(String),
}

/// A server.
#[derive(Clone)]
pub(crate) struct Rest {
    inner: Arc<Inner>,
}

struct Inner {
    /// What messages call it: `chroma at http://host:8000`.
    server: String,
    url: String,
    header: &'static str,
    secret: Option<Secret>,
    secret_option: &'static str,
    retries: u32,
    agent: ureq::Agent,
}

/// A try that has failed, and how long the server asks to be left alone.
struct Failed {
    error: Error,
    wait: Option<Duration>,
}

impl Rest {
    /// A server of that kind. `header` is where it wants its secret, which is the option
    /// `secret_option`.
    pub(crate) fn new(
        name: &str,
        settings: &CollectionSettings,
        header: &'static str,
        secret_option: &'static str,
    ) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(CALL_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .build()
            .new_agent();
        let (url, retries) = (settings.url.clone(), settings.retries);
        let (server, secret) = (format!("{name} at {url}"), settings.secret.clone());
        Self {
            inner: Arc::new(Inner { server, url, header, secret, secret_option, retries, agent }),
        }
    }

    /// The server, for messages.
    pub(crate) fn server(&self) -> &str {
        &self.inner.server
    }

    /// One call of what lies at a path. `what` is what it is for. `None` for what is not there.
    ///
    /// # Errors
    /// [`Error::Transient`] for a server that can't be reached or is overloaded, after all tries;
    /// [`Error::Data`] for a body that it does not take.
    pub(crate) async fn call<T: for<'a> Deserialize<'a> + Send + 'static>(
        &self,
        what: &str,
        path: String,
        method: Method,
    ) -> Result<Option<T>> {
        let (inner, what) = (Arc::clone(&self.inner), what.to_string());
        blocking(move || {
            let url = format!("{}{path}", inner.url);
            let mut tries = 0;
            loop {
                let Failed { error, wait } = match inner.once(&what, &url, &method) {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                };
                if !error.is_transient() || tries >= inner.retries {
                    return Err(error);
                }
                let wait =
                    wait.unwrap_or(WAIT_MIN.saturating_mul(1 << tries.min(16))).min(WAIT_MAX);
                tries += 1;
                tracing::warn!("{error}; retrying in {:.2} s", wait.as_secs_f64());
                std::thread::sleep(wait);
            }
        })
        .await
    }
}

impl Inner {
    fn once<T: for<'a> Deserialize<'a>>(
        &self,
        what: &str,
        url: &str,
        method: &Method,
    ) -> std::result::Result<Option<T>, Failed> {
        let answered = match method {
            Method::Get => {
                let request = self.agent.get(url);
                match &self.secret {
                    Some(secret) => request.header(self.header, &secret.0).call(),
                    None => request.call(),
                }
            }
            Method::Post(body) => self.send(self.agent.post(url), body),
            Method::Put(body) => self.send(self.agent.put(url), body),
        };
        self.answer(what, answered)
    }

    fn send(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        body: &str,
    ) -> Answered {
        let request = request.header("Content-Type", "application/json");
        match &self.secret {
            Some(secret) => request.header(self.header, &secret.0).send(body),
            None => request.send(body),
        }
    }

    fn answer<T: for<'a> Deserialize<'a>>(
        &self,
        what: &str,
        answered: Answered,
    ) -> std::result::Result<Option<T>, Failed> {
        let server = &self.server;
        let failed = |error: Error| Failed { error, wait: None };
        let mut answer = answered.map_err(|error| {
            failed(Error::Transient(format!(
                "{server} can't be reached ({error}); check that it runs, and url"
            )))
        })?;
        let status = answer.status().as_u16();
        let after = answer.headers().get("Retry-After").and_then(|value| value.to_str().ok());
        let wait = after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let body = body.map_err(|error| {
            failed(Error::Transient(format!("{what}: {server} closed the connection ({error})")))
        })?;
        let said = self.quote(&body);
        match status {
            200..=299 if body.is_empty() => Ok(serde_json::from_str("{}").ok()),
            200..=299 => serde_json::from_str(&body).map(Some).map_err(|error| {
                failed(Error::External(format!("{what}: {server} sent no valid answer ({error})")))
            }),
            404 => Ok(None),
            401 | 403 => Err(failed(Error::External(format!(
                "{what}: {server} refuses access (HTTP {status}); check the option {}",
                self.secret_option
            )))),
            408 | 429 | 500.. => {
                let error = Error::Transient(format!("{what}: {server}: HTTP {status}: {said}"));
                Err(Failed { error, wait })
            }
            400 | 413 | 422 => Err(failed(Error::Data(format!("{what}: {said}")))),
            _ => Err(failed(Error::External(format!("{what}: {server}: HTTP {status}: {said}")))),
        }
    }

    /// What an answer says in words, in one line of some length, without the secret.
    fn quote(&self, body: &str) -> String {
        let parsed: Option<Value> = serde_json::from_str(body).ok();
        let words = parsed.as_ref().and_then(|answer| {
            let nested = answer.pointer("/status/error").and_then(Value::as_str);
            nested.or_else(|| answer.get("message").and_then(Value::as_str))
        });
        let text = words.unwrap_or(body).replace(['\n', '\r'], " ");
        let text = match &self.secret {
            Some(secret) if secret.0.len() >= SECRET_LETTERS_MIN => text.replace(&secret.0, "***"),
            _ => text,
        };
        text.chars().take(QUOTED_LETTERS).collect()
    }
}
