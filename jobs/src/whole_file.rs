//! Files that are either whole or not there: written under another name, brought to disk, renamed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::failure::{Failure, Result};

/// What the name of a file ends with while it is written.
const UNFINISHED: &str = ".tmp";

/// The files that this process is writing, under the names that they have meanwhile.
static UNFINISHED_FILES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The claim on a file that is being written under another name. Dropped before its end, the file
/// goes; so it does when a signal ends the process.
#[derive(Debug)]
pub struct Unfinished {
    /// The name that it gets.
    path: PathBuf,
    /// The name that it has.
    temporary: PathBuf,
}

impl Unfinished {
    /// Creates the file that will be at `path`, in a folder of the user: under a name that nobody
    /// else has, and that no reader of the folder takes for data.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create(path: &Path) -> Result<(Self, File)> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let hidden = format!(".{name}.sembla-{}{UNFINISHED}", std::process::id());
        Self::at(path, path.with_file_name(hidden))
    }

    fn at(path: &Path, temporary: PathBuf) -> Result<(Self, File)> {
        let file = File::create(&temporary).map_err(|error| Failure::file(path, &error))?;
        registered().insert(temporary.clone());
        Ok((Self { path: path.to_path_buf(), temporary }, file))
    }

    /// Gives the written file its name, once it is on disk.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn finish(self, file: &File) -> Result<()> {
        renamed(file, &self.temporary, &self.path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // A finished file has another name. One that stays is a file that nobody reads.
        let _ = fs::remove_file(&self.temporary);
        registered().remove(&self.temporary);
    }
}

fn registered() -> std::sync::MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the files that are being written, when the process ends before they are whole.
pub fn remove_unfinished() {
    for path in std::mem::take(&mut *registered()) {
        // The process ends; there is nobody to tell.
        let _ = fs::remove_file(path);
    }
}

/// Writes a file under another name, makes sure that it is on disk, and gives it its name.
///
/// # Errors
/// Those of `write` and of the disk.
///
/// # Examples
/// ```
/// use std::io::Write;
///
/// use sembla_jobs::Failure;
/// use sembla_jobs::whole_file::write_whole;
///
/// # fn main() -> Result<(), Failure> {
/// # let failed = |error: std::io::Error| Failure::other(error.to_string());
/// let folder = tempfile::tempdir().map_err(failed)?;
/// let path = folder.path().join("result.txt");
/// // A reader sees nothing of the file before it is complete.
/// write_whole(&path, |file| file.write_all(b"done").map_err(failed))?;
/// assert_eq!(std::fs::read(&path).map_err(failed)?, b"done");
/// # Ok(())
/// # }
/// ```
pub fn write_whole<T>(path: &Path, write: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    written(Unfinished::create(path)?, write)
}

/// The same in a folder of ours: what a kill leaves behind has one name, and the next try replaces
/// it.
///
/// # Errors
/// As [`write_whole`].
pub fn write_whole_in_work<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    written(Unfinished::at(path, unfinished(path))?, write)
}

fn written<T>(
    (unfinished, mut file): (Unfinished, File),
    write: impl FnOnce(&mut File) -> Result<T>,
) -> Result<T> {
    let result = write(&mut file)?;
    unfinished.finish(&file)?;
    Ok(result)
}

/// Gives a file that was written as [`unfinished`] its name, once it is on disk.
///
/// # Errors
/// Those of the disk.
pub fn finish(file: &File, path: &Path) -> Result<()> {
    renamed(file, &unfinished(path), path)
}

fn renamed(file: &File, temporary: &Path, path: &Path) -> Result<()> {
    let fail = |error: std::io::Error| Failure::file(path, &error);
    file.sync_all().map_err(fail)?;
    fs::rename(temporary, path).map_err(fail)?;
    sync_parent(path)
}

/// The name of a file in a folder of ours while it is written.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(UNFINISHED);
    path.with_file_name(name)
}

/// The folder that holds `path`.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Looks whether a folder can be written to, before hours of work.
///
/// # Errors
/// The folder and the system's reason.
pub fn check_writable(folder: &Path) -> Result<()> {
    let probe = folder.join(format!(".sembla-{}.probe", std::process::id()));
    let fail = |error| Failure::file(folder, &error).context("can't be written to");
    File::create(&probe).map_err(fail)?;
    fs::remove_file(&probe).map_err(fail)
}

/// Makes sure that a rename is on disk.
///
/// # Errors
/// Those of the disk.
pub fn sync_parent(path: &Path) -> Result<()> {
    let parent = parent(path);
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Failure::file(parent, &error))
}

/// Whether a file may be written at `path`.
///
/// # Errors
/// When its folder is not there, a folder has its name, or a file has it and `overwrite` is not
/// set.
pub fn check(path: &Path, overwrite: bool) -> Result<()> {
    let shown = path.display();
    if !parent(path).is_dir() {
        return Err(Failure::user(format!("the folder of the output {shown} does not exist")));
    }
    if path.is_dir() {
        return Err(Failure::user(format!("the output {shown} is a folder, not a file")));
    }
    if path.exists() && !overwrite {
        return Err(Failure::user(format!(
            "the output {shown} already exists; --overwrite replaces it"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_finished_goes_and_no_other_is_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.csv");
        let others = folder.path().join("out.csv.tmp");
        fs::write(&others, "a file of the user").expect("written");
        let failed: Result<()> = write_whole(&path, |_| Err(Failure::other("the query failed")));
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        write_whole(&path, |_| Ok(())).expect("written");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
        assert_eq!(fs::read(&others).expect("a file"), b"a file of the user");
    }
}
