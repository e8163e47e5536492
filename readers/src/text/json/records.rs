//! The records of a JSON file: objects one after another, or the elements of one array.

use std::str;

use memchr::{memchr, memchr_iter};

use crate::error::Result;
use crate::limits::{Cancel, Limits};
use crate::open::{Compression, Open};
use crate::text::buffer::Buffer;
use crate::text::columns::Columns;
use crate::text::dialect::JsonDialect;
use crate::text::records::{Fault, Place, Records, Step};
use crate::text::survey::Range;

use super::scan::{Bounds, Kind, Scan, Scanner, Trouble};

/// Moves a scanner past a record and checks it.
pub(crate) type Check<'a> = dyn FnMut(&mut Scanner<'_>) -> Scan<()> + 'a;

/// What comes next in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The bracket that opens it.
    Opening,
    /// An element, or the end of an empty array.
    FirstElement,
    Element,
    /// A comma, or the end.
    Comma,
    /// Anything: something before was no element.
    Recovery,
    /// Nothing but space.
    Nothing,
}

/// The records of a JSON file, or of a range of it.
pub(crate) struct JsonRecords {
    buffer: Buffer,
    /// `None` where the records are in no array.
    array: Option<Expected>,
    is_pretty: bool,
    /// Blanks before the first record on its line.
    indent: Option<usize>,
    to: Option<u64>,
    limits: Limits,
    bounds: Bounds,
    /// Bytes of the record.
    length: usize,
    /// Whether the rest of a line that was too long is still to be passed over.
    skips_line: bool,
    place: Place,
    next_row: u64,
    next_line: u64,
}

impl JsonRecords {
    /// Opens a file or a range of it.
    ///
    /// # Errors
    /// A file that can't be opened.
    pub(crate) fn open(
        file: &dyn Open,
        dialect: &JsonDialect,
        range: Option<Range>,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<Self> {
        let range = range.filter(|_| dialect.compression == Compression::None);
        let from = range.map(|range| range.from).unwrap_or_default();
        let (buffer, expected) = match from.offset {
            0 => (Buffer::open(file, limits, cancel)?, Expected::Opening),
            offset => (Buffer::open_at(file, offset, limits, cancel)?, Expected::Element),
        };
        let mut records = Self::over(buffer, dialect, limits);
        records.array = dialect.is_array.then_some(expected);
        records.to = range.and_then(|range| range.to);
        (records.next_row, records.next_line) = (from.row, from.line);
        Ok(records)
    }

    /// The records of a whole file whose text is in the buffer.
    pub(crate) fn over(buffer: Buffer, dialect: &JsonDialect, limits: &Limits) -> Self {
        Self {
            buffer,
            array: dialect.is_array.then_some(Expected::Opening),
            is_pretty: dialect.is_pretty,
            indent: None,
            to: None,
            bounds: Bounds::of(limits),
            limits: limits.clone(),
            length: 0,
            skips_line: false,
            place: Place::default(),
            next_row: 0,
            next_line: 0,
        }
    }

    /// Bytes of the text up to the record.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.buffer.offset()
    }

    /// As [`Records::next`]; `check` is called with a scanner at each record, and again from its
    /// beginning where it asked for more bytes.
    pub(crate) fn next_with(&mut self, check: &mut Check<'_>) -> Result<Step> {
        self.leave()?;
        let step = match self.array {
            None => self.begin()?,
            Some(expected) => match self.element(expected)? {
                Some(step) => step,
                None => self.begin()?,
            },
        };
        let step = match step {
            Step::Record => self.find(check)?,
            other => other,
        };
        if step != Step::End {
            self.next_row += 1;
        }
        if let Some(expected) = &mut self.array {
            *expected = match step {
                Step::Record => Expected::Comma,
                Step::Bad(_) => Expected::Recovery,
                Step::End => Expected::Nothing,
            };
        }
        Ok(step)
    }

    /// Moves past the record.
    fn leave(&mut self) -> Result<()> {
        let length = std::mem::take(&mut self.length);
        self.consume(length);
        self.arrive();
        while self.skips_line {
            let line_break = memchr(b'\n', self.buffer.data());
            self.skips_line = line_break.is_none() && !self.buffer.is_ended();
            self.buffer.consume(line_break.unwrap_or(self.buffer.data().len()));
            if self.skips_line {
                self.buffer.fill()?;
            }
        }
        Ok(())
    }

    /// Makes the position that of the record.
    fn arrive(&mut self) {
        let offset = self.buffer.offset();
        self.place = Place { row: self.next_row, line: self.next_line + 1, offset };
    }

    fn consume(&mut self, count: usize) {
        let gone = self.buffer.data().get(..count).unwrap_or_default();
        self.next_line += memchr_iter(b'\n', gone).count() as u64;
        self.buffer.consume(count);
    }

    /// Moves past white space, and gives the byte behind it; `None` at the end.
    fn space(&mut self) -> Result<Option<u8>> {
        loop {
            let data = self.buffer.data();
            let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
            let count = data.iter().take_while(|byte| is_space(byte)).count();
            if self.indent.is_none() && count < data.len() {
                let blanks = data.get(..count).unwrap_or_default().iter().rev();
                self.indent = Some(blanks.take_while(|byte| **byte != b'\n').count());
            }
            let next = data.get(count).copied();
            self.consume(count);
            if next.is_some() || self.buffer.is_ended() {
                self.arrive();
                return Ok(next);
            }
            self.buffer.fill()?;
        }
    }

    /// Moves to a record.
    fn begin(&mut self) -> Result<Step> {
        let next = self.space()?;
        let is_behind = self.to.is_some_and(|to| self.place.offset >= to);
        Ok(if next.is_none() || is_behind { Step::End } else { Step::Record })
    }

    /// Moves to the next element of an array; `None` where one follows.
    fn element(&mut self, mut expected: Expected) -> Result<Option<Step>> {
        loop {
            let next = self.space()?;
            let is_between = matches!(expected, Expected::Comma | Expected::Recovery);
            if is_between && self.to.is_some_and(|to| self.place.offset >= to) {
                return Ok(Some(Step::End));
            }
            let what = match (expected, next) {
                (Expected::Opening, Some(b'[')) => {
                    self.indent = None;
                    self.buffer.consume(1);
                    expected = Expected::FirstElement;
                    continue;
                }
                (Expected::Comma | Expected::Recovery | Expected::FirstElement, Some(b']')) => {
                    self.buffer.consume(1);
                    expected = Expected::Nothing;
                    continue;
                }
                (Expected::Comma | Expected::Recovery, Some(b',')) => {
                    self.buffer.consume(1);
                    if expected == Expected::Comma {
                        expected = Expected::Element;
                    }
                    continue;
                }
                (Expected::Nothing | Expected::Recovery, None) => return Ok(Some(Step::End)),
                (_, None) => "the array isn't closed; the file may be cut off",
                (Expected::Nothing, Some(_)) => "something follows the end of the array",
                (Expected::Comma, Some(_)) => "expected ',' or ']' after an element of the array",
                _ => return Ok(None),
            };
            let fault = Fault::data(format!("line {}: {what}", self.place.line));
            return self.bad_line(fault).map(Some);
        }
    }

    /// Finds the end of the record that begins here.
    fn find(&mut self, check: &mut Check<'_>) -> Result<Step> {
        loop {
            let is_last = self.buffer.is_ended();
            let mut scanner = Scanner::new(self.buffer.data(), is_last, self.bounds);
            let kind = scanner.kind();
            let checked = match kind {
                Ok(Kind::Object) => check(&mut scanner),
                _ => scanner.check(0),
            };
            let length = scanner.at();
            match checked {
                Ok(()) if length > self.limits.record_bytes_max => return self.too_long(),
                Ok(()) => {
                    self.length = length;
                    return Ok(match kind {
                        Ok(Kind::Object) => Step::Record,
                        _ => Step::Bad(Fault::data(format!(
                            "line {} is {}, not an object with fields",
                            self.place.line,
                            name_of(kind)
                        ))),
                    });
                }
                Err(Trouble::Incomplete) if is_last => {
                    let fault = Fault::data(format!(
                        "line {}: a value isn't complete; the file may be cut off",
                        self.place.line
                    ));
                    return self.bad_line(fault);
                }
                Err(Trouble::Incomplete) if self.buffer.is_full() => return self.too_long(),
                Err(Trouble::Incomplete) => self.buffer.fill()?,
                Err(Trouble::Invalid { at, what }) => {
                    return self
                        .bad_line(Fault::data(format!("line {}: {what}", self.line_at(at))));
                }
                Err(Trouble::Limit { at, what }) => {
                    return self
                        .bad_line(Fault::limit(format!("line {}: {what}", self.line_at(at))));
                }
            }
        }
    }

    /// The line of a position in the record.
    fn line_at(&self, at: usize) -> u64 {
        let before = self.buffer.data().get(..at).unwrap_or_default();
        self.place.line + memchr_iter(b'\n', before).count() as u64
    }

    fn too_long(&mut self) -> Result<Step> {
        let limit = self.limits.record_bytes_max;
        let line = self.place.line;
        self.bad_line(Fault::limit(format!(
            "line {line}: a record exceeds record_bytes_max ({limit} bytes)"
        )))
    }

    /// Makes the line the record, which is bad; where records have several lines, all up to the
    /// next that looks like the beginning of one.
    fn bad_line(&mut self, fault: Fault) -> Result<Step> {
        loop {
            let (data, is_ended) = (self.buffer.data(), self.buffer.is_ended());
            let end = memchr_iter(b'\n', data).find(|at| match self.is_pretty {
                false => true,
                true => begins_record(data.get(at + 1..).unwrap_or_default(), self.indent),
            });
            if end.is_some() || is_ended || self.buffer.is_full() {
                self.length = end.unwrap_or(data.len());
                self.skips_line = end.is_none() && !is_ended;
                return Ok(Step::Bad(fault));
            }
            self.buffer.fill()?;
        }
    }
}

/// Whether a line begins an object as deep as the first one.
fn begins_record(line: &[u8], indent: Option<usize>) -> bool {
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    indent.is_none_or(|indent| blanks == indent) && line.get(blanks) == Some(&b'{')
}

fn name_of(kind: Scan<Kind>) -> &'static str {
    match kind {
        Ok(Kind::Number) => "a number",
        Ok(Kind::Text) => "a string",
        Ok(Kind::Boolean) => "a boolean",
        Ok(Kind::List) => "a list",
        Ok(Kind::Null) => "null",
        Ok(Kind::Object) | Err(_) => "a value",
    }
}

impl Records for JsonRecords {
    fn next(&mut self) -> Result<Step> {
        self.next_with(&mut |scanner| scanner.check(0))
    }

    fn place(&self) -> Place {
        self.place
    }

    fn bytes(&self) -> &[u8] {
        let bytes = self.buffer.data().get(..self.length).unwrap_or_default();
        bytes.strip_suffix(b"\r").unwrap_or(bytes)
    }

    fn rest(&self) -> &[u8] {
        self.buffer.data()
    }

    fn append(&mut self, columns: &mut Columns) -> std::result::Result<(), Fault> {
        let text = match self.text() {
            Ok(text) => text,
            Err(fault) => {
                columns.push_nulls();
                return Err(fault);
            }
        };
        let mut scanner = Scanner::over(text, self.bounds);
        columns
            .push_object(&mut scanner)
            .map_err(|misfit| misfit.fault(&self.describe(self.place), None))
    }

    fn describe(&self, place: Place) -> String {
        format!("line {}", place.line)
    }
}

impl JsonRecords {
    /// The text of the record.
    pub(crate) fn text(&self) -> std::result::Result<&str, Fault> {
        str::from_utf8(self.bytes()).map_err(|error| {
            let at = error.valid_up_to();
            let bad = self.bytes().get(at).copied().unwrap_or_default();
            Fault::data(format!(
                "line {} isn't UTF-8, it has the byte 0x{bad:02x}; convert the file to UTF-8",
                self.line_at(at)
            ))
        })
    }
}
