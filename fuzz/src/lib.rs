//! What fuzz targets share: a small good model whose files are replaced one at a time.
//!
//! - *Absent:* what may be in a file; that is the targets' input.

#[cfg(feature = "models")]
pub mod folder;
