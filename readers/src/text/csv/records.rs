//! The records of a CSV file.

use std::str;

use memchr::{memchr, memchr2};

use crate::error::Result;
use crate::limits::{Cancel, Limits};
use crate::open::{Compression, Open};
use crate::text::buffer::Buffer;
use crate::text::cell::Misfit;
use crate::text::columns::Columns;
use crate::text::dialect::CsvDialect;
use crate::text::records::{Fault, Place, Records, Step};
use crate::text::survey::Range;

use super::split::{self, Field, Marks, Scanned};

/// The records of a CSV file, or of a range of it, without the header.
pub(crate) struct CsvRecords {
    buffer: Buffer,
    marks: Marks,
    /// Fields that each record must have.
    width: usize,
    /// What the first record with that many fields is, for messages.
    has_header: bool,
    /// Whether the header is still to come.
    skips_header: bool,
    /// Whether the rest of a line that was too long is still to be passed over.
    skips_line: bool,
    /// Where the range ends.
    to: Option<u64>,
    limits: Limits,
    fields: Vec<Field>,
    /// The record's bytes without and with its line break, and the line breaks in it.
    length: usize,
    with_break: usize,
    lines: u64,
    place: Place,
    next_row: u64,
    next_line: u64,
    unquoted: String,
}

impl CsvRecords {
    /// Opens a file or a range of it.
    ///
    /// # Errors
    /// A file that can't be opened.
    pub(crate) fn open(
        file: &dyn Open,
        dialect: &CsvDialect,
        range: Option<Range>,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<Self> {
        let range = range.filter(|_| dialect.compression == Compression::None);
        let from = range.map(|range| range.from).unwrap_or_default();
        let buffer = match from.offset {
            0 => Buffer::open(file, limits, cancel)?,
            offset => Buffer::open_at(file, offset, limits, cancel)?,
        };
        let mut records = Self::over(buffer, dialect, limits);
        records.skips_header = dialect.has_header && from.offset == 0;
        records.to = range.and_then(|range| range.to);
        (records.next_row, records.next_line) = (from.row, from.line);
        Ok(records)
    }

    /// The records of a whole file whose text is in the buffer.
    pub(crate) fn over(buffer: Buffer, dialect: &CsvDialect, limits: &Limits) -> Self {
        Self {
            buffer,
            marks: Marks::of(dialect),
            width: dialect.names.len(),
            has_header: dialect.has_header,
            skips_header: dialect.has_header,
            skips_line: false,
            to: None,
            limits: limits.clone(),
            fields: Vec::new(),
            length: 0,
            with_break: 0,
            lines: 0,
            place: Place::default(),
            next_row: 0,
            next_line: 0,
            unquoted: String::new(),
        }
    }

    /// The fields of the record.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The text of the record.
    pub(crate) fn text(&self) -> std::result::Result<&str, Fault> {
        str::from_utf8(self.bytes()).map_err(|error| {
            let good = self.bytes().get(..error.valid_up_to()).unwrap_or_default();
            let line = self.place.line + good.iter().filter(|byte| **byte == b'\n').count() as u64;
            let bad = self.bytes().get(error.valid_up_to()).copied().unwrap_or_default();
            Fault::data(format!(
                "row {} (line {line}) isn't UTF-8, it has the byte 0x{bad:02x}; convert the file to UTF-8",
                self.place.row + 1
            ))
        })
    }

    /// Bytes of the text up to the record.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.buffer.offset()
    }

    /// Moves past the record, and past empty lines behind it.
    fn leave(&mut self) -> Result<()> {
        self.buffer.consume(self.with_break);
        self.next_line += self.lines;
        (self.length, self.with_break, self.lines) = (0, 0, 0);
        self.arrive();
        while self.skips_line {
            let data = self.buffer.data();
            let line_break = memchr2(b'\n', b'\r', data);
            let count = line_break.unwrap_or(data.len());
            self.skips_line = line_break.is_none() && !self.buffer.is_ended();
            self.buffer.consume(count);
            if self.skips_line {
                self.buffer.fill()?;
            }
        }
        loop {
            let empty = split::empty_lines(self.buffer.data(), self.buffer.is_ended());
            if let Some((bytes, lines)) = empty {
                self.buffer.consume(bytes);
                self.next_line += lines as u64;
                if !self.buffer.data().is_empty() || self.buffer.is_ended() {
                    return Ok(());
                }
            }
            self.buffer.fill()?;
        }
    }

    /// Makes the position that of the record.
    fn arrive(&mut self) {
        let offset = self.buffer.offset();
        self.place = Place { row: self.next_row, line: self.next_line + 1, offset };
    }

    /// Finds the record that begins here.
    fn find(&mut self) -> Result<Step> {
        loop {
            let (data, is_last) = (self.buffer.data(), self.buffer.is_ended());
            let found = split::record(data, self.marks, is_last, &mut self.fields);
            match found {
                Scanned::Nothing => return Ok(Step::End),
                Scanned::Record { length, with_break, lines } => {
                    (self.length, self.with_break) = (length, with_break);
                    self.lines = lines as u64;
                    return Ok(match length > self.limits.record_bytes_max {
                        true => self.too_long(),
                        false => Step::Record,
                    });
                }
                Scanned::Unclosed { lines } => {
                    let line = self.place.line + lines as u64;
                    return Ok(self.first_line(Fault::data(format!(
                        "the quote opened in row {} (line {line}) is never closed",
                        self.place.row + 1
                    ))));
                }
                Scanned::Incomplete if self.buffer.is_full() => return Ok(self.too_long()),
                Scanned::Incomplete => self.buffer.fill()?,
            }
        }
    }

    fn too_long(&mut self) -> Step {
        let unclosed = match self.buffer.data().contains(&self.marks.quote) {
            true => "; a quote that is opened there may not be closed",
            false => "",
        };
        self.first_line(Fault::limit(format!(
            "{} exceeds record_bytes_max ({} bytes){unclosed}",
            self.describe(self.place),
            self.limits.record_bytes_max
        )))
    }

    /// Makes the first line of what is there the record, which is bad.
    fn first_line(&mut self, fault: Fault) -> Step {
        let data = self.buffer.data();
        let (length, with_break) = match memchr2(b'\n', b'\r', data) {
            Some(at) if data.get(at..at + 2) == Some(b"\r\n") => (at, at + 2),
            Some(at) => (at, at + 1),
            None => (data.len(), data.len()),
        };
        (self.length, self.with_break) = (length, with_break);
        self.lines = u64::from(with_break > length);
        self.skips_line = with_break == length && !self.buffer.is_ended();
        Step::Bad(fault)
    }

    /// Whether the record has as many fields as the first, and none in which a `\` stands before
    /// the quote that closes it and text behind: that `\` was meant as an escape.
    fn check(&self) -> Step {
        let count = self.fields.len();
        if count == self.width {
            return match self.marks.escape.is_none() && self.fields.iter().any(|f| f.has_quotes) {
                true => self.check_escapes(),
                false => Step::Record,
            };
        }
        let plural = if count == 1 { "column" } else { "columns" };
        let first = if self.has_header { "header" } else { "first row" };
        Step::Bad(Fault::data(format!(
            "{} has {count} {plural}, the {first} {}",
            self.describe(self.place),
            self.width
        )))
    }
}

impl CsvRecords {
    fn check_escapes(&self) -> Step {
        let bytes = self.buffer.data();
        let is_escaped = |field: &Field| {
            let value = bytes.get(field.start..field.end).unwrap_or_default();
            split::has_tail(bytes, field, self.marks.quote)
                && memchr(self.marks.quote, value).is_some_and(|at| {
                    at.checked_sub(1).and_then(|at| value.get(at)) == Some(&b'\\')
                })
        };
        match self.fields.iter().any(is_escaped) {
            false => Step::Record,
            true => Step::Bad(Fault::data(format!(
                "{} has text after a closing quote, with a \\ before the quote; read_csv('…', escape => '\\') reads \\\" as a quote in a text",
                self.describe(self.place)
            ))),
        }
    }
}

impl Records for CsvRecords {
    fn next(&mut self) -> Result<Step> {
        self.leave()?;
        if std::mem::take(&mut self.skips_header) {
            self.arrive();
            match self.find()? {
                Step::Record => self.leave()?,
                other => return Ok(other),
            }
        }
        self.arrive();
        if self.to.is_some_and(|to| self.place.offset >= to) {
            return Ok(Step::End);
        }
        let step = self.find()?;
        if step != Step::End {
            self.next_row += 1;
        }
        Ok(match step {
            Step::Record => self.check(),
            other => other,
        })
    }

    fn place(&self) -> Place {
        self.place
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.data().get(..self.length).unwrap_or_default()
    }

    fn rest(&self) -> &[u8] {
        self.buffer.data()
    }

    fn append(&mut self, columns: &mut Columns) -> std::result::Result<(), Fault> {
        let mut unquoted = std::mem::take(&mut self.unquoted);
        let appended = self.append_with(columns, &mut unquoted);
        self.unquoted = unquoted;
        appended
    }

    fn describe(&self, place: Place) -> String {
        format!("row {} (line {})", place.row + 1, place.line)
    }
}

impl CsvRecords {
    fn append_with(
        &self,
        columns: &mut Columns,
        unquoted: &mut String,
    ) -> std::result::Result<(), Fault> {
        let text = match self.text() {
            Ok(text) => text,
            Err(fault) => {
                columns.push_nulls();
                return Err(fault);
            }
        };
        let mut fault = None;
        let may_be_long = text.len() > self.limits.value_bytes_max;
        for (place, column) in columns.of_file() {
            let Some(field) = self.fields.get(place) else {
                column.cell.push_null();
                continue;
            };
            let mut value = text.get(field.start..field.end).unwrap_or_default();
            if field.has_quotes {
                split::unquote(value, self.marks, unquoted);
                value = unquoted;
            }
            let pushed = match value {
                "" => {
                    column.cell.push_null();
                    Ok(())
                }
                _ if may_be_long && value.len() > self.limits.value_bytes_max => {
                    column.cell.push_null();
                    Err(Misfit::too_long(&self.limits))
                }
                _ => column.cell.push_text(value),
            };
            if let Err(misfit) = pushed {
                fault.get_or_insert_with(|| {
                    misfit.fault(&self.describe(self.place), Some(&column.name))
                });
            }
        }
        columns.end_row();
        fault.map_or(Ok(()), Err)
    }
}
