//! Takes JSON values from bytes.
//!
//! It is JSON as the standard has it, with two liberties: `NaN` and `Infinity` are numbers, as
//! Python writes them, and control characters other than line breaks may be in strings.

use memchr::memchr2;

use crate::limits::Limits;

/// Why a value can't be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The bytes end before the value does.
    Incomplete,
    /// It isn't JSON at this position.
    Invalid { at: usize, what: String },
    /// A limit is exceeded at this position.
    Limit { at: usize, what: String },
}

pub(crate) type Scan<T> = std::result::Result<T, Trouble>;

/// A value that was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    /// A string without its escapes.
    Text(&'a str),
    /// A number or a boolean as it is written.
    Scalar(&'a str),
    /// A list or an object as it is written.
    Nested(&'a str),
}

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    List,
    Object,
}

/// What a value may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) depth_max: usize,
    pub(crate) value_bytes_max: usize,
}

impl Bounds {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { depth_max: limits.depth_max, value_bytes_max: limits.value_bytes_max }
    }
}

/// A position in bytes of JSON.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    /// The same, where it is known to be UTF-8.
    text: Option<&'a str>,
    at: usize,
    /// Whether nothing follows the bytes.
    is_last: bool,
    bounds: Bounds,
    /// A string whose escapes are resolved.
    unescaped: String,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8], is_last: bool, bounds: Bounds) -> Self {
        Self { bytes, text: None, at: 0, is_last, bounds, unescaped: String::new() }
    }

    /// Over a whole text.
    pub(crate) fn over(text: &'a str, bounds: Bounds) -> Self {
        Self { text: Some(text), ..Self::new(text.as_bytes(), true, bounds) }
    }

    /// The position.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Moves past white space.
    pub(crate) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The byte here.
    fn peek(&self) -> Scan<u8> {
        self.bytes.get(self.at).copied().ok_or(Trouble::Incomplete)
    }

    /// Moves past that byte if it is here.
    fn take(&mut self, byte: u8) -> bool {
        let is_here = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_here);
        is_here
    }

    fn invalid<T>(&self, expected: &str) -> Scan<T> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Err(Trouble::Incomplete);
        }
        let head = String::from_utf8_lossy(rest.get(..rest.len().min(16)).unwrap_or_default());
        let found: String = head
            .chars()
            .enumerate()
            .take_while(|(at, c)| *at == 0 || c.is_alphanumeric())
            .map(|(_, c)| c)
            .collect();
        let what = format!("expected {expected}, found {found:?}");
        Err(Trouble::Invalid { at: self.at, what })
    }

    /// What the value here is.
    pub(crate) fn kind(&self) -> Scan<Kind> {
        match self.peek()? {
            b'"' => Ok(Kind::Text),
            b'{' => Ok(Kind::Object),
            b'[' => Ok(Kind::List),
            b'n' => Ok(Kind::Null),
            b't' | b'f' => Ok(Kind::Boolean),
            b'0'..=b'9' | b'-' | b'N' | b'I' => Ok(Kind::Number),
            _ => self.invalid("a value"),
        }
    }

    /// Moves past a value and checks all of it. `depth` is that of the value, 0 outside.
    pub(crate) fn check(&mut self, depth: usize) -> Scan<()> {
        match self.kind()? {
            Kind::Text => self.string().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Null | Kind::Boolean => self.word().map(drop),
            Kind::List => {
                self.open(b'[', depth)?;
                let mut is_first = true;
                while self.item(&mut is_first)? {
                    self.check(depth + 1)?;
                }
                Ok(())
            }
            Kind::Object => {
                self.open(b'{', depth)?;
                let mut is_first = true;
                while self.key(&mut is_first)?.is_some() {
                    self.check(depth + 1)?;
                }
                Ok(())
            }
        }
    }

    /// Moves past the bracket that opens a list or an object.
    pub(crate) fn open(&mut self, bracket: u8, depth: usize) -> Scan<()> {
        if depth >= self.bounds.depth_max {
            let what = format!("more than depth_max ({}) nested values", self.bounds.depth_max);
            return Err(Trouble::Limit { at: self.at, what });
        }
        self.take(bracket);
        Ok(())
    }

    /// Moves to the next item of an opened list; `false` behind its end.
    pub(crate) fn item(&mut self, is_first: &mut bool) -> Scan<bool> {
        self.space();
        let was_first = std::mem::take(is_first);
        if self.take(b']') {
            return Ok(false);
        }
        if !was_first {
            if !self.take(b',') {
                return self.invalid("',' or ']'");
            }
            self.space();
        }
        match self.peek()? {
            b']' => self.invalid("a value"),
            _ => Ok(true),
        }
    }

    /// Moves to the value of the next field of an opened object and gives the field's name as it is
    /// written between its quotes; `None` behind the object's end.
    pub(crate) fn key(&mut self, is_first: &mut bool) -> Scan<Option<Raw>> {
        self.space();
        let was_first = std::mem::take(is_first);
        if self.take(b'}') {
            return Ok(None);
        }
        if !was_first {
            if !self.take(b',') {
                return self.invalid("',' or '}'");
            }
            self.space();
        }
        if self.peek()? != b'"' {
            return self.invalid("the name of a field in quotes");
        }
        let name = self.string()?;
        self.space();
        if !self.take(b':') {
            return self.invalid("':'");
        }
        self.space();
        Ok(Some(name))
    }

    /// Moves past a string and checks it.
    pub(crate) fn string(&mut self) -> Scan<Raw> {
        let start = self.at + 1;
        let mut at = start;
        let mut has_escapes = false;
        loop {
            let rest = self.bytes.get(at..).ok_or(Trouble::Incomplete)?;
            let found = memchr2(b'"', b'\\', rest);
            let plain = rest.get(..found.unwrap_or(rest.len())).unwrap_or_default();
            if let Some(line_break) = memchr2(b'\n', b'\r', plain) {
                let what = "a string isn't closed before the end of the line".to_string();
                return Err(Trouble::Invalid { at: at + line_break, what });
            }
            at += found.ok_or(Trouble::Incomplete)?;
            if self.bytes.get(at) == Some(&b'"') {
                break;
            }
            has_escapes = true;
            at = self.escape(at)?.1;
        }
        if at - start > self.bounds.value_bytes_max {
            let limit = self.bounds.value_bytes_max;
            let what = format!("a value exceeds value_bytes_max ({limit} bytes)");
            return Err(Trouble::Limit { at: start, what });
        }
        self.at = at + 1;
        Ok(Raw { start, end: at, has_escapes })
    }

    /// The character that the escape at a position stands for, and the position behind it.
    fn escape(&self, at: usize) -> Scan<(char, usize)> {
        let letter = self.bytes.get(at + 1).ok_or(Trouble::Incomplete)?;
        let single = match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(at),
            _ => {
                let what = format!("'\\{}' is not a JSON escape", char::from(*letter));
                return Err(Trouble::Invalid { at, what });
            }
        };
        Ok((single, at + 2))
    }

    /// The character of `\uXXXX`, or of a pair of those.
    fn unicode(&self, at: usize) -> Scan<(char, usize)> {
        let first = self.hex(at)?;
        if let Some(single) = char::from_u32(first) {
            return Ok((single, at + 6));
        }
        let half = || {
            let what = format!("'\\u{first:04x}' is half of a surrogate pair");
            Trouble::Invalid { at, what }
        };
        for (behind, byte) in [(6, b'\\'), (7, b'u')] {
            match self.bytes.get(at + behind) {
                None => return Err(Trouble::Incomplete),
                Some(there) if *there == byte => {}
                Some(_) => return Err(half()),
            }
        }
        let second = self.hex(at + 6)?;
        let is_pair = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
        let both = is_pair.then(|| 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
        let character = both.and_then(char::from_u32).ok_or_else(half)?;
        Ok((character, at + 12))
    }

    fn hex(&self, at: usize) -> Scan<u32> {
        let digits = self.bytes.get(at + 2..at + 6).ok_or(Trouble::Incomplete)?;
        digits.iter().try_fold(0, |sum, digit| {
            char::from(*digit).to_digit(16).map(|digit| sum * 16 + digit).ok_or_else(|| {
                let what = "'\\u' needs four hexadecimal digits".to_string();
                Trouble::Invalid { at, what }
            })
        })
    }

    /// Moves past a number and gives it as it is written.
    pub(crate) fn number(&mut self) -> Scan<&'a [u8]> {
        let start = self.at;
        if self.special()? {
            return Ok(self.bytes.get(start..self.at).unwrap_or_default());
        }
        self.take(b'-');
        let first = self.peek_number(start)?;
        let count = self.digits();
        if count == 0 || (first == b'0' && count > 1) {
            self.at = start;
            return self.invalid("a number");
        }
        if self.take(b'.') && self.digits() == 0 {
            return self.unless_cut(start);
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.unless_cut(start);
            }
        }
        if self.at == self.bytes.len() && !self.is_last {
            return Err(Trouble::Incomplete);
        }
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// The byte behind the sign of a number.
    fn peek_number(&mut self, start: usize) -> Scan<u8> {
        match self.peek()? {
            byte if byte.is_ascii_digit() => Ok(byte),
            _ => {
                self.at = start;
                self.invalid("a number")
            }
        }
    }

    /// The trouble of a number that ends too early, which more bytes may fix.
    fn unless_cut<T>(&mut self, start: usize) -> Scan<T> {
        if self.at == self.bytes.len() {
            return Err(Trouble::Incomplete);
        }
        self.at = start;
        self.invalid("a number")
    }

    /// Moves past `NaN` or `Infinity`.
    fn special(&mut self) -> Scan<bool> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let names: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
        if !self.is_last
            && names.iter().any(|name| rest.len() < name.len() && name.starts_with(rest))
        {
            return Err(Trouble::Incomplete);
        }
        let name = names.iter().find(|name| rest.starts_with(name));
        self.at += name.map_or(0, |name| name.len());
        Ok(name.is_some())
    }

    fn digits(&mut self) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// Moves past `null`, `true` or `false` and gives it.
    fn word(&mut self) -> Scan<&'static str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        for word in ["null", "true", "false"] {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(word);
            }
            if !self.is_last && word.as_bytes().starts_with(rest) {
                return Err(Trouble::Incomplete);
            }
        }
        self.invalid("a value")
    }

    /// The text between two positions, if it is UTF-8.
    pub(crate) fn between(&self, start: usize, end: usize) -> &'a str {
        match self.text {
            Some(text) => text.get(start..end).unwrap_or_default(),
            None => {
                let bytes = self.bytes.get(start..end).unwrap_or_default();
                std::str::from_utf8(bytes).unwrap_or_default()
            }
        }
    }

    /// The text of a string that was taken.
    pub(crate) fn text_of(&mut self, raw: Raw) -> &str {
        let written = self.between(raw.start, raw.end);
        if !raw.has_escapes {
            return written;
        }
        let mut unescaped = std::mem::take(&mut self.unescaped);
        unescaped.clear();
        let mut at = raw.start;
        while at < raw.end {
            let rest = self.between(at, raw.end);
            let Some(plain) = rest.find('\\') else {
                unescaped.push_str(rest);
                break;
            };
            unescaped.push_str(rest.get(..plain).unwrap_or_default());
            let Ok((character, behind)) = self.escape(at + plain) else { break };
            unescaped.push(character);
            at = behind;
        }
        self.unescaped = unescaped;
        &self.unescaped
    }

    /// Takes a value that was checked before.
    pub(crate) fn value(&mut self) -> Value<'_> {
        let start = self.at;
        let kind = self.kind();
        if kind == Ok(Kind::Text) {
            return match self.string() {
                Ok(raw) => Value::Text(self.text_of(raw)),
                Err(_) => Value::Null,
            };
        }
        let is_whole = self.check(0).is_ok();
        let text = self.between(start, self.at);
        match kind {
            Ok(Kind::Number | Kind::Boolean) if is_whole => Value::Scalar(text),
            Ok(Kind::List | Kind::Object) if is_whole => Value::Nested(text),
            _ => Value::Null,
        }
    }
}

/// A string as it is written, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    /// Behind its opening quote.
    pub(crate) start: usize,
    /// Before its closing quote.
    pub(crate) end: usize,
    pub(crate) has_escapes: bool,
}
