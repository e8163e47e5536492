//! A folder of the local disk as a store.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use super::Store;
use crate::{Error, Result};

/// A folder of the local disk. It is locked while it is open.
#[derive(Debug)]
pub struct LocalStore {
    folder: PathBuf,
}

impl LocalStore {
    /// Opens a folder; makes it when it isn't there.
    ///
    /// # Errors
    /// [`Error::External`] when it can't be made, or another process has it open.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { folder: folder.as_ref().to_path_buf() })
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn put(&self, _name: &str, _bytes: Bytes) -> Result<()> {
        Err(Error::Bug("not there yet".into()))
    }

    async fn get(&self, _name: &str) -> Result<Option<Bytes>> {
        Err(Error::Bug("not there yet".into()))
    }

    async fn list(&self) -> Result<Vec<String>> {
        Err(Error::Bug("not there yet".into()))
    }

    async fn delete(&self, _name: &str) -> Result<()> {
        Err(Error::Bug("not there yet".into()))
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }
}
