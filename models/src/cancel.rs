//! A flag that long work looks at between batches. Who sets it (Ctrl-C, a dropped query) is left to
//! the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A shared flag that asks running work to stop.
///
/// Clones share the flag. Work that sees it set returns
/// [`ModelError::Cancelled`](crate::ModelError::Cancelled) within one batch. [`CancelToken::reset`]
/// makes the token usable for the next query.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all work that holds this token to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a stop has been asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Clears the flag, so that the next piece of work can run.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// # Errors
    /// [`ModelError::Cancelled`](crate::ModelError::Cancelled) when the flag is set.
    pub fn check(&self) -> crate::Result<()> {
        if self.is_cancelled() { Err(crate::ModelError::Cancelled) } else { Ok(()) }
    }
}
