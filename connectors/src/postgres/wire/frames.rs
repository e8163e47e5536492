//! The bytes of messages, there and back.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::TextRow;
use super::error::{WireError, WireResult as Result};

/// The version of the protocol: 3.0.
const VERSION: u32 = 3 << 16;
/// The number that asks for TLS in the place of a version.
const TLS_REQUEST: u32 = 80_877_103;

/// Messages to send.
#[derive(Default)]
pub(super) struct Frames(BytesMut);

impl Frames {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The question whether the server speaks TLS.
    pub(super) fn tls_request(&mut self) {
        self.0.put_u32(8);
        self.0.put_u32(TLS_REQUEST);
    }

    /// The first message: who one is.
    pub(super) fn startup(&mut self, parameters: &[(&str, &str)]) -> Result<()> {
        self.framed(None, |out| {
            out.put_u32(VERSION);
            for (name, value) in parameters {
                put_text(out, name)?;
                put_text(out, value)?;
            }
            out.put_u8(0);
            Ok(())
        })
    }

    /// An answer to a question for a password.
    pub(super) fn password(&mut self, password: &str) -> Result<()> {
        self.framed(Some(b'p'), |out| put_text(out, password))
    }

    /// The first message of SASL.
    pub(super) fn sasl_first(&mut self, mechanism: &str, message: &[u8]) -> Result<()> {
        self.framed(Some(b'p'), |out| {
            put_text(out, mechanism)?;
            out.put_u32(length_of(message.len())?);
            out.put_slice(message);
            Ok(())
        })
    }

    /// A later message of SASL.
    pub(super) fn sasl_next(&mut self, message: &[u8]) -> Result<()> {
        self.framed(Some(b'p'), |out| {
            out.put_slice(message);
            Ok(())
        })
    }

    /// Statements of the simple protocol.
    pub(super) fn simple(&mut self, sql: &str) -> Result<()> {
        self.framed(Some(b'Q'), |out| put_text(out, sql))
    }

    /// One statement with its parameters, run to its end.
    pub(super) fn statement(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<()> {
        self.framed(Some(b'P'), |out| {
            put_text(out, "")?;
            put_text(out, sql)?;
            out.put_u16(0);
            Ok(())
        })?;
        self.framed(Some(b'B'), |out| {
            out.put_u8(0);
            out.put_u8(0);
            out.put_u16(0);
            let count = u16::try_from(parameters.len());
            out.put_u16(count.map_err(|_| WireError::Protocol("too many parameters".into()))?);
            for parameter in parameters {
                match parameter {
                    None => out.put_i32(-1),
                    Some(text) => {
                        out.put_u32(length_of(text.len())?);
                        out.put_slice(text.as_bytes());
                    }
                }
            }
            out.put_u16(0);
            Ok(())
        })?;
        self.framed(Some(b'E'), |out| {
            out.put_u8(0);
            out.put_u32(0);
            Ok(())
        })?;
        self.framed(Some(b'S'), |_| Ok(()))
    }

    /// A piece of a COPY.
    pub(super) fn copy_data(&mut self, piece: &[u8]) -> Result<()> {
        self.framed(Some(b'd'), |out| {
            out.put_slice(piece);
            Ok(())
        })
    }

    /// The end of a COPY.
    pub(super) fn copy_done(&mut self) -> Result<()> {
        self.framed(Some(b'c'), |_| Ok(()))
    }

    /// The end of the connection.
    pub(super) fn terminate(&mut self) -> Result<()> {
        self.framed(Some(b'X'), |_| Ok(()))
    }

    /// A message with its kind, if it has one, and its length before it.
    fn framed(
        &mut self,
        kind: Option<u8>,
        body: impl FnOnce(&mut BytesMut) -> Result<()>,
    ) -> Result<()> {
        if let Some(kind) = kind {
            self.0.put_u8(kind);
        }
        let start = self.0.len();
        self.0.put_u32(0);
        body(&mut self.0)?;
        let length = length_of(self.0.len() - start)?;
        if let Some(place) = self.0.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

/// A text that ends with a zero, which it can't contain.
fn put_text(out: &mut BytesMut, text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(WireError::Protocol("a text with the character U+0000".into()));
    }
    out.put_slice(text.as_bytes());
    out.put_u8(0);
    Ok(())
}

fn length_of(bytes: usize) -> Result<u32> {
    let length = i32::try_from(bytes).ok().and_then(|length| u32::try_from(length).ok());
    length.ok_or_else(|| WireError::Protocol(format!("a message of {bytes} bytes")))
}

/// The values of a DataRow.
pub(super) fn columns_of(body: &Bytes) -> Result<TextRow> {
    let torn = || WireError::Protocol("a row that is cut short".into());
    let mut rest = body.clone();
    let count = rest.try_get_u16().map_err(|_| torn())?;
    let mut row = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let length = rest.try_get_i32().map_err(|_| torn())?;
        let Ok(length) = usize::try_from(length) else {
            row.push(None);
            continue;
        };
        if rest.len() < length {
            return Err(torn());
        }
        let value = String::from_utf8(rest.split_to(length).into());
        row.push(Some(value.map_err(|_| WireError::Protocol("a text that is no UTF-8".into()))?));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_kind_and_its_length_before_it() {
        let mut frames = Frames::default();
        frames.simple("SELECT 1").expect("a statement");
        assert_eq!(frames.bytes(), b"Q\0\0\0\x0dSELECT 1\0");
        frames.clear();
        frames.startup(&[("user", "me")]).expect("a user");
        assert_eq!(frames.bytes(), b"\0\0\0\x11\0\x03\0\0user\0me\0\0");
        assert!(frames.simple("a\0b").is_err());
    }

    #[test]
    fn the_values_of_a_row_are_read_and_torn_rows_refused() {
        let row = Bytes::from_static(b"\0\x02\0\0\0\x02hi\xff\xff\xff\xff");
        assert_eq!(columns_of(&row).expect("a row"), [Some("hi".to_string()), None]);
        for end in 0..row.len() {
            assert!(columns_of(&row.slice(..end)).is_err(), "cut at {end}");
        }
    }
}
