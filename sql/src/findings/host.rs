//! Who runs a finding inside a query: it lends memory of DataFusion's pool, passes progress on, and
//! stops the work when the session's cancel token is set or nobody reads the rows any more.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use sembla_models::CancelToken;
use sembla_operators::{Host, OperatorError};

use crate::SqlError;
use crate::functions::Engine;

/// A listener for the progress of long work. It is called from many threads, often.
pub trait Progress: Send + Sync {
    /// `done` steps of a stage ("embedding", "comparing", …) are behind us, of `total` if that is
    /// known. Steps of one stage take about the same time each.
    fn update(&self, stage: &str, done: u64, total: Option<u64>);
}

/// Where a session's listener is kept; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Listener(Arc<Mutex<Option<Arc<dyn Progress>>>>);

impl Listener {
    /// Sets the listener.
    pub(crate) fn set(&self, progress: Arc<dyn Progress>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    fn get(&self) -> Option<Arc<dyn Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// The host of one run of a finding.
pub(crate) struct QueryHost {
    /// The finding's name, for messages.
    name: &'static str,
    reservation: MemoryReservation,
    cancel: CancelToken,
    /// Whether nobody reads the rows any more.
    abandoned: Box<dyn Fn() -> bool + Send + Sync>,
    progress: Option<Arc<dyn Progress>>,
}

impl QueryHost {
    /// A host for a finding of a query.
    pub(crate) fn new(
        name: &'static str,
        engine: &Engine,
        context: &TaskContext,
        abandoned: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            reservation: MemoryConsumer::new(name).register(context.memory_pool()),
            cancel: engine.cancel.clone(),
            abandoned: Box::new(abandoned),
            progress: engine.progress.get(),
        }
    }

    /// Tells of progress whose end is not known.
    pub(crate) fn update(&self, stage: &str, done: u64) {
        if let Some(progress) = &self.progress {
            progress.update(stage, done, None);
        }
    }

    /// Borrows memory that is given back when the host is dropped.
    ///
    /// # Errors
    /// [`SqlError::Resources`].
    pub(crate) fn keep(&self, bytes: usize) -> Result<(), SqlError> {
        Ok(self.lend(bytes)?)
    }
}

impl Host for QueryHost {
    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled() || (self.abandoned)()
    }

    fn progress(&self, stage: &'static str, done: u64, total: u64) {
        if let Some(progress) = &self.progress {
            progress.update(stage, done, Some(total));
        }
    }

    fn lend(&self, bytes: usize) -> Result<(), OperatorError> {
        self.reservation.try_grow(bytes).map_err(|_| {
            OperatorError::Memory(format!(
                "{} needs {} beside the {} that it holds, which is over the memory limit; raise --memory-limit",
                self.name,
                size(bytes),
                size(self.reservation.size())
            ))
        })
    }

    fn take_back(&self, bytes: usize) {
        self.reservation.shrink(bytes.min(self.reservation.size()));
    }
}

/// A number of bytes for people.
fn size(bytes: usize) -> String {
    const UNITS: &[(&str, usize)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(size(17), "17 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
    }
}
