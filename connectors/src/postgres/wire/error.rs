//! What can go wrong with a connection: the server says no, or it is gone.

use std::io;

/// A result of the client.
pub(in crate::postgres) type WireResult<T> = std::result::Result<T, WireError>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(in crate::postgres) enum WireError {
    /// The server refused something.
    #[error("{}", .0.message)]
    Server(Box<ServerError>),
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// TLS could not be agreed on.
    #[error("{0}")]
    Tls(String),
    /// A login that can't be made with what is known.
    #[error("{0}")]
    Login(String),
    /// What came is not what the protocol allows.
    #[error("{0}")]
    Protocol(String),
}

impl WireError {
    /// The server has closed the connection.
    pub(super) fn closed() -> Self {
        Self::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
    }

    /// The code of the server's refusal, if it is one.
    pub(in crate::postgres) fn code(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.code),
            _ => None,
        }
    }
}

impl From<ServerError> for WireError {
    fn from(error: ServerError) -> Self {
        Self::Server(Box::new(error))
    }
}

/// A refusal of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::postgres) struct ServerError {
    /// SQLSTATE, five letters.
    pub(in crate::postgres) code: String,
    /// What it says, in one line.
    pub(in crate::postgres) message: String,
    /// More of it.
    pub(in crate::postgres) detail: Option<String>,
    /// What it advises.
    pub(in crate::postgres) hint: Option<String>,
}

impl ServerError {
    /// Reads the fields of an ErrorResponse.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, text)) = field.split_first() else { continue };
            let text = String::from_utf8_lossy(text).replace(['\n', '\r'], " ");
            match kind {
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                _ => {}
            }
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_refusal_are_read_and_stand_on_one_line() {
        let error = ServerError::read(b"SFATAL\0C28P01\0Mno\npassword\0Ddetail\0Hhint\0\0");
        assert_eq!((error.code.as_str(), error.message.as_str()), ("28P01", "no password"));
        assert_eq!(error.detail.as_deref(), Some("detail"));
        assert_eq!(error.hint.as_deref(), Some("hint"));
        assert_eq!(ServerError::read(b"\0"), ServerError::default());
    }
}
