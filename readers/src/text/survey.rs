//! One full pass over a file: its dialect, its columns and their types, its rows, its splits.

use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::limits::{Cancel, Limits};
use crate::open::Open;
use crate::text::dialect::{Dialect, TextOptions};
use crate::text::guess::Guess;

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Survey {
    /// How it is written.
    pub dialect: Dialect,
    /// Its columns in the order in which they first appear.
    pub columns: Vec<Column>,
    /// Its number of rows, without the header.
    pub rows: u64,
    /// Where reading can begin, in the order of the file. The first is the first row, the others
    /// are some megabytes apart. A compressed file has only the first.
    pub splits: Vec<Split>,
    /// Bytes after decompression.
    pub bytes: u64,
}

/// A column of a file.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What was seen in it.
    pub guess: Guess,
    /// The type that the user gave it, in place of the guess.
    pub declared: Option<DataType>,
}

impl Column {
    /// The declared type, else the guessed one.
    pub fn data_type(&self) -> DataType {
        self.declared.clone().unwrap_or_else(|| self.guess.data_type())
    }
}

/// A place between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Bytes before it in the file.
    pub offset: u64,
    /// Rows before it.
    pub row: u64,
    /// Line breaks before it.
    pub line: u64,
}

/// A part of a file from one split to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it begins.
    pub from: Split,
    /// The offset where it ends; `None` is the end of the file.
    pub to: Option<u64>,
}

impl Survey {
    /// Cuts the file into at most `parts` ranges of about one size, in order. There is one range
    /// at least.
    pub fn ranges(&self, _parts: usize) -> Vec<Range> {
        vec![Range { from: self.splits.first().copied().unwrap_or_default(), to: None }]
    }
}

/// Reads a whole file and says what is in it.
///
/// A file without a byte, or without anything but space and a byte-order mark, has no columns and
/// no rows; so has the JSON array `[]`. Costs one pass at the speed of parsing and memory for one
/// record.
///
/// # Errors
/// What can't be read: rows with more or fewer columns than the header, a quote that is never
/// closed, invalid JSON, two columns of one name, bytes that aren't UTF-8, torn compression, a
/// limit exceeded, a failing disk. Each names the file, and the row and line.
pub fn survey(
    file: &dyn Open,
    _options: &TextOptions,
    _limits: &Limits,
    _cancel: &Cancel,
) -> Result<Survey> {
    Err(Error::Data(format!("file '{}' can't be read yet", file.name())))
}
