//! A client of PostgreSQL's protocol (version 3): logging in, statements with parameters as text,
//! and COPY of rows to the server and back, which is all that sinks and tables need of it.
//!
//! - *Invariant:* a session whose answer was not read to its end takes no further statement, so an
//!   answer never belongs to another question.
//! - *Invariant:* a message of the server has a length limit before it is read into memory.
//! - *Absent:* what statements mean, quoting, and sentences for people.

mod auth;
mod connect;
mod error;
mod frames;
mod tls;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(super) use connect::{Endpoint, Login, connect};
pub(super) use error::{ServerError, WireError, WireResult};
pub(super) use tls::TlsMode;

use error::WireResult as Result;
use frames::{Frames, columns_of};

/// Bytes of one message of the server: a row with all its columns.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Bytes of one piece of a COPY.
const PIECE_BYTES: usize = 1 << 20;
/// Rows of one answer that is held in memory; tables are read by COPY.
const ROWS_MAX: usize = 100_000;

/// What bytes come and go through.
trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// One row of an answer, each value as text.
pub(super) type TextRow = Vec<Option<String>>;

/// A connection that is logged in.
pub(super) struct Session {
    stream: Box<dyn Duplex>,
    incoming: BytesMut,
    /// Whether a question was sent whose answer has not been read to its end.
    is_asking: bool,
}

impl Session {
    fn new(stream: Box<dyn Duplex>) -> Self {
        Self { stream, incoming: BytesMut::new(), is_asking: false }
    }

    /// Runs one statement with parameters `$1`, `$2` … and gives its rows.
    ///
    /// # Errors
    /// What the server says, and a connection that ends.
    pub(super) async fn query(
        &mut self,
        sql: &str,
        parameters: &[Option<&str>],
    ) -> Result<Vec<TextRow>> {
        self.begin()?;
        let mut frames = Frames::default();
        frames.statement(sql, parameters)?;
        self.send(frames.bytes()).await?;
        let (mut rows, mut refusal) = (Vec::new(), None);
        loop {
            let (kind, body) = self.message().await?;
            match kind {
                b'D' if rows.len() >= ROWS_MAX => {
                    refusal = Some(WireError::Protocol(format!("more than {ROWS_MAX} rows")));
                }
                b'D' => rows.push(columns_of(&body)?),
                b'E' => refusal = Some(ServerError::read(&body).into()),
                b'Z' => break,
                _ => {}
            }
        }
        self.is_asking = false;
        refusal.map_or(Ok(rows), Err)
    }

    /// Runs statements without parameters and without rows, one after the other.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub(super) async fn execute(&mut self, statements: &[&str]) -> Result<()> {
        for sql in statements {
            self.query(sql, &[]).await?;
        }
        Ok(())
    }

    /// Runs a `COPY … FROM STDIN` with these bytes: all rows are taken or none.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub(super) async fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<()> {
        self.begin()?;
        let mut frames = Frames::default();
        frames.simple(sql)?;
        self.send(frames.bytes()).await?;
        if self.until(b'G').await?.is_some() {
            for piece in data.chunks(PIECE_BYTES) {
                frames.clear();
                frames.copy_data(piece)?;
                self.stream.write_all(frames.bytes()).await?;
            }
            frames.clear();
            frames.copy_done()?;
            self.send(frames.bytes()).await?;
            self.until(b'Z').await?;
        }
        self.is_asking = false;
        Ok(())
    }

    /// Begins a `COPY … TO STDOUT`, whose bytes [`Self::copied`] gives.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub(super) async fn copy_out(&mut self, sql: &str) -> Result<()> {
        self.begin()?;
        let mut frames = Frames::default();
        frames.simple(sql)?;
        self.send(frames.bytes()).await?;
        match self.until(b'H').await? {
            Some(_) => Ok(()),
            None => Err(WireError::Protocol("no rows for a COPY".into())),
        }
    }

    /// The next bytes of a COPY; `None` after the last ones.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub(super) async fn copied(&mut self) -> Result<Option<bytes::Bytes>> {
        self.until(b'd').await
    }

    /// Says good-bye; the server would notice by itself, but log it.
    pub(super) async fn close(mut self) {
        let mut frames = Frames::default();
        if frames.terminate().is_ok() {
            // The connection ends either way.
            let _ = self.send(frames.bytes()).await;
            let _ = self.stream.shutdown().await;
        }
    }

    /// Refuses to ask while an answer is still open.
    fn begin(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.is_asking, true) {
            true => Err(WireError::Protocol("an earlier statement was cut short".into())),
            false => Ok(()),
        }
    }

    /// Reads up to a message of that kind; `None` where the answer ends before. A refusal of the
    /// server ends its answer too.
    async fn until(&mut self, wanted: u8) -> Result<Option<bytes::Bytes>> {
        let mut refusal = None;
        loop {
            let (kind, body) = self.message().await?;
            match kind {
                b'E' => refusal = Some(WireError::from(ServerError::read(&body))),
                b'Z' => {
                    self.is_asking = false;
                    return match refusal {
                        Some(refusal) => Err(refusal),
                        None => Ok((wanted == b'Z').then_some(body)),
                    };
                }
                kind if kind == wanted && refusal.is_none() => return Ok(Some(body)),
                _ => {}
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next message: its kind and its body.
    async fn message(&mut self) -> Result<(u8, bytes::Bytes)> {
        const HEADER_BYTES: usize = 5;
        self.fill(HEADER_BYTES).await?;
        let (kind, length) = match self.incoming.as_ref() {
            [kind, a, b, c, d, ..] => (*kind, u32::from_be_bytes([*a, *b, *c, *d])),
            _ => return Err(WireError::Protocol("a message without a header".into())),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
            return Err(WireError::Protocol(format!("a message of {length} bytes")));
        }
        self.fill(1 + length).await?;
        let mut message = self.incoming.split_to(1 + length).freeze();
        let body = message.split_off(HEADER_BYTES);
        Ok((kind, body))
    }

    /// Reads until there are so many bytes.
    async fn fill(&mut self, bytes: usize) -> Result<()> {
        while self.incoming.len() < bytes {
            self.incoming.reserve(bytes.saturating_sub(self.incoming.len()).max(8 << 10));
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(WireError::closed());
            }
        }
        Ok(())
    }
}
