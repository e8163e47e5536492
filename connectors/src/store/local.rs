//! A folder on this machine.
//!
//! - *Invariant:* a file is written under another name, synced, then renamed (or linked, where it
//!   must be new), and the folder is synced. So it is whole after a crash or a loss of power.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use sembla_runtime::{Error, Result};

use super::{Folder, checked};

/// The folder of files that are being written. Who has the folder for itself may empty it.
const UNFINISHED: &str = "_pending";

/// A folder of the file system. It is made when something is put.
pub(super) struct LocalFolder {
    root: PathBuf,
}

impl LocalFolder {
    /// The folder at that path.
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> Result<PathBuf> {
        Ok(self.root.join(checked(path)?))
    }

    /// Runs file work on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::Bug(format!("file operation failed: {error}")))?
    }
}

#[async_trait]
impl Folder for LocalFolder {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let (root, path) = (self.root.clone(), self.path(path)?);
        self.blocking(move || {
            let unfinished = write_unfinished(&root, &bytes)?;
            make_folder_of(&path)?;
            fs::rename(&unfinished, &path).map_err(|error| failed(&path, &error))?;
            sync_folder(&path)
        })
        .await
    }

    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<bool> {
        let (root, path) = (self.root.clone(), self.path(path)?);
        self.blocking(move || {
            let unfinished = write_unfinished(&root, &bytes)?;
            make_folder_of(&path)?;
            let linked = fs::hard_link(&unfinished, &path);
            fs::remove_file(&unfinished).map_err(|error| failed(&unfinished, &error))?;
            match linked {
                Ok(()) => sync_folder(&path).map(|()| true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(failed(&path, &error)),
            }
        })
        .await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let path = self.path(path)?;
        self.blocking(move || match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, &error)),
        })
        .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let root = self.root.clone();
        let from = if folder.is_empty() { root.clone() } else { self.path(folder)? };
        self.blocking(move || {
            let mut found = Vec::new();
            let mut folders = vec![from];
            while let Some(folder) = folders.pop() {
                let entries = match fs::read_dir(&folder) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(&folder, &error)),
                };
                for entry in entries {
                    let entry = entry.map_err(|error| failed(&folder, &error))?;
                    let path = entry.path();
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        folders.push(path);
                    } else if let Ok(relative) = path.strip_prefix(&root) {
                        found.push(relative.to_string_lossy().replace('\\', "/"));
                    }
                }
            }
            found.sort_unstable();
            Ok(found)
        })
        .await
    }

    async fn has(&self, path: &str) -> Result<bool> {
        let path = self.path(path)?;
        self.blocking(move || path.try_exists().map_err(|error| failed(&path, &error))).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let path = self.path(path)?;
        self.blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, &error)),
            _ => Ok(()),
        })
        .await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        self.blocking(move || {
            make_folder_of(&to)?;
            fs::rename(&from, &to).map_err(|error| failed(&to, &error))?;
            sync_folder(&to)
        })
        .await
    }

    fn shown(&self, path: &str) -> String {
        self.root.join(path).display().to_string()
    }
}

/// Whether the folder can be written, or else the nearest one above it that is there. No folder is
/// made for the try: others may be making the same ones, and would lose them when it is removed.
///
/// # Errors
/// That of the try.
pub(super) async fn check_writable(root: PathBuf) -> Result<()> {
    let work = move || {
        let is_there = |path: &&Path| !path.as_os_str().is_empty() && path.exists();
        let nearest = root.ancestors().find(is_there).unwrap_or(Path::new("."));
        let probe = nearest.join(format!(".sembla-{}", std::process::id()));
        let written = File::create(&probe);
        // What can't be removed could not be written either.
        let _ = fs::remove_file(&probe);
        written.map(|_| ()).map_err(|error| failed(&root, &error))
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Bug(format!("file operation failed: {error}")))?
}

/// Writes and syncs under a name that nobody else has.
fn write_unfinished(root: &Path, bytes: &[u8]) -> Result<PathBuf> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let unfinished = root.join(UNFINISHED).join(format!(".{}-{number}", std::process::id()));
    make_folder_of(&unfinished)?;
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // What is left of it is in nobody's way, and the disk has just failed.
        let _ = fs::remove_file(&unfinished);
        return Err(failed(&unfinished, &error));
    }
    Ok(unfinished)
}

fn make_folder_of(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(|error| failed(folder, &error)),
        None => Ok(()),
    }
}

/// Makes names durable.
fn sync_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, &error))
}

/// A full disk may have room later; a folder without access won't open by itself.
fn failed(path: &Path, error: &std::io::Error) -> Error {
    let line = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::Interrupted
        | ErrorKind::TimedOut => Error::Transient(line),
        _ => Error::External(line),
    }
}
