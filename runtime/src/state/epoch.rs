//! The state of one epoch: what it is, how it is written, read and collected.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Store, format};
use crate::watermark::WatermarkState;
use crate::window::{
    HASH_DIGITS, Restoring, SavedWindows, Segment, SegmentRef, WindowRows, WindowSpec,
};
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
    let file = format::encode(epoch).map_err(Error::Bug)?;
    let hash = blake3::hash(&file).to_hex();
    let name = format!("epoch-{:012}-{}.state", epoch.epoch, &hash[..HASH_DIGITS]);
    let mut bytes = file.len() as u64;
    for segment in segments {
        bytes += segment.reference.bytes;
        store.put(&segment.reference.name, segment.bytes.clone()).await?;
    }
    store.put(&name, file).await?;
    Ok(WrittenEpoch { name, bytes })
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
    let epoch = read(store, name).await?;
    let mismatch = if epoch.pipeline != pipeline {
        format!("belongs to the pipeline '{}', not to '{pipeline}'", epoch.pipeline)
    } else if epoch.query.fingerprint != query.fingerprint {
        format!("belongs to another query: {}", what_changed(&epoch.query, query))
    } else {
        return Ok(epoch);
    };
    Err(refused(store, name, &mismatch))
}

async fn read(store: &dyn Store, name: &str) -> Result<Epoch> {
    let file = needed(store, name).await?;
    let epoch = format::decode(&file).map_err(|why| refused(store, name, &why))?;
    if epoch_of(name, "epoch-") != Some(epoch.epoch) {
        return Err(refused(store, name, &format!("has the state of epoch {}", epoch.epoch)));
    }
    Ok(epoch)
}

async fn needed(store: &dyn Store, name: &str) -> Result<Bytes> {
    store.get(name).await?.ok_or_else(|| refused(store, name, "is missing"))
}

fn refused(store: &dyn Store, name: &str, why: &str) -> Error {
    let why = why.replace('\n', " ");
    Error::State(format!(
        "state '{name}' in '{}' {why}; restore the file, or start over with --ignore-state",
        store.place()
    ))
}

/// The first property that differs.
fn what_changed(before: &Query, now: &Query) -> String {
    let (mut before, mut now) = (before.description.lines(), now.description.lines());
    loop {
        match (before.next(), now.next()) {
            (Some(before), Some(now)) if before.trim() == now.trim() => (),
            (Some(before), Some(now)) => {
                return format!("it had '{}' and now has '{}'", before.trim(), now.trim());
            }
            (Some(before), None) => return format!("it no longer has '{}'", before.trim()),
            (None, Some(now)) => return format!("it now has '{}'", now.trim()),
            (None, None) => return "its models or functions have changed".into(),
        }
    }
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
    let mut restoring = Restoring::new(spec, saved)?;
    for reference in &saved.segments {
        restoring.segment(reference, &read_segment(store, reference).await?)?;
    }
    restoring.finish()
}

async fn read_segment(store: &dyn Store, reference: &SegmentRef) -> Result<Bytes> {
    let bytes = needed(store, &reference.name).await?;
    reference.check(&bytes).map_err(|why| refused(store, &reference.name, &why))?;
    Ok(bytes)
}

/// Rejects to start over where epochs say that there were commits: the progress of the pipeline is
/// lost, and its state is of no use without it. The first epoch alone may be one that no commit
/// named; whether one did is in the note that is written after it (`note`).
///
/// # Errors
/// [`Error::State`] in that case, and what the store says.
pub async fn refuse_lost_progress(store: &dyn Store, pipeline: &str) -> Result<()> {
    let names = store.list().await?;
    match names.iter().filter_map(|name| epoch_of(name, "epoch-")).max() {
        Some(newest) if newest > 1 => Err(Error::State(format!(
            "'{}' has the state of pipeline '{pipeline}' after {} commits, but its progress is missing: the sink, \
             or the committed offsets of the group, were deleted or have expired; restore them, or start over with --ignore-state",
            store.place(),
            newest - 1
        ))),
        _ => Ok(()),
    }
}

/// Removes the epochs and segments up to the newest of `keep` that none of `keep` needs. `keep` are
/// the names that the last commits carried. What is newer may be of an instance that has taken over
/// and stays. Gives the number of files removed.
///
/// # Errors
/// When one of `keep` can't be read, or the store fails; nothing that is needed is gone then.
pub async fn collect_garbage(store: &dyn Store, keep: &[&str]) -> Result<usize> {
    let mut epochs = Vec::new();
    for name in keep {
        epochs.push(read(store, name).await?);
    }
    let Some(newest) = epochs.iter().map(|epoch| epoch.epoch).max() else { return Ok(0) };
    let segments = epochs.iter().flat_map(|epoch| &epoch.windows).flat_map(|saved| &saved.segments);
    let mut needed: BTreeSet<&str> = segments.map(|segment| segment.name.as_str()).collect();
    needed.extend(keep);
    let garbage = garbage(store.list().await?, newest, &needed);
    for name in &garbage {
        store.delete(name).await?;
    }
    Ok(garbage.len())
}

/// Which files nothing needs. Epochs go first, so that none is left without its segments.
fn garbage(names: Vec<String>, newest: u64, needed: &BTreeSet<&str>) -> Vec<String> {
    let is_old = |name: &str, kind| epoch_of(name, kind).is_some_and(|epoch| epoch <= newest);
    let is_garbage = |name: &String| {
        !needed.contains(name.as_str()) && (is_old(name, "epoch-") || is_old(name, "segment-"))
    };
    let mut garbage: Vec<String> = names.into_iter().filter(is_garbage).collect();
    garbage.sort();
    garbage
}

/// The number of the epoch in which a file was written; `None` for files of other kinds.
fn epoch_of(name: &str, kind: &str) -> Option<u64> {
    name.strip_prefix(kind)?.split('-').next()?.parse().ok()
}
