//! What bounds the memory of reading, and what stops it.

use std::fmt;
use std::sync::Arc;

/// Named limits of what a text file may hold. A file that exceeds one is an error which names the
/// file, the line and the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one record: a CSV row with its quoted line breaks, or one JSON value.
    pub record_bytes_max: usize,
    /// Bytes of one value.
    pub value_bytes_max: usize,
    /// Columns of one file, nested fields included.
    pub columns_max: usize,
    /// Objects and lists within each other.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: 64 << 20,
            value_bytes_max: 64 << 20,
            columns_max: 100_000,
            depth_max: 100,
        }
    }
}

/// Asks whether the work should stop. It is called at least once for every megabyte read.
#[derive(Clone)]
pub struct Cancel(Arc<dyn Fn() -> bool + Send + Sync>);

impl Cancel {
    /// Stops when the function says `true`.
    pub fn new(is_cancelled: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_cancelled))
    }

    /// Never stops.
    pub fn never() -> Self {
        Self::new(|| false)
    }

    /// Whether the work should stop.
    pub fn is_cancelled(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cancel").field("is_cancelled", &self.is_cancelled()).finish()
    }
}
