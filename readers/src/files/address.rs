//! Addresses of files in object stores and on the web, and the clients that reach them.
//!
//! - *Invariant:* credentials come from the environment (`AWS_ACCESS_KEY_ID`, `AZURE_STORAGE_…`,
//!   `GOOGLE_…`) or from the caller, never from the address, and appear in no message.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::error::{Error, Result};

/// How often a client repeats a request by itself.
const RETRIES_MAX: usize = 4;
/// How long it goes on repeating.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    S3,
    Google,
    Azure,
    Web,
}

/// An address, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    /// What all files of the store begin with, such as `s3://bucket/`.
    pub(super) root: String,
    /// What follows. Of a store it is the key as it was written, of the web it is decoded.
    pub(super) key: String,
    url: Url,
}

impl Address {
    /// Takes an address apart.
    ///
    /// # Errors
    /// One that can't be understood, of another kind, or with a password in it.
    pub(super) fn parse(name: &str) -> Result<Self> {
        let (scheme, rest) = name.split_once("://").unwrap_or_default();
        let shown = shown(name);
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "s3" | "s3a" => Scheme::S3,
            "gs" | "gcs" => Scheme::Google,
            "az" | "azure" | "abfs" | "abfss" | "adl" => Scheme::Azure,
            "http" | "https" => Scheme::Web,
            _ => {
                return Err(Error::Option(format!(
                    "'{shown}' begins with {scheme}://; files must be paths or begin with s3://, gs://, az://, abfs://, https:// or http://"
                )));
            }
        };
        let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains(':') && host.contains('@') {
            return Err(Error::Option(format!(
                "'{shown}' has a password in it; credentials are read from the environment"
            )));
        }
        let wrong = || Error::Option(format!("'{shown}' is not an address: {}", example(kind)));
        if host.is_empty() {
            return Err(wrong());
        }
        // Letters of keys and patterns, such as `?` and `#`, mean other things in a URL.
        let address = if kind == Scheme::Web { name } else { &format!("{scheme}://{host}") };
        let url = Url::parse(address).map_err(|_| wrong())?;
        let key = match kind {
            Scheme::Web => {
                let path = Path::from_url_path(url.path()).map_err(|_| wrong())?;
                path.to_string()
            }
            _ => key.to_string(),
        };
        Ok(Self { scheme: kind, root: format!("{scheme}://{host}/"), key, url })
    }

    /// The client of the store, with options by the names that sinks use (`endpoint`, `region` …)
    /// in place of the environment's.
    ///
    /// # Errors
    /// Options or an environment that can't be.
    pub(super) fn client(
        &self,
        option: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Arc<dyn ObjectStore>> {
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
            backoff: BackoffConfig::default(),
        };
        let client = ClientOptions::new()
            .with_timeout(REQUEST_TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT);
        let built: object_store::Result<Arc<dyn ObjectStore>> = match self.scheme {
            Scheme::S3 => self.s3(option, client).with_retry(retry).build().map(shared),
            Scheme::Google => GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(self.url.host_str().unwrap_or_default())
                .with_retry(retry)
                .with_client_options(client)
                .build()
                .map(shared),
            Scheme::Azure => {
                let mut builder =
                    MicrosoftAzureBuilder::from_env().with_retry(retry).with_client_options(client);
                if let Some(endpoint) = builder.get_config_value(&AzureConfigKey::Endpoint) {
                    builder = builder.with_allow_http(endpoint.starts_with("http://"));
                }
                builder.with_url(self.url.as_str()).build().map(shared)
            }
            Scheme::Web => {
                let mut root = self.url.clone();
                root.set_path("/");
                root.set_fragment(None);
                let client = client.with_allow_http(root.scheme() == "http");
                HttpBuilder::new()
                    .with_url(root.as_str())
                    .with_retry(retry)
                    .with_client_options(client)
                    .build()
                    .map(shared)
            }
        };
        built.map_err(|error| Error::Option(format!("{}: {}", self.root, one_line(&error))))
    }

    fn s3(
        &self,
        option: &dyn Fn(&str) -> Option<String>,
        client: ClientOptions,
    ) -> AmazonS3Builder {
        // The client's options come first: they would take back that an endpoint may be http.
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(client)
            .with_bucket_name(self.url.host_str().unwrap_or_default());
        for (name, key) in [
            ("endpoint", AmazonS3ConfigKey::Endpoint),
            ("region", AmazonS3ConfigKey::Region),
            ("access_key_id", AmazonS3ConfigKey::AccessKeyId),
            ("secret_access_key", AmazonS3ConfigKey::SecretAccessKey),
            ("session_token", AmazonS3ConfigKey::Token),
        ] {
            if let Some(value) = option(name) {
                builder = builder.with_config(key, value);
            }
        }
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        match endpoint {
            Some(endpoint) if endpoint.starts_with("http://") => builder.with_allow_http(true),
            _ => builder,
        }
    }

    /// The file with that key, as the user would write it.
    pub(super) fn name_of(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }
}

fn shared(store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    Arc::new(store)
}

fn example(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::S3 => "s3://bucket/key",
        Scheme::Google => "gs://bucket/key",
        Scheme::Azure => "az://container/key",
        Scheme::Web => "https://host/path",
    }
}

/// What is behind an address, for who reads and writes there.
#[derive(Debug)]
pub struct Located {
    /// The client of the store.
    pub client: Arc<dyn ObjectStore>,
    /// What all addresses of the store begin with, such as `s3://bucket/`.
    pub root: String,
    /// What follows, as it was written.
    pub key: String,
}

/// What is behind an address. Options are asked for by the names that sinks use; what isn't given
/// comes from the environment.
///
/// # Errors
/// [`Error::Option`] for an address or options that can't be.
pub fn store_of(address: &str, option: &dyn Fn(&str) -> Option<String>) -> Result<Located> {
    let address = Address::parse(address)?;
    let client = address.client(option)?;
    Ok(Located { client, root: address.root, key: address.key })
}

/// An address without what may be secret: a user with a password, and what follows a `?`.
pub fn shown(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_string() };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = match host.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => host,
        _ => host,
    };
    let path = match scheme {
        "http" | "https" => path.split(['?', '#']).next().unwrap_or_default(),
        _ => path,
    };
    format!("{scheme}://{host}{path}")
}

/// An error of a client, whose text has line breaks, the whole answer of the server, and addresses
/// with what may be secret.
pub fn one_line(error: &object_store::Error) -> String {
    const LETTERS_MAX: usize = 300;
    let text = error.to_string();
    if let Some(missing) = missing_credentials(&text) {
        return missing.into();
    }
    let words = text.split_whitespace().map(|word| match word.contains("://") {
        true => word.split('?').next().unwrap_or_default(),
        false => word,
    });
    words.collect::<Vec<_>>().join(" ").chars().take(LETTERS_MAX).collect()
}

/// What to set, where a client found no credentials and asked the machine it runs on for some, as
/// only machines of a cloud have them.
fn missing_credentials(error: &str) -> Option<&'static str> {
    const METADATA: &[&str] = &["169.254.169.254", "169.254.170.2", "metadata.google.internal"];
    let asked = METADATA.iter().any(|host| error.contains(host));
    let kind = error.split_whitespace().nth(1).unwrap_or_default();
    match kind {
        "S3" if asked => Some(
            "there are no credentials; set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (and AWS_ENDPOINT_URL for a \
             store other than Amazon's), or AWS_SKIP_SIGNATURE=true for a public bucket",
        ),
        "GCS" if asked => Some(
            "there are no credentials; set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account, or \
             GOOGLE_SKIP_SIGNATURE=true for a public bucket",
        ),
        "MicrosoftAzure" if asked || error.contains("Account must be specified") => Some(
            "there are no credentials; set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use object_store::{Error as StoreError, ObjectStoreExt};

    use super::*;

    #[test]
    fn an_endpoint_without_tls_is_reached() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", server.local_addr().expect("an address"));
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("a request");
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).expect("read");
            let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).expect("answered");
            String::from_utf8_lossy(&bytes[..read]).into_owned()
        });
        let option = |name: &str| match name {
            "endpoint" => Some(endpoint.clone()),
            "region" | "access_key_id" | "secret_access_key" => Some("x".to_string()),
            _ => None,
        };
        let address = Address::parse("s3://bucket/a.csv").expect("an address");
        let store = address.client(&option).expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let key = object_store::path::Path::from("a.csv");
        let found = runtime.expect("a runtime").block_on(async { store.head(&key).await });
        assert!(matches!(found, Err(StoreError::NotFound { .. })), "{found:?}");
        let asked = asked.join().expect("asked");
        assert!(asked.starts_with("HEAD /bucket/a.csv "), "{asked}");
    }

    #[test]
    fn addresses_are_taken_apart() {
        let parts = |name: &str| {
            let address = Address::parse(name).expect(name);
            (address.scheme, address.root, address.key)
        };
        let parts_of = |scheme, root: &str, key: &str| (scheme, root.to_string(), key.to_string());
        assert_eq!(
            parts("s3://b/a b/x%20[1]?.csv"),
            parts_of(Scheme::S3, "s3://b/", "a b/x%20[1]?.csv")
        );
        assert_eq!(parts("gs://b"), parts_of(Scheme::Google, "gs://b/", ""));
        assert_eq!(
            parts("https://h:81/a%20b/c.csv?x=1"),
            parts_of(Scheme::Web, "https://h:81/", "a b/c.csv")
        );
        assert_eq!(
            parts("abfs://box@account.dfs.core.windows.net/k"),
            parts_of(Scheme::Azure, "abfs://box@account.dfs.core.windows.net/", "k")
        );
        for wrong in ["ftp://h/x.csv", "s3://", "s3:///x", "https://"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn missing_credentials_are_said_with_what_to_set() {
        let failed = |store: &'static str, text: &str| {
            one_line(&StoreError::Generic { store, source: text.to_string().into() })
        };
        let asked = "Error performing PUT http://169.254.169.254/latest/api/token in 2 s";
        assert!(failed("S3", asked).contains("set AWS_ACCESS_KEY_ID"), "{}", failed("S3", asked));
        assert!(failed("GCS", asked).contains("set GOOGLE_APPLICATION_CREDENTIALS"));
        let account = "Account must be specified";
        assert!(failed("MicrosoftAzure", account).contains("set AZURE_STORAGE_ACCOUNT_NAME"));
        assert_eq!(failed("S3", "refused"), "Generic S3 error: refused");
    }

    #[test]
    fn secrets_are_not_shown() {
        let error = Address::parse("s3://AK:SECRET@bucket/x").expect_err("a password").to_string();
        assert!(error.contains("environment") && !error.contains("SECRET"), "{error}");
        assert_eq!(shown("https://u:SECRET@h/p/x.csv?sig=SECRET#f"), "https://h/p/x.csv");
        assert_eq!(shown("s3://b/what?.csv"), "s3://b/what?.csv");
        assert_eq!(shown("a/b.csv"), "a/b.csv");
    }
}
