//! A name and the files that it means.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path as StorePath;

use super::hive::Folder;
use super::names::Format;
use super::store::{self, StoredFile};
use super::{glob, local};
use crate::error::Result;
use crate::open::{LocalFile, Open};

/// The folder of an unfinished run of `sembla embed` ends with this; its files are never input.
pub const PARTIAL: &str = ".partial";

/// Files that one name may mean.
pub(super) const FILES_MAX: usize = 1_000_000;
/// Folders within each other that are gone into. Links that lead back up end here.
pub(super) const DEPTH_MAX: usize = 64;

/// A file to read.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// Its path or address, as the user would write it; without anything secret.
    pub name: String,
    /// Where its bytes are.
    pub place: Place,
    /// What it holds.
    pub format: Format,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last written, in nanoseconds since 1970; 0 where nobody knows.
    pub modified_ns: u64,
    /// The columns that its folders give (`key=value/`), outermost first.
    pub folders: Vec<Folder>,
}

/// Where the bytes of a file are.
#[derive(Clone)]
pub enum Place {
    /// On this machine.
    Local(PathBuf),
    /// In an object store.
    Stored {
        /// The store, which has one bucket, container or host.
        store: Arc<dyn ObjectStore>,
        /// The file in it.
        path: StorePath,
    },
}

impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(out, "{}", path.display()),
            Self::Stored { path, .. } => write!(out, "{path}"),
        }
    }
}

impl DataFile {
    /// The file as something that can be opened. Reads block; those of a store must not be made
    /// from asynchronous code.
    pub fn open(&self) -> Arc<dyn Open> {
        match &self.place {
            Place::Local(path) => Arc::new(LocalFile::new(path)),
            Place::Stored { store, path } => Arc::new(StoredFile::new(
                self.name.clone(),
                Arc::clone(store),
                path.clone(),
                self.bytes,
            )),
        }
    }
}

/// The files that a name means, by their whole paths.
///
/// The name is a path, a folder (with all folders below it), a pattern with `*`, `?`, `[…]`,
/// `{a,b}` or `**`, or an address that begins with `s3://`, `gs://`, `az://`, `abfs://`,
/// `https://`, `http://` or `file://`. A name that exists is meant literally, whatever letters it
/// has. In folders and patterns, names that begin with `.` or `_`, unfinished runs
/// ([`PARTIAL`]) and files of other formats are passed over, unless the pattern spells out the
/// first letter. A file that is named explicitly is read under any name, if `format` says what it
/// holds or its ending does. An empty folder means no files.
///
/// # Errors
/// [`Error::Option`](crate::Error::Option) when nothing is there, or nothing whose format is known;
/// [`Error::Io`](crate::Error::Io) when the disk or the store fails.
pub fn list(name: &str, format: Option<Format>) -> Result<Vec<DataFile>> {
    let mut files = match store::local_path_of(name)? {
        Some(path) => local::list(&path, format)?,
        None => store::list(name, format)?,
    };
    files.sort_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
    files.dedup_by(|one, other| one.name == other.name);
    Ok(files)
}

/// The files that a name means, whatever they hold; of a folder or a pattern those whose name
/// `is_wanted`. Names mean what they mean to [`list`].
///
/// # Errors
/// As for [`list`], but for formats; no wanted file in a folder means no files.
pub fn blobs(name: &str, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Arc<dyn Open>>> {
    let mut files: Vec<Arc<dyn Open>> = Vec::new();
    match store::local_path_of(name)? {
        Some(path) => {
            for path in local::paths(&path, is_wanted)? {
                files.push(Arc::new(LocalFile::new(path)));
            }
        }
        None => {
            for file in store::blobs(name, is_wanted)? {
                files.push(Arc::new(file));
            }
        }
    }
    files.sort_by(|one, other| one.name().as_bytes().cmp(other.name().as_bytes()));
    Ok(files)
}

/// Whether a part of a path is passed over in folders and patterns.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_']) || name.ends_with(PARTIAL)
}

/// Whether a part of a pattern fits a name; a hidden one only where the pattern spells out its
/// first letter.
pub(super) fn part_fits(pattern: &str, name: &str) -> bool {
    let is_meant = match name.ends_with(PARTIAL) {
        true => pattern.ends_with(PARTIAL),
        false => pattern.chars().next() == name.chars().next(),
    };
    (is_meant || !is_hidden(name)) && glob::fits(pattern, name)
}
