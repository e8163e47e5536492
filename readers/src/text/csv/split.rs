//! Cuts the text of CSV into records and fields.
//!
//! A field that begins with `"` goes on to the next `"` that isn't doubled, over delimiters and
//! line breaks; what follows up to the delimiter belongs to it as it is. Anywhere else `"` is a
//! character, and so is `\` everywhere. A record ends with `\n`, `\r` or `\r\n`. Empty lines are
//! passed over.

use memchr::{memchr, memchr_iter};

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
pub(crate) enum Found {
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
pub(crate) fn record(bytes: &[u8], delimiter: u8, is_last: bool, fields: &mut Vec<Field>) -> Found {
    fields.clear();
    if bytes.is_empty() {
        return if is_last { Found::Nothing } else { Found::Incomplete };
    }
    let breaks = Breaks::new(delimiter);
    let (mut at, mut inner_lines) = (0, 0);
    loop {
        let end = if bytes.get(at) == Some(&b'"') {
            let Some(quoted) = quoted(bytes, at, &breaks, is_last) else {
                return match is_last {
                    true => Found::Unclosed { lines: inner_lines },
                    false => Found::Incomplete,
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
            (Some(b'\r'), None) if !is_last => return Found::Incomplete,
            (Some(b'\r' | b'\n'), _) => return whole(end, 1, inner_lines),
            (Some(_), _) => at = end + 1,
            (None, _) if is_last => return whole(end, 0, inner_lines),
            (None, _) => return Found::Incomplete,
        }
    }
}

fn whole(length: usize, line_break: usize, inner_lines: usize) -> Found {
    let lines = inner_lines + usize::from(line_break > 0);
    Found::Record { length, with_break: length + line_break, lines }
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
    let close = loop {
        let quote = at + memchr(b'"', bytes.get(at..)?)?;
        match bytes.get(quote + 1) {
            Some(b'"') => has_quotes = true,
            None if !is_last => return None,
            _ => break quote,
        }
        at = quote + 2;
    };
    let end = breaks.next(bytes, close + 1);
    // What follows a closing quote is part of the field.
    let field = match end == close + 1 {
        true => Field { start, end: close, has_quotes },
        false => Field { start, end, has_quotes: true },
    };
    Some(Quoted { field, end })
}

/// The value of a field with quotes in it: doubled ones are one, and a single one closes the quoted
/// part, behind which all is taken as it is.
pub(crate) fn unquote(field: &str, into: &mut String) {
    into.clear();
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('"') {
        into.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                into.push('"');
                rest = after;
            }
            None => {
                rest = after;
                break;
            }
        }
    }
    into.push_str(rest);
}

/// Finds the next delimiter or line break, eight bytes at a time.
struct Breaks {
    delimiter: u8,
    delimiters: u64,
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
const NEWLINES: u64 = u64::from_ne_bytes([b'\n'; 8]);
const RETURNS: u64 = u64::from_ne_bytes([b'\r'; 8]);

impl Breaks {
    fn new(delimiter: u8) -> Self {
        Self { delimiter, delimiters: u64::from_ne_bytes([delimiter; 8]) }
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
        let is_break = |byte: &u8| *byte == self.delimiter || matches!(byte, b'\n' | b'\r');
        at + rest.iter().position(is_break).unwrap_or(rest.len())
    }
}

/// The highest bit of the lowest byte that is zero is set; bits of lower bytes are not.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}
