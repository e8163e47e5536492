//! The lock of a work folder: a file that one process holds, and that says who.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

/// The name of the lock in its folder.
pub(super) const LOCK: &str = "lock";

/// Bytes of a lock that are read.
const HOLDER_BYTES_MAX: u64 = 4096;

/// Who holds a lock.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    since: String,
}

impl Holder {
    /// This process.
    fn this() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let since = DateTime::from_timestamp(i64::try_from(since).unwrap_or_default(), 0);
        let since = since.map(|since| since.to_rfc3339_opts(SecondsFormat::Secs, true));
        Self { pid: std::process::id(), host: host(), since: since.unwrap_or_default() }
    }
}

/// The name of this machine, where the system says it.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    match name.trim() {
        "" => "this machine".into(),
        name => name.into(),
    }
}

/// Takes a folder for this process.
///
/// # Errors
/// Another process that has it, by its number, machine and time, and those of the disk.
pub(super) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let fail = |error: std::io::Error| Failure::file(&path, &error);
    // What it says is its holder's until the lock is taken.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {
            let text = serde_json::to_vec(&Holder::this()).unwrap_or_default();
            file.set_len(0).and_then(|()| file.write_all(&text)).map_err(fail)?;
            Ok(file)
        }
        Err(fs::TryLockError::WouldBlock) => Err(Failure::user(format!(
            "{} is working in {}; wait until it has ended, or end it",
            holder(&mut file),
            folder.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(fail(error)),
    }
}

/// Who holds a lock, in words.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    match read.ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok()) {
        Some(Holder { pid, host, since }) => {
            format!("another process (number {pid} on {host}, since {since})")
        }
        None => "another process".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_told_who_holds_the_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = lock(folder.path()).expect("free");
        let told = lock(folder.path()).expect_err("held").message().expect("words");
        let pid = std::process::id();
        assert!(told.contains(&format!("(number {pid} on ")) && told.contains("Z) is"), "{told}");
        drop(held);
        lock(folder.path()).expect("free again");
        fs::write(folder.path().join(LOCK), "what an older version left").expect("written");
        lock(folder.path()).expect("free");
    }
}
