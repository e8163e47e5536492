//! Files that are either whole or not there: written under another name, brought to disk, renamed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// What the name of a file ends with while it is written.
const UNFINISHED: &str = ".tmp";

/// Writes a file under another name, makes sure that it is on disk, and gives it its name.
///
/// # Errors
/// Those of `write` and of the disk.
pub(crate) fn write_whole<T>(path: &Path, write: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let mut file = File::create(unfinished(path)).map_err(|error| Failure::file(path, &error))?;
    let result = write(&mut file)?;
    finish(&file, path)?;
    Ok(result)
}

/// Gives a written file its name, once it is on disk.
///
/// # Errors
/// Those of the disk.
pub(crate) fn finish(file: &File, path: &Path) -> Result<()> {
    let fail = |error: std::io::Error| Failure::file(path, &error);
    file.sync_all().map_err(fail)?;
    fs::rename(unfinished(path), path).map_err(fail)?;
    sync_parent(path)
}

/// The name of the file at `path` while it is written.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(UNFINISHED);
    path.with_file_name(name)
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes sure that a rename is on disk.
///
/// # Errors
/// Those of the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
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
pub(crate) fn check(path: &Path, overwrite: bool) -> Result<()> {
    let shown = path.display();
    if !parent(path).is_dir() {
        return Err(Failure::user(format!("the folder of the output {shown} does not exist")));
    }
    if path.is_dir() {
        return Err(Failure::user(format!("the output {shown} is a folder, not a file")));
    }
    if path.exists() && !overwrite {
        return Err(Failure::user(format!("the output {shown} exists; --overwrite replaces it")));
    }
    Ok(())
}
