//! The folder of what is not finished, beside an output: one process at a time has it, and what is
//! whole goes from it to the output. What lies in it is left to others.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::error::{Result, TrainError};

/// A file in the folder that one process at a time holds.
pub const LOCK: &str = "lock";

/// Makes the folder of what is not finished, and takes it for this process until the file that is
/// given back is dropped. `restart` empties it.
///
/// # Errors
/// Another process that has it, and those of the disk.
pub fn open(work: &Path, restart: bool) -> Result<File> {
    let fail = |error| TrainError::io(work, error);
    fs::create_dir_all(work).map_err(fail)?;
    let lock = File::create(work.join(LOCK)).map_err(fail)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(TrainError::Option(format!(
                "another process is training in {}; wait for it or name another output",
                work.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(fail(error)),
    }
    if restart {
        for entry in fs::read_dir(work).map_err(fail)?.flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => fs::remove_dir_all(&path).map_err(fail)?,
                false if path.ends_with(LOCK) => {}
                false => fs::remove_file(&path).map_err(fail)?,
            }
        }
    }
    Ok(lock)
}

/// Puts a finished directory in the place of another.
///
/// # Errors
/// Those of the disk.
pub fn replace(from: &Path, to: &Path) -> Result<()> {
    let fail = |error| TrainError::io(to, error);
    if to.exists() {
        fs::remove_dir_all(to).map_err(fail)?;
    }
    fs::rename(from, to).map_err(fail)
}
