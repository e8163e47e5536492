//! Where rows come from and go to.
//!
//! - [`options`]: options are declared once and read once.
//! - [`formats`]: bytes of a record to rows, and back.
//! - [`files`]: data sets of Parquet or JSON lines as sinks, exactly once.
//! - [`kafka`]: topics as sources, and as sinks, exactly once.
//! - [`replay`]: a table at rest as a stream.
//! - [`store`]: folders, on this machine or in an object store.
//! - *Absent:* what rows mean. A connector turns bytes into rows and rows into bytes.

mod base64;
pub mod files;
pub mod formats;
pub mod kafka;
mod missing;
pub mod options;
pub mod replay;
pub mod store;
