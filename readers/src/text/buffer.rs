//! The bytes of a file as one growing window, from which records are taken.
//!
//! - *Invariant:* the window holds whole bytes of the text in order; `offset` is the place of its
//!   first byte.
//! - *Invariant:* it grows only while a record doesn't fit, and never past twice the limit of one.

use std::io::{self, Read};

use crate::error::{Error, Result};
use crate::limits::{Cancel, Limits};
use crate::open::{self, Compression, Open};

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A window over the text of a file.
pub(crate) struct Buffer {
    name: String,
    input: Box<dyn Read + Send>,
    compression: Compression,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    is_ended: bool,
    /// Why nothing can be read behind what is there.
    failure: Option<Error>,
    cancel: Cancel,
    record_bytes_max: usize,
}

impl Buffer {
    /// The text from the beginning, without a byte-order mark.
    ///
    /// # Errors
    /// A file that can't be opened, or is UTF-16.
    pub(crate) fn open(file: &dyn Open, limits: &Limits, cancel: &Cancel) -> Result<Self> {
        let (compression, input) = open::open_text(file)?;
        let mut buffer = Self::new(file.name(), input, compression, 0, limits, cancel);
        buffer.fill_to(BYTE_ORDER_MARK.len())?;
        let head = buffer.data();
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
            return Err(Error::Data(format!(
                "file '{name}' is UTF-16; convert it with iconv -f UTF-16 -t UTF-8",
                name = buffer.name
            )));
        }
        if head.starts_with(BYTE_ORDER_MARK) {
            buffer.consume(BYTE_ORDER_MARK.len());
        }
        Ok(buffer)
    }

    /// The text of an uncompressed file from `offset` on.
    ///
    /// # Errors
    /// A file that can't be opened.
    pub(crate) fn open_at(
        file: &dyn Open,
        offset: u64,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<Self> {
        let input = open::open_at(file, offset)?;
        Ok(Self::new(file.name(), input, Compression::None, offset, limits, cancel))
    }

    fn new(
        name: &str,
        input: Box<dyn Read + Send>,
        compression: Compression,
        offset: u64,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Self {
        Self {
            name: name.to_string(),
            input,
            compression,
            bytes: Vec::new(),
            start: 0,
            end: 0,
            offset,
            is_ended: false,
            failure: None,
            cancel: cancel.clone(),
            record_bytes_max: limits.record_bytes_max,
        }
    }

    /// The name of the file, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// What is there and not consumed.
    pub(crate) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether nothing follows [`Buffer::data`].
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// The place of the first byte of [`Buffer::data`] in the text.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Moves past bytes of [`Buffer::data`].
    pub(crate) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Whether a record that fills the window is longer than one may be.
    pub(crate) fn is_full(&self) -> bool {
        self.end - self.start > self.record_bytes_max
    }

    /// Reads until there are so many bytes, unless the text ends or is damaged before.
    ///
    /// # Errors
    /// As [`Buffer::fill`]; damage only where there is nothing before it.
    pub(crate) fn fill_to(&mut self, count: usize) -> Result<()> {
        while self.data().len() < count && !self.is_ended {
            match self.fill() {
                Err(Error::Data(_)) if !self.data().is_empty() => break,
                filled => filled?,
            }
        }
        Ok(())
    }

    /// Reads more, at least one byte unless the text ends.
    ///
    /// # Errors
    /// A failing disk, damaged compression, and [`Error::Cancelled`].
    pub(crate) fn fill(&mut self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // At least as much again as there is, so that a long record is looked at a few times only.
        let wanted = self.end;
        let room = READ_BYTES.max(wanted);
        if self.bytes.len() < self.end + room {
            self.bytes.resize(self.end + room, 0);
        }
        let mut gained = 0;
        while gained == 0 || gained < wanted {
            let free = self.bytes.get_mut(self.end..).unwrap_or_default();
            match self.input.read(free) {
                Ok(0) => {
                    self.is_ended = true;
                    break;
                }
                Ok(count) => {
                    gained += count.min(free.len());
                    self.end += count.min(free.len());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let failure = open::failure(&self.name, self.compression, &error);
                    self.failure = Some(failure.clone());
                    return Err(failure);
                }
            }
        }
        Ok(())
    }
}
