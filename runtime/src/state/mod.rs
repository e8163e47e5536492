//! What a pipeline keeps with a commit: a state file for each epoch and the segments of rows that
//! it names, in a [`Store`].
//!
//! - *Invariant:* what an epoch names is whole before the epoch's own file is there, and that is
//!   before the sink's commit names it.
//! - *Invariant:* names carry a hash of the content, so an instance that was replaced can't
//!   overwrite what its successor relies on.
//! - *Invariant:* state that is torn, missing or of another query is rejected, never replaced by an
//!   empty start.

mod epoch;
mod format;
mod local;
mod note;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests;

use std::fs::File;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;
pub use epoch::{
    Epoch, Query, WrittenEpoch, collect_garbage, read_epoch, refuse_lost_progress, restore_windows,
    write_epoch,
};
pub use local::LocalStore;
pub(crate) use note::{Noted, NotedProgress, ProgressNote, ReadNow, lost_progress};

/// The right to a folder, for as long as it is kept.
#[derive(Debug, Default)]
pub struct Hold {
    _lock: Option<File>,
}

/// A flat folder of files. One pipeline has it for itself. Names have letters, digits, `.`, `_` and
/// `-` only.
#[async_trait]
pub trait Store: Send + Sync {
    /// Takes the folder for this process alone, until what it gives is dropped. `None` while
    /// another process has it. An object store has no locks and gives itself to all; there the
    /// commit of the sink is what fences one instance off from another.
    ///
    /// # Errors
    /// When it can't be found out.
    async fn hold(&self) -> Result<Option<Hold>> {
        Ok(Some(Hold::default()))
    }

    /// Writes a file: wholly or not at all, durably, in place of one of that name.
    ///
    /// # Errors
    /// When it can't be written.
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()>;

    /// The content of a file; `None` when there is none of that name.
    ///
    /// # Errors
    /// When it can't be read.
    async fn get(&self, name: &str) -> Result<Option<Bytes>>;

    /// The names of all files, in any order.
    ///
    /// # Errors
    /// When they can't be listed.
    async fn list(&self) -> Result<Vec<String>>;

    /// Removes a file; fine when there is none of that name.
    ///
    /// # Errors
    /// When it can't be removed.
    async fn delete(&self, name: &str) -> Result<()>;

    /// Where it is, for messages: a path or an address.
    fn place(&self) -> String;
}
