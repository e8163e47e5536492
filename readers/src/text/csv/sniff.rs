//! Finds the delimiter, the header and the names of a CSV file in its first rows.

use std::collections::HashSet;
use std::str;

use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::text::buffer::Buffer;
use crate::text::dialect::{CsvDialect, TextOptions};
use crate::text::guess::{Guess, Seen};

use super::split::{self, Field, Marks, Scanned};

/// What may be between fields, in the order of preference.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Bytes and rows that are looked at.
const SAMPLE_BYTES: usize = 256 << 10;
const ROWS_MAX: usize = 1000;
/// Quotes and escapes, in the order of preference. All but the first are taken only where they cut
/// all rows alike and the first does not.
const QUOTES: [(u8, Option<u8>); 3] = [(b'"', None), (b'"', Some(b'\\')), (b'\'', None)];
/// Years that may be names of columns.
const YEARS: std::ops::RangeInclusive<i64> = 1900..=2100;

/// Finds how the file is written, without consuming any of it.
///
/// # Errors
/// A first row that can't be read, or that names two columns alike.
pub(crate) fn sniff(
    buffer: &mut Buffer,
    options: &TextOptions,
    limits: &Limits,
) -> Result<CsvDialect> {
    buffer.fill_to(SAMPLE_BYTES)?;
    let mut dialect = CsvDialect {
        compression: buffer.compression(),
        delimiter: options.delimiter.unwrap_or(options.delimiter_preferred),
        quote: options.quote.unwrap_or(b'"'),
        escape: options.escape,
        has_header: options.header.unwrap_or(true),
        names: Vec::new(),
    };
    let first = loop {
        let marks = marks(buffer, options);
        (dialect.delimiter, dialect.quote, dialect.escape) =
            (marks.delimiter, marks.quote, marks.escape);
        match rows(buffer, marks, 1) {
            (mut rows, _) if !rows.is_empty() => break rows.swap_remove(0),
            (_, Scanned::Unclosed { .. }) => {
                return Err(wrong(buffer, "the quote opened in the first row is never closed"));
            }
            _ if buffer.is_ended() => return Ok(dialect),
            _ if buffer.is_full() => {
                let limit = limits.record_bytes_max;
                let what = format!("the first row exceeds record_bytes_max ({limit} bytes)");
                return Err(Error::Limit(format!("file '{}': {what}", buffer.name())));
            }
            _ => buffer.fill()?,
        }
    };
    if first.len() > limits.columns_max {
        let (count, limit) = (first.len(), limits.columns_max);
        let what = format!("the first row has {count} columns, more than columns_max ({limit})");
        return Err(Error::Limit(format!("file '{}': {what}", buffer.name())));
    }
    let marks = Marks::of(&dialect);
    let first = texts(buffer, marks, &first)
        .ok_or_else(|| wrong(buffer, "the first row isn't UTF-8; convert the file to UTF-8"))?;
    if options.header.is_none() {
        let (sample, _) = rows(buffer, marks, ROWS_MAX);
        let others = sample.iter().skip(1).filter(|row| row.len() == first.len());
        let others: Vec<Vec<String>> = others.filter_map(|row| texts(buffer, marks, row)).collect();
        dialect.has_header = !is_data(&first, &others);
    }
    dialect.names = names(first, dialect.has_header).map_err(|what| wrong(buffer, &what))?;
    Ok(dialect)
}

fn wrong(buffer: &Buffer, what: &str) -> Error {
    Error::Data(format!("file '{}': {what}", buffer.name()))
}

/// A row by the places of its fields in the buffer.
type Row = Vec<Field>;

/// The first rows of what is in the buffer, and what was found behind them.
fn rows(buffer: &Buffer, marks: Marks, rows_max: usize) -> (Vec<Row>, Scanned) {
    let (data, is_last) = (buffer.data(), buffer.is_ended());
    let (mut rows, mut at) = (Vec::new(), 0);
    while rows.len() < rows_max {
        let rest = data.get(at..).unwrap_or_default();
        let Some((empty, _)) = split::empty_lines(rest, is_last) else { break };
        at += empty;
        let rest = data.get(at..).unwrap_or_default();
        let mut fields = Vec::new();
        match split::record(rest, marks, is_last, &mut fields) {
            Scanned::Record { with_break, .. } => {
                let moved = fields.iter().map(|field| Field {
                    start: field.start + at,
                    end: field.end + at,
                    has_quotes: field.has_quotes,
                });
                rows.push(moved.collect());
                at += with_break;
            }
            other => return (rows, other),
        }
    }
    (rows, Scanned::Incomplete)
}

/// The values of a row; `None` unless they are UTF-8.
fn texts(buffer: &Buffer, marks: Marks, row: &Row) -> Option<Vec<String>> {
    let text = |field: &Field| {
        let value = str::from_utf8(buffer.data().get(field.start..field.end)?).ok()?;
        if !field.has_quotes {
            return Some(value.to_string());
        }
        let mut unquoted = String::new();
        split::unquote(value, marks, &mut unquoted);
        Some(unquoted)
    };
    row.iter().map(text).collect()
}

/// The bytes that cut the file into fields: those that are given, and for the others the first that
/// cut all rows alike.
fn marks(buffer: &Buffer, options: &TextOptions) -> Marks {
    let quotes = QUOTES.into_iter().filter(|(quote, escape)| {
        options.quote.is_none_or(|given| given == *quote)
            && options.escape.is_none_or(|given| Some(given) == *escape)
    });
    let of = |(quote, escape)| {
        let marks = Marks { delimiter: options.delimiter_preferred, quote, escape };
        let found = options.delimiter.unwrap_or_else(|| delimiter(buffer, marks));
        Marks { delimiter: found, ..marks }
    };
    let first = of((options.quote.unwrap_or(b'"'), options.escape));
    if are_sound(buffer, first) {
        return first;
    }
    let is_meant = |marks: &Marks| are_sound(buffer, *marks) && are_used(buffer, *marks);
    quotes.map(of).find(is_meant).unwrap_or(first)
}

/// Whether a field stands in quotes, and one has an escaped quote in it if there is an escape.
fn are_used(buffer: &Buffer, marks: Marks) -> bool {
    let data = buffer.data();
    let (rows, _) = rows(buffer, marks, ROWS_MAX);
    rows.iter().flatten().any(|field| {
        let before = field.start.checked_sub(1).and_then(|at| data.get(at));
        let value = data.get(field.start..field.end).unwrap_or_default();
        let is_escaped = |escape: u8| value.windows(2).any(|pair| pair == [escape, marks.quote]);
        before == Some(&marks.quote) && marks.escape.is_none_or(is_escaped)
    })
}

/// Whether all rows have as many fields as the first, and no text behind a closing quote.
fn are_sound(buffer: &Buffer, marks: Marks) -> bool {
    let (rows, end) = rows(buffer, marks, ROWS_MAX);
    let width = rows.first().map_or(0, Vec::len);
    let is_torn = |field: &Field| split::has_tail(buffer.data(), field, marks.quote);
    !matches!(end, Scanned::Unclosed { .. })
        && rows.iter().all(|row| row.len() == width && !row.iter().any(is_torn))
}

/// The delimiter by which most rows have as many fields as the first, which has two at least. The
/// preferred one, that of `marks`, is taken where it cuts all rows alike, and where none cuts any.
fn delimiter(buffer: &Buffer, marks: Marks) -> u8 {
    let preferred = marks.delimiter;
    let others = DELIMITERS.into_iter().filter(|other| *other != preferred);
    let mut best = (0, preferred);
    for candidate in std::iter::once(preferred).chain(others) {
        let (rows, _) = rows(buffer, Marks { delimiter: candidate, ..marks }, ROWS_MAX);
        let width = rows.first().map_or(0, Vec::len);
        if width < 2 {
            continue;
        }
        let alike = rows.iter().filter(|row| row.len() == width).count();
        let score = alike * 1000 / rows.len();
        if candidate == preferred && score == 1000 {
            return preferred;
        }
        if score > best.0 {
            best = (score, candidate);
        }
    }
    best.1
}

/// Whether the first row certainly is no header: in each column whose other values are of a type
/// but text, its value is of that type or empty, and there is such a column. Numbers that look
/// like names of columns, which are consecutive or years, are taken for a header.
fn is_data(first: &[String], others: &[Vec<String>]) -> bool {
    let mut typed = Vec::new();
    for (place, value) in first.iter().enumerate() {
        let values = others.iter().filter_map(|row| row.get(place));
        let seen = values
            .filter(|value| !value.is_empty())
            .fold(Seen::NOTHING, |seen, value| seen | Seen::in_text(value));
        let of = |seen| Guess { seen, ..Guess::default() }.data_type();
        if seen == Seen::NOTHING || of(seen) == DataType::Utf8 || value.is_empty() {
            continue;
        }
        if of(seen | Seen::in_text(value)) == DataType::Utf8 {
            return false;
        }
        typed.push(place);
    }
    let numbers = |row: &[String]| -> Option<Vec<i64>> {
        typed.iter().map(|place| row.get(*place)?.parse().ok()).collect()
    };
    let are_years = |row: &[String]| {
        numbers(row).is_some_and(|numbers| numbers.iter().all(|number| YEARS.contains(number)))
    };
    let are_consecutive = |row: &[String]| {
        numbers(row).is_some_and(|numbers| {
            numbers.len() > 1
                && numbers.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]))
        })
    };
    let second = others.first().map(Vec::as_slice).unwrap_or_default();
    let is_header = (are_years(first) && !are_years(second))
        || (are_consecutive(first) && !are_consecutive(second));
    !typed.is_empty() && !is_header
}

/// The names of the columns, which are different and not empty.
fn names(first: Vec<String>, has_header: bool) -> std::result::Result<Vec<String>, String> {
    let mut taken: HashSet<String> = HashSet::new();
    if has_header {
        for name in first.iter().filter(|name| !name.is_empty()) {
            if !taken.insert(name.clone()) {
                return Err(format!(
                    "two columns are named '{name}'; rename one, or use header => false"
                ));
            }
        }
    }
    let named = first.into_iter().enumerate().map(|(place, name)| {
        if has_header && !name.is_empty() {
            return name;
        }
        let mut made = format!("column_{}", place + 1);
        while !taken.insert(made.clone()) {
            made.push('_');
        }
        made
    });
    Ok(named.collect())
}
