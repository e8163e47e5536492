//! What a run finds changed, counted by the thread that reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::Hash;

/// How many rows are new, changed, unchanged and gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Rows whose key the output did not have.
    pub new: u64,
    /// Rows whose key it had with another text.
    pub changed: u64,
    /// Rows that it had with the same text.
    pub unchanged: u64,
    /// Keys that it had and the input has not.
    pub gone: u64,
}

impl Changes {
    /// Whether the output is as it should be.
    pub fn is_none(&self) -> bool {
        self.new + self.changed + self.gone == 0
    }
}

/// Counts that two threads share.
#[derive(Clone, Debug, Default)]
pub(in crate::embed) struct Shared(Arc<Mutex<Changes>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a row: what its text was, if it was there, and what it is; `None` within for NULL.
    pub(super) fn note(&self, before: Option<Option<Hash>>, now: Option<Hash>) {
        let mut changes = self.lock();
        match before {
            None => changes.new += 1,
            Some(before) if before == now => changes.unchanged += 1,
            Some(_) => changes.changed += 1,
        }
    }

    /// Counts keys that are gone.
    pub(super) fn gone(&self, keys: usize) {
        self.lock().gone = keys as u64;
    }

    /// The counts.
    pub(in crate::embed) fn changes(&self) -> Changes {
        *self.lock()
    }
}
