//! A flag that long work looks at between batches, and the count of what it has behind it. Who sets
//! the flag (Ctrl-C, a dropped query) and who shows the count is left to the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A shared flag that asks running work to stop, and a shared count of the texts that it has done.
///
/// Clones share the flag. Work that sees it set returns
/// [`ModelError::Cancelled`](crate::ModelError::Cancelled) within one batch. [`CancelToken::reset`]
/// makes the token usable for the next query. A look at the flag costs no more than a read of
/// memory.
///
/// # Examples
/// ```
/// use sembla_models::{CancelToken, ModelError};
///
/// let token = CancelToken::new();
/// let worker = token.clone();
/// assert!(worker.check().is_ok());
/// token.cancel();
/// assert!(matches!(worker.check(), Err(ModelError::Cancelled)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_cancelled: AtomicBool,
    texts: AtomicU64,
}

impl CancelToken {
    /// A token that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all work that holds this token to stop.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether a stop has been asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Relaxed)
    }

    /// Clears the flag, so that the next piece of work can run.
    pub fn reset(&self) {
        self.0.is_cancelled.store(false, Ordering::Relaxed);
    }

    /// Texts, or pairs of texts, that calls with this token have done: it grows with every batch
    /// that a model has run, not only at the end of a call, and never goes back.
    pub fn texts(&self) -> u64 {
        self.0.texts.load(Ordering::Relaxed)
    }

    /// Adds texts that are done.
    pub(crate) fn done(&self, texts: usize) {
        self.0.texts.fetch_add(texts as u64, Ordering::Relaxed);
    }

    /// # Errors
    /// [`ModelError::Cancelled`](crate::ModelError::Cancelled) when the flag is set.
    pub fn check(&self) -> crate::Result<()> {
        if self.is_cancelled() { Err(crate::ModelError::Cancelled) } else { Ok(()) }
    }
}
