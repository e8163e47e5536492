//! The state of one epoch as a file.

use std::collections::BTreeMap;

use super::Store;
use crate::watermark::WatermarkState;
use crate::window::{SavedWindows, Segment, WindowRows, WindowSpec};
use crate::{Error, Partition, Result, StateTable};

/// Which query a state belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Equal for queries that can go on with each other's state.
    pub fingerprint: String,
    /// The query in words, one property a line; a refusal shows the first line that differs.
    pub description: String,
}

/// The state of a pipeline at a barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The name of the pipeline.
    pub pipeline: String,
    /// Its query.
    pub query: Query,
    /// The number of the commit that it belongs to.
    pub epoch: u64,
    /// By source, by partition: where reading goes on.
    pub positions: BTreeMap<String, BTreeMap<Partition, i64>>,
    /// The watermarks.
    pub watermarks: WatermarkState,
    /// The open windows of each window operator.
    pub windows: Vec<SavedWindows>,
    /// The tables of the window stage.
    pub tables: Vec<StateTable>,
}

/// An epoch that is durably written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenEpoch {
    /// The name of its file, for [`crate::Progress::state`].
    pub name: String,
    /// How many bytes were written, segments included.
    pub bytes: u64,
}

/// Writes the new segments, then the epoch. It may be called again after an error.
///
/// # Errors
/// When the store can't write.
pub async fn write_epoch(
    store: &dyn Store,
    epoch: &Epoch,
    segments: &[Segment],
) -> Result<WrittenEpoch> {
    let _ = (store, epoch, segments);
    Err(Error::Bug("not there yet".into()))
}

/// Reads the epoch of that name, which must be of this pipeline and this query.
///
/// # Errors
/// [`Error::State`] when it is missing, torn, or of another version, pipeline or query.
pub async fn read_epoch(
    store: &dyn Store,
    name: &str,
    pipeline: &str,
    query: &Query,
) -> Result<Epoch> {
    let _ = (store, name, pipeline, query);
    Err(Error::Bug("not there yet".into()))
}

/// The rows of open windows as an epoch saved them.
///
/// # Errors
/// [`Error::State`] when a segment is missing, torn or of another schema.
pub async fn restore_windows(
    store: &dyn Store,
    spec: WindowSpec,
    saved: &SavedWindows,
) -> Result<WindowRows> {
    let _ = (store, spec, saved);
    Err(Error::Bug("not there yet".into()))
}

/// Removes the epochs and segments up to the newest of `keep` that none of `keep` needs. `keep` are
/// the names that the last commits carried. Gives the number of files removed.
///
/// # Errors
/// When one of `keep` can't be read, or the store fails; nothing that is needed is gone then.
pub async fn collect_garbage(store: &dyn Store, keep: &[&str]) -> Result<usize> {
    let _ = (store, keep);
    Err(Error::Bug("not there yet".into()))
}
