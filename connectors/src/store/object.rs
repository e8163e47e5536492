//! A folder in an object store: the objects whose keys begin with a prefix.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use sembla_readers::files::store::{one_line, store_of};
use sembla_runtime::{Error, Result};

use super::{Folder, checked};
use crate::options::Options;

/// What a server rejects for good, by a word of its answer, and what to do about it.
const REFUSALS: &[(&str, &str)] = &[
    ("NoSuchBucket", "the bucket does not exist; create it, or check its name and the endpoint"),
    ("InvalidAccessKeyId", "the store does not know the key; check access_key_id"),
    ("SignatureDoesNotMatch", "the signature is wrong; check secret_access_key"),
    ("InvalidToken", "the session token is wrong or has expired; check session_token"),
    ("ExpiredToken", "the session token has expired; give another session_token"),
    (
        "AccessDenied",
        "the key has no access; allow it to list, read, write and delete objects there",
    ),
    ("RequestTimeTooSkewed", "the clock of this machine is off by minutes; set it"),
    ("AuthorizationHeaderMalformed", "the region is wrong; check region"),
    ("PermanentRedirect", "the bucket is in another region or at another endpoint; check both"),
    ("incorrectly configured region", "the bucket is in another region; check region"),
];

/// Objects below a prefix.
pub(super) struct ObjectFolder {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// `s3://bucket`, for messages.
    bucket: String,
}

impl ObjectFolder {
    /// The folder `s3://bucket/prefix`.
    ///
    /// # Errors
    /// [`Error::Option`] for an address without a bucket, or options that can't be.
    pub(super) fn s3(location: &str, options: &Options) -> Result<Self> {
        let given = |name: &str| options.find_text(name).map(str::to_string);
        let located =
            store_of(location, &given).map_err(|error| Error::Option(error.to_string()))?;
        Ok(Self {
            store: located.client,
            prefix: located.key.trim_matches('/').to_string(),
            bucket: located.root.trim_end_matches('/').to_string(),
        })
    }

    fn key(&self, path: &str) -> String {
        match (self.prefix.as_str(), path) {
            (prefix, "") => prefix.to_string(),
            ("", path) => path.to_string(),
            (prefix, path) => format!("{prefix}/{path}"),
        }
    }

    fn path(&self, path: &str) -> Result<Path> {
        let key = self.key(checked(path)?);
        Path::parse(&key).map_err(|error| Error::External(format!("{}: {error}", self.shown(path))))
    }

    fn failed(&self, path: &str, error: &object_store::Error) -> Error {
        let answer = error.to_string();
        if let Some((code, advice)) = REFUSALS.iter().find(|(code, _)| answer.contains(code)) {
            return Error::External(format!("{}: {advice} ({code})", self.shown(path)));
        }
        let line = format!("{}: {}", self.shown(path), one_line(error));
        match error {
            object_store::Error::Generic { .. } | object_store::Error::JoinError { .. } => {
                Error::Transient(line)
            }
            _ => Error::External(line),
        }
    }
}

#[async_trait]
impl Folder for ObjectFolder {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let put = self.store.put(&self.path(path)?, bytes.into()).await;
        put.map(|_| ()).map_err(|error| self.failed(path, &error))
    }

    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.path(path)?, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let found = match self.store.get(&self.path(path)?).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match found {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let key = self.key(folder);
        let prefix = Path::parse(&key)
            .map_err(|error| Error::External(format!("{}: {error}", self.shown(folder))))?;
        let listed = self.store.list(Some(&prefix)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| self.failed(folder, &error))?;
        let skipped = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let names = listed.iter().filter_map(|object| object.location.as_ref().get(skipped..));
        let mut names: Vec<_> = names.map(str::to_string).collect();
        names.sort_unstable();
        Ok(names)
    }

    async fn has(&self, path: &str) -> Result<bool> {
        match self.store.head(&self.path(path)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        match self.store.delete(&self.path(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (source, target) = (self.path(from)?, self.path(to)?);
        self.store.copy(&source, &target).await.map_err(|error| self.failed(from, &error))?;
        self.delete(from).await
    }

    fn shown(&self, path: &str) -> String {
        format!("{}/{}", self.bucket, self.key(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pipeline ends at once then, in one line, instead of trying again for minutes.
    #[test]
    fn what_a_server_refuses_for_good_is_no_passing_failure() {
        let options = Options::read("a place", crate::store::STORE_OPTIONS, &[]).expect("options");
        let folder = ObjectFolder::s3("s3://reports/daily", &options).expect("a folder");
        let answer = |text: &str| {
            let source =
                format!("404 Not Found:\n<?xml version=\"1.0\"?>\n<Code>{text}</Code>").into();
            folder.failed("part", &object_store::Error::Generic { store: "S3", source })
        };
        for (code, advice) in REFUSALS {
            let error = answer(code);
            assert!(matches!(error, Error::External(_)), "{error:?}");
            let line = format!("s3://reports/daily/part: {advice} ({code})");
            assert_eq!(error.to_string(), line);
        }
        assert!(answer("SlowDown").is_transient());
    }
}
