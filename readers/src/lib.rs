//! Files as rows: one reader for SQL, the command line and sources alike.
//!
//! [`files`] finds what a name means and puts the files together as one table: folders, patterns,
//! `key=value` folders, Parquet, object stores.
//!
//! The text part knows CSV and JSON in any of their usual shapes, plain or compressed:
//!
//! 1. [`survey`] reads a file once from its first byte to its last and says what is in it: its
//!    [`Dialect`], its columns with types that hold for every row, its number of rows, and where
//!    it can be split.
//! 2. [`merge`] puts the columns of several files together by name.
//! 3. [`rows`] reads a file, or a range of it, as Arrow batches of exactly the asked schema.
//!
//! - *Invariant:* one file gives the same rows in the same order, whole or in ranges, however
//!   small the pieces are in which its bytes arrive.
//! - *Invariant:* no value is changed by its type: integers keep all digits, what only looks like
//!   a number (`007`, `+1`) stays text.
//! - *Invariant:* every error names the file, and the line where there is one.
//! - *Invariant:* memory is bounded by [`Limits`], whatever the file holds.
//! - *Absent:* SQL, DataFusion, streams, and what columns mean.

pub mod error;
pub mod files;
pub mod guard;
pub mod limits;
pub mod open;
pub mod text;

pub use error::{Error, Result};
pub use guard::{caught, guarded};
pub use limits::{Cancel, Limits};
pub use open::{Compression, LocalFile, Open};
pub use text::dialect::{CsvDialect, Dialect, JsonDialect, TextFormat, TextOptions, sniff};
pub use text::guess::Guess;
pub use text::merge::merge;
pub use text::rows::{BadRow, Rows, RowsRequest, TolerantBatch, TolerantRows, rows, tolerant_rows};
pub use text::survey::{Column, Range, Split, Survey, survey};
