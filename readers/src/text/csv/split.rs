//! Cuts the text of CSV into records and fields.
//!
//! A field that begins with a quote goes on to the next one that isn't doubled or escaped, over
//! delimiters and line breaks; what follows up to the delimiter belongs to it as it is. Anywhere
//! else a quote is a character, and so is the escape outside of quotes. A record ends with `\n`,
//! `\r` or `\r\n`. Empty lines are passed over.

use memchr::{memchr, memchr_iter, memchr2};

use crate::text::dialect::CsvDialect;

/// The bytes that mean something in a file, beside line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Between fields.
    pub(crate) delimiter: u8,
    /// Around fields.
    pub(crate) quote: u8,
    /// Before a quote that belongs to the field; `None` where only two quotes are one.
    pub(crate) escape: Option<u8>,
}

impl Marks {
    /// Those of a file.
    pub(crate) fn of(dialect: &CsvDialect) -> Self {
        Self { delimiter: dialect.delimiter, quote: dialect.quote, escape: dialect.escape }
    }
}

/// A field of a record, by its place in the record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its first byte, behind an opening quote.
    pub(crate) start: usize,
    /// Behind its last byte, before a closing quote.
    pub(crate) end: usize,
    /// Whether quotes in it are to be resolved; see [`unquote`].
    pub(crate) has_quotes: bool,
}

/// What was found at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// A whole record.
    Record {
        /// Bytes up to its line break.
        length: usize,
        /// Bytes with its line break.
        with_break: usize,
        /// Line breaks in it and at its end.
        lines: usize,
    },
    /// More bytes are needed.
    Incomplete,
    /// The text ends in a field whose quote is not closed.
    Unclosed {
        /// Line breaks before the quote.
        lines: usize,
    },
    /// There is no record.
    Nothing,
}

/// Bytes and line breaks of the empty lines at the beginning; `None` where more bytes are needed to
/// tell.
pub(crate) fn empty_lines(bytes: &[u8], is_last: bool) -> Option<(usize, usize)> {
    let (mut at, mut lines) = (0, 0);
    while let Some(byte @ (b'\n' | b'\r')) = bytes.get(at) {
        let length = match (byte, bytes.get(at + 1)) {
            (b'\r', Some(b'\n')) => 2,
            (b'\r', None) if !is_last => return None,
            _ => 1,
        };
        at += length;
        lines += 1;
    }
    Some((at, lines))
}

/// Takes a record from bytes that don't begin with a line break, and puts its fields into `fields`.
/// `is_last` says that nothing follows the bytes.
pub(crate) fn record(
    bytes: &[u8],
    marks: Marks,
    is_last: bool,
    fields: &mut Vec<Field>,
) -> Scanned {
    fields.clear();
    if bytes.is_empty() {
        return if is_last { Scanned::Nothing } else { Scanned::Incomplete };
    }
    let breaks = Breaks::new(marks);
    let (mut at, mut inner_lines) = (0, 0);
    loop {
        let end = if bytes.get(at) == Some(&marks.quote) {
            let Some(quoted) = quoted(bytes, at, &breaks, is_last) else {
                return match is_last {
                    true => Scanned::Unclosed { lines: inner_lines },
                    false => Scanned::Incomplete,
                };
            };
            let text = bytes.get(at..quoted.end).unwrap_or_default();
            inner_lines += memchr_iter(b'\n', text).count();
            fields.push(quoted.field);
            quoted.end
        } else {
            let end = breaks.next(bytes, at);
            fields.push(Field { start: at, end, has_quotes: false });
            end
        };
        match (bytes.get(end), bytes.get(end + 1)) {
            (Some(b'\r'), Some(b'\n')) => return whole(end, 2, inner_lines),
            (Some(b'\r'), None) if !is_last => return Scanned::Incomplete,
            (Some(b'\r' | b'\n'), _) => return whole(end, 1, inner_lines),
            (Some(_), _) => at = end + 1,
            (None, _) if is_last => return whole(end, 0, inner_lines),
            (None, _) => return Scanned::Incomplete,
        }
    }
}

fn whole(length: usize, line_break: usize, inner_lines: usize) -> Scanned {
    let lines = inner_lines + usize::from(line_break > 0);
    Scanned::Record { length, with_break: length + line_break, lines }
}

/// A field in quotes, and where its delimiter or line break is.
struct Quoted {
    field: Field,
    end: usize,
}

/// The field whose opening quote is at `open`; `None` where its end is not in the bytes.
fn quoted(bytes: &[u8], open: usize, breaks: &Breaks, is_last: bool) -> Option<Quoted> {
    let start = open + 1;
    let mut at = start;
    let mut has_quotes = false;
    let Marks { quote, escape, .. } = breaks.marks;
    let close = loop {
        let rest = bytes.get(at..)?;
        let found = at
            + match escape {
                None => memchr(quote, rest)?,
                Some(escape) => memchr2(quote, escape, rest)?,
            };
        let is_escape = bytes.get(found) != Some(&quote);
        match bytes.get(found + 1) {
            Some(next) if is_escape || *next == quote => has_quotes = true,
            None if !is_last => return None,
            None if is_escape => return None,
            _ => break found,
        }
        at = found + 2;
    };
    let end = breaks.next(bytes, close + 1);
    // What follows a closing quote is part of the field.
    let field = match end == close + 1 {
        true => Field { start, end: close, has_quotes },
        false => Field { start, end, has_quotes: true },
    };
    Some(Quoted { field, end })
}

/// Whether text follows the closing quote of a field that begins with one.
pub(crate) fn has_tail(bytes: &[u8], field: &Field, quote: u8) -> bool {
    let before = field.start.checked_sub(1).and_then(|at| bytes.get(at));
    before == Some(&quote) && field.has_quotes && bytes.get(field.end) != Some(&quote)
}

/// The value of a field with quotes in it: doubled ones are one, escaped ones are themselves, and a
/// single one closes the quoted part, behind which all is taken as it is.
pub(crate) fn unquote(field: &str, marks: Marks, into: &mut String) {
    into.clear();
    let quote = char::from(marks.quote);
    let escape = marks.escape.filter(|escape| *escape != marks.quote).map(char::from);
    let is_mark = |letter: char| letter == quote || Some(letter) == escape;
    let mut rest = field;
    while let Some(at) = rest.find(is_mark) {
        let (before, from_mark) = rest.split_at(at);
        into.push_str(before);
        let mut letters = from_mark.chars();
        let (mark, next) = (letters.next(), letters.next());
        rest = match (mark, next) {
            (_, Some(next)) if is_mark(next) && (mark != Some(quote) || next == quote) => {
                into.push(next);
                letters.as_str()
            }
            // An escape before any other letter is a letter too.
            (Some(mark), _) if mark != quote => {
                into.push(mark);
                from_mark.get(mark.len_utf8()..).unwrap_or_default()
            }
            _ => {
                rest = from_mark.get(quote.len_utf8()..).unwrap_or_default();
                break;
            }
        };
    }
    into.push_str(rest);
}

/// Finds the next delimiter or line break, eight bytes at a time.
struct Breaks {
    marks: Marks,
    delimiters: u64,
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
const NEWLINES: u64 = u64::from_ne_bytes([b'\n'; 8]);
const RETURNS: u64 = u64::from_ne_bytes([b'\r'; 8]);

impl Breaks {
    fn new(marks: Marks) -> Self {
        Self { marks, delimiters: u64::from_ne_bytes([marks.delimiter; 8]) }
    }

    /// Where the next one is from `from` on, or the end of the bytes.
    fn next(&self, bytes: &[u8], from: usize) -> usize {
        let mut at = from.min(bytes.len());
        let (chunks, rest) = bytes.get(at..).unwrap_or_default().as_chunks::<8>();
        for chunk in chunks {
            let word = u64::from_le_bytes(*chunk);
            let zeros =
                zeros(word ^ self.delimiters) | zeros(word ^ NEWLINES) | zeros(word ^ RETURNS);
            if zeros != 0 {
                return at + zeros.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        let is_break = |byte: &u8| *byte == self.marks.delimiter || matches!(byte, b'\n' | b'\r');
        at + rest.iter().position(is_break).unwrap_or(rest.len())
    }
}

/// The highest bit of the lowest byte that is zero is set; bits of lower bytes are not.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}
