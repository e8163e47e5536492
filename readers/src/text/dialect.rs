//! What a text file is written in: format, delimiter, header, byte-order mark.

use arrow::datatypes::DataType;

use crate::error::Result;
use crate::guard::guarded;
use crate::limits::{Cancel, Limits};
use crate::open::{Compression, Open};
use crate::text::buffer::Buffer;
use crate::text::{csv, json};

/// The two families of text files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// Rows of fields with a delimiter between them.
    Csv,
    /// Objects: one a line, in one array, or one after another over any number of lines.
    Json,
}

/// What a user says about a file. What is left out is found in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TextOptions {
    /// The format, which the end of the name or the user decides.
    pub format: TextFormat,
    /// The byte between fields of CSV; one of `,` `;` tab and `|` is found where it is left out.
    pub delimiter: Option<u8>,
    /// The byte around fields of CSV; `"`, or `'` where only that one makes rows of one width, is
    /// found where it is left out.
    pub quote: Option<u8>,
    /// The byte that makes a quote behind it a character of the field. Where it is left out, two
    /// quotes are one, or `\` is found.
    pub escape: Option<u8>,
    /// Which of several possible delimiters is taken; tab for `.tsv`.
    pub delimiter_preferred: u8,
    /// Whether the first row of CSV holds the names of the columns.
    pub header: Option<bool>,
    /// Types of columns by name, which are not guessed then.
    pub types: Vec<(String, DataType)>,
}

impl TextOptions {
    /// CSV of which all else is found in the file.
    pub fn csv() -> Self {
        Self {
            format: TextFormat::Csv,
            delimiter: None,
            quote: None,
            escape: None,
            delimiter_preferred: b',',
            header: None,
            types: Vec::new(),
        }
    }

    /// JSON.
    pub fn json() -> Self {
        Self { format: TextFormat::Json, ..Self::csv() }
    }
}

/// How a file is written, which is what [`rows`](crate::rows) needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// See [`CsvDialect`].
    Csv(CsvDialect),
    /// See [`JsonDialect`].
    Json(JsonDialect),
}

/// How a CSV file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvDialect {
    /// How the file is compressed.
    pub compression: Compression,
    /// The byte between fields.
    pub delimiter: u8,
    /// The byte around fields that hold delimiters, quotes or line breaks.
    pub quote: u8,
    /// The byte that makes a quote behind it a character of the field; `None` is two quotes.
    pub escape: Option<u8>,
    /// Whether the first row holds the names of the columns.
    pub has_header: bool,
    /// The names of the columns in the order of the file. Nameless columns are called `column_1`,
    /// `column_2`, … by their place. Empty for a file without a row.
    pub names: Vec<String>,
}

/// How a JSON file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonDialect {
    /// How the file is compressed.
    pub compression: Compression,
    /// Whether all records are elements of one array.
    pub is_array: bool,
    /// Whether the first record spans several lines.
    pub is_pretty: bool,
}

/// Finds the dialect in the first part of a file.
///
/// # Errors
/// A file that can't be opened or decompressed, is UTF-16, or names two columns alike.
pub fn sniff(file: &dyn Open, options: &TextOptions, limits: &Limits) -> Result<Dialect> {
    guarded(file.name(), || {
        let mut buffer = Buffer::open(file, limits, &Cancel::never())?;
        of_buffer(&mut buffer, options, limits)
    })
}

/// Finds the dialect of the text in a buffer, without consuming any of it.
pub(crate) fn of_buffer(
    buffer: &mut Buffer,
    options: &TextOptions,
    limits: &Limits,
) -> Result<Dialect> {
    Ok(match options.format {
        TextFormat::Csv => Dialect::Csv(csv::sniff::sniff(buffer, options, limits)?),
        TextFormat::Json => Dialect::Json(json::survey::sniff(buffer, limits)?),
    })
}
