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
    /// The token of the work that this is a part of.
    parent: Option<CancelToken>,
}

impl CancelToken {
    /// A token that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token for a part of the work. It is set when either is, and what is done with it counts
    /// for both.
    ///
    /// ```
    /// use sembla_models::CancelToken;
    ///
    /// let session = CancelToken::new();
    /// let (one, other) = (session.child(), session.child());
    /// one.cancel();
    /// assert!(one.is_cancelled() && !other.is_cancelled());
    /// session.cancel();
    /// assert!(other.is_cancelled());
    /// ```
    pub fn child(&self) -> Self {
        Self(Arc::new(Shared { parent: Some(self.clone()), ..Shared::default() }))
    }

    /// Asks all work that holds this token to stop.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether a stop has been asked for.
    pub fn is_cancelled(&self) -> bool {
        let parent = self.0.parent.as_ref();
        self.0.is_cancelled.load(Ordering::Relaxed) || parent.is_some_and(Self::is_cancelled)
    }

    /// Clears the flag, though not a parent's, so that the next piece of work can run.
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
        if let Some(parent) = &self.0.parent {
            parent.done(texts);
        }
    }

    /// # Errors
    /// [`ModelError::Cancelled`](crate::ModelError::Cancelled) when the flag is set.
    pub fn check(&self) -> crate::Result<()> {
        if self.is_cancelled() { Err(crate::ModelError::Cancelled) } else { Ok(()) }
    }
}
