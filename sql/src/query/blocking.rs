//! Long work of the processor inside a query.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs long work of the processor, telling the runtime that this thread is taken.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}
