//! Rows of a file, or of a range of it, as Arrow batches of a given schema.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::limits::{Cancel, Limits};
use crate::open::Open;
use crate::text::dialect::Dialect;
use crate::text::survey::Range;

/// What is read.
#[derive(Clone, Debug)]
pub struct RowsRequest {
    /// How the file is written, from [`survey`](crate::survey) or [`sniff`](crate::sniff).
    pub dialect: Dialect,
    /// The columns to read, by name, with their types: a projection is a schema with fewer fields.
    /// A column that the file lacks is NULL. Besides the guessed types every type works that Arrow
    /// casts text to; lists and structs are read from JSON text. Nullability isn't checked.
    pub schema: SchemaRef,
    /// The part to read; `None` is the whole file.
    pub range: Option<Range>,
    /// Rows of a batch at most. A batch of long texts has fewer.
    pub batch_rows: usize,
    /// What bounds memory.
    pub limits: Limits,
    /// What stops reading.
    pub cancel: Cancel,
}

/// Batches in the order of the file. After an error there are no more.
pub struct Rows {}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

/// Reads rows. The first row that doesn't fit ends reading with an error that names file and line.
///
/// # Errors
/// A file that can't be opened.
pub fn rows(file: Arc<dyn Open>, _request: RowsRequest) -> Result<Rows> {
    Err(Error::Data(format!("file '{}' can't be read yet", file.name())))
}

/// A row that can't be read as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its number in the file, counting every row, good or bad, from 0.
    pub row: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Where it begins in the decompressed file.
    pub offset: u64,
    /// Its bytes as they are in the file, without the line break at its end.
    pub bytes: Vec<u8>,
    /// Why it can't be read, in one line that names file and line.
    pub reason: String,
}

/// Good and bad rows of one stretch of a file.
#[derive(Clone, Debug)]
pub struct TolerantBatch {
    /// The good rows.
    pub rows: RecordBatch,
    /// The number of each good row in the file, from 0, and the line it begins on, from 1.
    pub places: Vec<(u64, u64)>,
    /// The bad rows.
    pub bad: Vec<BadRow>,
}

/// As [`Rows`], with bad rows handed out beside the good ones. What can't be read past (a torn
/// end, an unclosed quote, damaged compression) is one last bad row.
pub struct TolerantRows {}

impl Iterator for TolerantRows {
    type Item = Result<TolerantBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

/// Reads rows, and hands out those that can't be read instead of failing.
///
/// # Errors
/// A file that can't be opened.
pub fn tolerant_rows(file: Arc<dyn Open>, _request: RowsRequest) -> Result<TolerantRows> {
    Err(Error::Data(format!("file '{}' can't be read yet", file.name())))
}
