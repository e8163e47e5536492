//! Who runs an operator inside a query: it lends memory of DataFusion's pool, passes progress on,
//! and stops the work when the query's cancel token is set or nobody reads the rows any more.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use sembla_models::CancelToken;
use sembla_operators::{Host, OperatorError};

use super::scope::{Progress, QueryScope};
use crate::SqlError;

/// The host of one run of an operator.
pub(crate) struct QueryHost {
    /// What runs, for messages.
    name: &'static str,
    reservation: MemoryReservation,
    cancel: CancelToken,
    /// Whether nobody reads the rows any more.
    abandoned: Box<dyn Fn() -> bool + Send + Sync>,
    progress: Option<Arc<dyn Progress>>,
}

impl QueryHost {
    /// A host for what runs in a query.
    pub(crate) fn new(
        name: &'static str,
        context: &TaskContext,
        abandoned: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let QueryScope { cancel, progress } = QueryScope::of(context.session_config().options());
        let reservation = MemoryConsumer::new(name).register(context.memory_pool());
        Self { name, reservation, cancel, abandoned: Box::new(abandoned), progress }
    }

    /// What stops the query.
    pub(crate) fn cancel(&self) -> &CancelToken {
        &self.cancel
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
                "{} needs {} on top of the {} that it holds, which exceeds the memory limit; raise --memory-limit",
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
