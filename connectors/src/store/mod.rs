//! Folders, on this machine or in an object store, behind one trait; and the runtime's store of
//! state over an object store.
//!
//! - *Invariant:* what was put is durable and whole, or it isn't there.
//! - *Invariant:* credentials come from options or the environment, and appear in no message.
//! - *Absent:* what the files are.

mod local;
mod object;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sembla_runtime::state::{LocalStore, Store};
use sembla_runtime::{Error, Result};

use crate::options::{Kind, OptionDef, Options, without_credentials};
use local::LocalFolder;
use object::ObjectFolder;

/// The options of a place that may lie in an object store, to be put beside those of a connector.
/// What isn't given comes from the environment: `AWS_REGION`, `AWS_ACCESS_KEY_ID` and so on.
pub const STORE_OPTIONS: &[OptionDef] = &[
    OptionDef::new("endpoint", Kind::Text, "endpoint of an S3-compatible store"),
    OptionDef::new("region", Kind::Text, "region of the bucket"),
    OptionDef::new("access_key_id", Kind::Text, "id of the access key").secret(),
    OptionDef::new("secret_access_key", Kind::Text, "the key").secret(),
    OptionDef::new("session_token", Kind::Text, "session token of temporary credentials").secret(),
];

/// A folder with files in it and below it. Paths are relative, with `/` between segments, and no
/// segment is empty, `.` or `..`.
#[async_trait]
pub(crate) trait Folder: Send + Sync {
    /// Writes a file, in place of one that is there.
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()>;

    /// Writes a file unless one is there; says whether it was written.
    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<bool>;

    /// The content of a file; `None` where there is none.
    async fn get(&self, path: &str) -> Result<Option<Bytes>>;

    /// The paths of the files in a folder and below it, sorted.
    async fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// Whether a file is there.
    async fn has(&self, path: &str) -> Result<bool>;

    /// Removes a file; fine where there is none.
    async fn delete(&self, path: &str) -> Result<()>;

    /// Gives a file another path, in place of one that is there. In an object store that is a copy;
    /// a break in the middle leaves both.
    async fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// A path as a person would write it.
    fn shown(&self, path: &str) -> String;
}

/// The folder at a path or address.
///
/// # Errors
/// [`Error::Option`] for an address of an unknown kind.
pub(crate) fn open_folder(location: &str, options: &Options) -> Result<Arc<dyn Folder>> {
    refuse_credentials(location)?;
    Ok(match location.split_once("://") {
        None => Arc::new(LocalFolder::new(location)),
        Some(("file", path)) => Arc::new(LocalFolder::new(path)),
        Some(("s3", _)) => Arc::new(ObjectFolder::s3(location, options)?),
        Some(_) => {
            return Err(Error::Option(format!("'{location}' must be a path or begin with s3://")));
        }
    })
}

/// Rejects an address with credentials in it: they would be part of the bucket's name, and of every
/// message.
fn refuse_credentials(location: &str) -> Result<()> {
    let shown = without_credentials(location);
    match shown == location {
        true => Ok(()),
        false => Err(Error::Option(format!(
            "'{shown}' contains credentials; give them as access_key_id and secret_access_key, or as \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        ))),
    }
}

/// The store of state at a path (`state/`) or address (`s3://bucket/prefix`), with the options of
/// [`STORE_OPTIONS`].
///
/// ```
/// use sembla_connectors::options::Options;
/// use sembla_connectors::store::{STORE_OPTIONS, open_store};
///
/// let folder = tempfile::tempdir().expect("a folder");
/// let options = Options::read("a store", STORE_OPTIONS, &[])?;
/// let store = open_store(&folder.path().display().to_string(), &options)?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// let names = runtime.block_on(async {
///     store.put("epoch-1", "state".into()).await?;
///     store.list().await
/// })?;
/// assert_eq!(names, ["epoch-1"]);
/// # Ok::<(), sembla_runtime::Error>(())
/// ```
///
/// # Errors
/// [`Error::Option`] for an address of an unknown kind, or when the folder can't be made.
pub fn open_store(location: &str, options: &Options) -> Result<Arc<dyn Store>> {
    match location.strip_prefix("file://").unwrap_or(location) {
        path if !path.contains("://") => Ok(Arc::new(LocalStore::open(path)?)),
        _ => Ok(Arc::new(FolderStore { folder: open_folder(location, options)? })),
    }
}

/// What is wrong with a place that is to be written to, asked within about this time: an object
/// store that does not answer, a folder that can't be made or written. It is left as it was.
///
/// # Errors
/// That of the place, and [`Error::Transient`] where it does not answer in time.
pub async fn check_place(location: &str, options: &Options, within: Duration) -> Result<()> {
    match location.strip_prefix("file://").unwrap_or(location) {
        path if !path.contains("://") => local::check_writable(path.into()).await,
        _ => {
            let folder = open_folder(location, options)?;
            match tokio::time::timeout(within, folder.list("")).await {
                Ok(listed) => listed.map(|_| ()),
                Err(_) => Err(Error::Transient(format!(
                    "{} does not answer within {within:?}; check the endpoint, the region and the network",
                    folder.shown("")
                ))),
            }
        }
    }
}

/// A store of state in any folder.
struct FolderStore {
    folder: Arc<dyn Folder>,
}

#[async_trait]
impl Store for FolderStore {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.folder.put(name, bytes).await
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        self.folder.get(name).await
    }

    async fn list(&self) -> Result<Vec<String>> {
        let mut names = self.folder.list("").await?;
        names.retain(|name| !name.contains('/'));
        Ok(names)
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.folder.delete(name).await
    }

    fn place(&self) -> String {
        self.folder.shown("")
    }
}

/// A path that can't leave its folder.
///
/// # Errors
/// [`Error::Bug`] for one that could.
fn checked(path: &str) -> Result<&str> {
    let is_fine = path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
        && !path.contains(['\\', '\0']);
    if is_fine {
        Ok(path)
    } else {
        Err(Error::Bug(format!("'{path}' is not a path inside a folder")))
    }
}

#[cfg(test)]
mod tests;
