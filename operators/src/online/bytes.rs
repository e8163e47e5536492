//! States as bytes: a header that says whose state it is and in which version, numbers with the
//! least significant byte first, and a checksum over all of it.
//!
//! *Invariant:* bytes that were changed or cut off anywhere are rejected with a message, and no
//! bytes make the reader panic or allocate more than a few times their own length.

use crate::error::{OperatorError, Result};

/// What every state begins with.
const MAGIC: [u8; 8] = *b"SemblaOn";

/// The version that is written and read. It is raised when the meaning of any state changes.
const VERSION: u32 = 1;

/// Bytes of the checksum at the end: BLAKE3, shortened.
const CHECKSUM_BYTES: usize = 16;

/// Writes a state.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins the state of the operator of that name.
    pub(super) fn new(name: &str) -> Self {
        let mut writer = Self { bytes: MAGIC.to_vec() };
        writer.u32(VERSION);
        writer.bytes(name.as_bytes());
        writer
    }

    /// Ends the state.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let sum = checksum(&self.bytes);
        self.bytes.extend_from_slice(&sum);
        self.bytes
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn f64(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn count(&mut self, value: usize) {
        self.u64(value as u64);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn f32s(&mut self, values: &[f32]) {
        self.count(values.len());
        values.iter().for_each(|value| self.bytes.extend_from_slice(&value.to_le_bytes()));
    }

    pub(super) fn i8s(&mut self, values: &[i8]) {
        self.count(values.len());
        self.bytes.extend(values.iter().map(|value| value.cast_unsigned()));
    }

    /// A value that may not be there.
    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads a state.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    name: &'static str,
}

impl<'a> Reader<'a> {
    /// Begins to read the state of the operator of that name.
    ///
    /// # Errors
    /// [`OperatorError::Data`] for bytes that are no state, are damaged, belong to another operator
    /// or have another version.
    pub(super) fn new(name: &'static str, bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Self { rest: checked(name, bytes)?, name };
        let version = reader.u32()?;
        if version != VERSION {
            return Err(OperatorError::Data(format!(
                "the state of {name} has version {version}, but this program reads version {VERSION}"
            )));
        }
        let other = reader.bytes()?;
        if other != name.as_bytes() {
            return Err(OperatorError::Data(format!(
                "{name} got the state of {}",
                String::from_utf8_lossy(other)
            )));
        }
        Ok(reader)
    }

    /// Ends the state.
    ///
    /// # Errors
    /// [`OperatorError::Data`] when more follows.
    pub(super) fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.wrong("more bytes than it should have"))
        }
    }

    /// The error for a state that can't be.
    pub(super) fn wrong(&self, what: &str) -> OperatorError {
        OperatorError::Data(format!("the state of {} is wrong: it has {what}", self.name))
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(bytes).ok_or_else(|| self.wrong("too few bytes"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.wrong("too few bytes"))
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(self.wrong("a flag that is neither 0 nor 1")),
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A number that is finite.
    pub(super) fn f64(&mut self) -> Result<f64> {
        let value = f64::from_le_bytes(self.array()?);
        if value.is_finite() { Ok(value) } else { Err(self.wrong("a number that is not finite")) }
    }

    /// A number of things that take at least so many bytes each.
    pub(super) fn count(&mut self, least_bytes: usize) -> Result<usize> {
        let count = usize::try_from(self.u64()?).map_err(|_| self.wrong("too few bytes"))?;
        match count.checked_mul(least_bytes) {
            Some(bytes) if bytes <= self.rest.len() => Ok(count),
            _ => Err(self.wrong("too few bytes")),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let count = self.count(1)?;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.wrong("a text that is not UTF-8"))
    }

    pub(super) fn f32s(&mut self) -> Result<Vec<f32>> {
        let count = self.count(size_of::<f32>())?;
        let bytes = self.take(count * size_of::<f32>())?;
        let values: Vec<f32> =
            bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let finite = values.iter().all(|value| value.is_finite());
        if finite { Ok(values) } else { Err(self.wrong("a number that is not finite")) }
    }

    pub(super) fn i8s(&mut self) -> Result<Vec<i8>> {
        Ok(self.bytes()?.iter().map(|byte| byte.cast_signed()).collect())
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    /// Some things that take at least so many bytes each.
    pub(super) fn list<T>(
        &mut self,
        least_bytes: usize,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.count(least_bytes)?;
        (0..count).map(|_| read(self)).collect()
    }
}

/// What lies between the magic bytes and the checksum.
fn checked<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let Some((body, sum)) = bytes
        .len()
        .checked_sub(CHECKSUM_BYTES)
        .and_then(|length| bytes.split_at_checked(length))
        .filter(|(body, _)| body.starts_with(&MAGIC))
    else {
        return Err(OperatorError::Data(format!(
            "the state of {name} can't be read: these {} bytes are not a state",
            bytes.len()
        )));
    };
    if checksum(body) != *sum {
        return Err(OperatorError::Data(format!(
            "the state of {name} is damaged: its checksum does not match; restore an earlier one"
        )));
    }
    Ok(body.get(MAGIC.len()..).unwrap_or_default())
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.iter_mut().zip(blake3::hash(bytes).as_bytes()).for_each(|(sum, byte)| *sum = *byte);
    sum
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every byte changed in every bit pattern of some, and every length cut off, must be rejected.
    pub(in crate::online) fn every_damage_is_refused<T>(
        state: &[u8],
        read: impl Fn(&[u8]) -> Result<T>,
    ) {
        assert!(read(state).is_ok(), "the state itself is sound");
        for at in 0..state.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = state.to_vec();
                changed[at] ^= flip;
                let refused = read(&changed).err().map(|error| error.to_string());
                let refused = refused.unwrap_or_else(|| panic!("byte {at} of {}", state.len()));
                assert!(refused.starts_with("the state of "), "{refused}");
            }
            assert!(read(&state[..at]).is_err(), "{at} of {} bytes", state.len());
        }
        assert!(read(&[state, &[0]].concat()).is_err());
    }

    fn written() -> Vec<u8> {
        let mut writer = Writer::new("numbers");
        writer.flag(true);
        writer.i64(-7);
        writer.f64(0.5);
        writer.f32s(&[1.0, -2.0]);
        writer.i8s(&[-128, 127]);
        writer.text("ä");
        writer.option(None::<u64>, Writer::u64);
        writer.option(Some(9), Writer::u64);
        writer.finish()
    }

    fn read(bytes: &[u8]) -> Result<()> {
        let mut reader = Reader::new("numbers", bytes)?;
        assert!(reader.flag()?);
        assert_eq!(reader.i64()?, -7);
        assert_eq!(reader.f64()?, 0.5);
        assert_eq!(reader.f32s()?, [1.0, -2.0]);
        assert_eq!(reader.i8s()?, [-128, 127]);
        assert_eq!(reader.text()?, "ä");
        assert_eq!(reader.option(Reader::u64)?, None);
        assert_eq!(reader.option(Reader::u64)?, Some(9));
        reader.finish()
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_refused() {
        every_damage_is_refused(&written(), read);
    }

    #[test]
    fn each_mistake_gets_its_line() {
        let message =
            |bytes: &[u8]| Reader::new("words", bytes).err().expect("refused").to_string();
        assert_eq!(message(&written()), "words got the state of numbers");
        assert_eq!(
            message(b"x"),
            "the state of words can't be read: these 1 bytes are not a state"
        );
        let mut newer = MAGIC.to_vec();
        newer.extend_from_slice(&2_u32.to_le_bytes());
        newer.extend_from_slice(&checksum(&newer));
        assert_eq!(
            message(&newer),
            "the state of words has version 2, but this program reads version 1"
        );
    }

    /// What a checksum can't see: bytes that were never a state of ours.
    #[test]
    fn lengths_that_lie_are_refused() {
        let mut writer = Writer::new("numbers");
        writer.u64(u64::MAX);
        let state = writer.finish();
        let mut reader = Reader::new("numbers", &state).expect("a header");
        assert!(reader.f32s().is_err());
        let mut reader = Reader::new("numbers", &state).expect("a header");
        assert!(reader.list(1, Reader::u64).is_err());
        assert!(Reader::new("numbers", &state).expect("a header").finish().is_err());
    }
}
