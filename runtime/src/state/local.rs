//! A folder of the local disk as a store.
//!
//! - *Invariant:* a file is there wholly or not at all, after a crash of the machine too: it is
//!   written under another name, flushed to the disk and renamed, and the folder is flushed.
//! - *Invariant:* one process has the folder while it holds it. A lock that the system drops with
//!   the process says so.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Hold, Store};
use crate::{Error, Result, failpoint};

/// The file that is locked. Names of other files don't begin with a dot.
const LOCK: &str = ".lock";

/// What the names of files that are not whole begin with.
const UNFINISHED: &str = ".unfinished-";

/// A folder of the local disk.
#[derive(Clone, Debug)]
pub struct LocalStore {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Numbers the files that are not whole yet.
    unfinished: AtomicU64,
}

impl LocalStore {
    /// Opens a folder; makes it when it isn't there.
    ///
    /// # Errors
    /// [`Error::External`] when it can't be made.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let path = folder.as_ref().to_path_buf();
        std::fs::create_dir_all(&path).map_err(|error| failed("opened", &path, &error))?;
        Ok(Self { folder: Arc::new(Folder { path, unfinished: AtomicU64::new(0) }) })
    }

    /// Does something with a file's path, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        verb: &'static str,
        name: &str,
        work: impl FnOnce(&Folder, &Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        check_name(name)?;
        let (folder, path) = (self.folder.clone(), self.folder.path.join(name));
        let done = tokio::task::spawn_blocking(move || work(&folder, &path)).await;
        done.map_err(|error| {
            Error::Bug(format!("state file '{name}' could not be {verb}: {error}"))
        })?
    }
}

impl Folder {
    /// Locks the folder and removes what a crash left unfinished. `None` where another process has
    /// it.
    fn lock(&self) -> io::Result<Option<File>> {
        let lock = File::create(self.path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        for file in names(&self.path)? {
            if file.starts_with(UNFINISHED) {
                std::fs::remove_file(self.path.join(file))?;
            }
        }
        Ok(Some(lock))
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn hold(&self) -> Result<Option<Hold>> {
        let folder = self.folder.clone();
        let locked = tokio::task::spawn_blocking(move || {
            folder.lock().map_err(|error| failed("locked", &folder.path, &error))
        });
        let locked = locked.await.map_err(|error| Error::Bug(format!("locking: {error}")))??;
        Ok(locked.map(|lock| Hold { _lock: Some(lock) }))
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let put = move |folder: &Folder, path: &Path| {
            let failed = |error| failed("written", path, &error);
            failpoint::hit("state.put.before")?;
            let number = folder.unfinished.fetch_add(1, Ordering::Relaxed);
            let process = std::process::id();
            let unfinished = folder.path.join(format!("{UNFINISHED}{process}-{number}"));
            let written = write_durably(&unfinished, &bytes);
            if let Err(error) = written.and_then(|()| std::fs::rename(&unfinished, path)) {
                // It is removed when the folder is opened again, if it can't be now.
                let _ = std::fs::remove_file(&unfinished);
                return Err(failed(error));
            }
            failpoint::hit("state.put.renamed")?;
            flush_folder(&folder.path).map_err(failed)?;
            failpoint::hit("state.put.done")
        };
        self.with("written", name, put).await
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let get = |_: &Folder, path: &Path| match std::fs::read(path) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", path, &error)),
        };
        self.with("read", name, get).await
    }

    async fn list(&self) -> Result<Vec<String>> {
        let folder = self.folder.clone();
        let list =
            move || names(&folder.path).map_err(|error| failed("read", &folder.path, &error));
        let listed = tokio::task::spawn_blocking(list).await;
        let names = listed.map_err(|error| Error::Bug(format!("listing the state: {error}")))??;
        Ok(names.into_iter().filter(|name| check_name(name).is_ok()).collect())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let delete = |_: &Folder, path: &Path| match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failed("removed", path, &error))
            }
            _ => Ok(()),
        };
        self.with("removed", name, delete).await
    }

    fn place(&self) -> String {
        self.folder.path.display().to_string()
    }
}

/// Whether a name is one that a store takes, so that it can't lead out of the folder.
fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.chars().all(is_plain)
    {
        return Ok(());
    }
    Err(Error::State(format!(
        "'{name}' is not the name of a state file, which has letters, digits, '.', '_' and '-', and no leading dot; \
         --ignore-state starts over"
    )))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes names durable. Only Unix can, and needs to.
fn flush_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Error {
    let message = format!("'{}' could not be {verb}: {error}", path.display());
    // Too many open files, of this process or of all: others will be closed.
    const TOO_MANY_FILES: [i32; 2] = [24, 23];
    let is_out_of_files =
        cfg!(unix) && error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code));
    match error.kind() {
        ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::StorageFull => {
            Error::Transient(message)
        }
        _ if is_out_of_files => Error::Transient(message),
        _ => Error::External(message),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_come_back_as_they_were_put() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path().join("a/b")).unwrap();
        assert_eq!(store.get("x.state").await.unwrap(), None);
        store.put("x.state", Bytes::from_static(b"one")).await.unwrap();
        store.put("x.state", Bytes::from_static(b"two")).await.unwrap();
        store.put("y", Bytes::new()).await.unwrap();
        assert_eq!(store.get("x.state").await.unwrap().unwrap(), "two");
        let mut names = store.list().await.unwrap();
        names.sort();
        assert_eq!(names, ["x.state", "y"]);
        store.delete("y").await.unwrap();
        store.delete("y").await.unwrap();
        assert_eq!(store.list().await.unwrap(), ["x.state"]);
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path()).unwrap();
        for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", ".lock", "a\\b", "a\0", "é"] {
            assert!(matches!(store.put(name, Bytes::new()).await, Err(Error::State(_))), "{name}");
            assert!(store.get(name).await.is_err() && store.delete(name).await.is_err());
        }
    }

    #[tokio::test]
    async fn one_process_has_the_folder_and_what_was_unfinished_goes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".unfinished-7"), "half").unwrap();
        let store = LocalStore::open(folder.path()).unwrap();
        let hold = store.hold().await.unwrap();
        assert!(hold.is_some() && !folder.path().join(".unfinished-7").exists());
        let other = LocalStore::open(folder.path()).unwrap();
        assert!(other.hold().await.unwrap().is_none());
        drop(hold);
        assert!(other.hold().await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_can_not_be_written_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        let error = store.put("taken", Bytes::from_static(b"x")).await.unwrap_err();
        assert!(matches!(&error, Error::External(why) if why.contains("taken")), "{error}");
        let left = names(folder.path()).unwrap();
        assert!(!left.iter().any(|name| name.starts_with(UNFINISHED)), "{left:?}");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(LocalStore::open(file).is_err());
    }
}
