//! Arrow batches, each a whole IPC stream with its schema: for exchange between instances of one
//! pipeline. A payload holds any number of rows.
//!
//! A payload is hostile input: a few bytes can ask for a message, for rows or for decompressed
//! buffers of gigabytes. What it asks for is looked at before anything is made of it.

use std::fmt::Display;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::buffer::Buffer;
use arrow::compute::concat;
use arrow::datatypes::{SchemaRef, TimeUnit};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::root_as_message;
use arrow_ipc::writer::StreamWriter;
use async_trait::async_trait;
use bytes::Bytes;
use sembla_readers::caught;
use sembla_runtime::{Error, Result};

use super::fit::fit;
use super::{Column, Columns, PayloadReader, PayloadWriter};

/// The rows of a payload: columns without buffers, and those that the payload lacks, have a size by
/// their number alone.
const PAYLOAD_ROWS_MAX: u64 = 1 << 20;

/// The decompressed buffers of a payload.
const DECOMPRESSED_BYTES_MAX: u64 = 256 << 20;

/// Reads batches.
pub(super) struct ArrowReader {
    columns: Vec<Column>,
}

impl ArrowReader {
    /// For the columns of the payload, which are found by name.
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec() }
    }
}

impl PayloadReader for ArrowReader {
    fn read(&mut self, payloads: &[&[u8]]) -> std::result::Result<Columns, String> {
        let mut pieces: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.columns.len()];
        let mut rows = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let mut rows_of_payload = 0;
            for batch in read_arrow_stream(payload)?.1 {
                rows_of_payload += batch.num_rows();
                for (pieces, column) in pieces.iter_mut().zip(&self.columns) {
                    pieces.push(match batch.column_by_name(&column.name) {
                        Some(array) => fit(array, column, TimeUnit::Microsecond)?,
                        None => new_null_array(&column.data_type, batch.num_rows()),
                    });
                }
            }
            rows.push(rows_of_payload);
        }
        let arrays = pieces
            .iter()
            .zip(&self.columns)
            .map(|(pieces, column)| match pieces.as_slice() {
                [] => Ok(arrow::array::new_empty_array(&column.data_type)),
                many => concat(&many.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(plain),
            })
            .collect::<std::result::Result<_, _>>()?;
        Ok(Columns { arrays, rows: Some(rows) })
    }
}

fn plain(error: impl Display) -> String {
    format!("can't be read as an Arrow stream: {error}")
}

/// The schema and the batches of a payload.
///
/// # Errors
/// What is wrong with the payload, to be said after its name.
pub(crate) fn read_arrow_stream(
    payload: &[u8],
) -> std::result::Result<(SchemaRef, Vec<RecordBatch>), String> {
    let read = || {
        check_messages(payload)?;
        let mut decoder = StreamDecoder::new();
        let mut rest = Buffer::from(payload);
        let mut batches = Vec::new();
        while let Some(batch) = decoder.decode(&mut rest).map_err(|error| error.to_string())? {
            batches.push(batch);
        }
        decoder.finish().map_err(|error| error.to_string())?;
        let schema = decoder.schema().ok_or("it has no schema")?;
        Ok((schema, batches))
    };
    // The library panics at some messages that are well formed and make no sense.
    caught(read).and_then(|read| read).map_err(plain)
}

/// Walks over the messages of a stream, and refuses what would take far more memory than the
/// payload has bytes.
fn check_messages(payload: &[u8]) -> std::result::Result<(), String> {
    let mut rest = payload;
    let (mut rows, mut bytes) = (0_u64, 0_u64);
    while !rest.is_empty() {
        let mut size = word(&mut rest)?;
        if size == u32::MAX {
            size = word(&mut rest)?;
        }
        if size == 0 {
            break;
        }
        let header = part(&mut rest, u64::from(size), "message")?;
        let message = root_as_message(header).map_err(|error| error.to_string())?;
        let body =
            u64::try_from(message.bodyLength()).map_err(|_| "a body has a negative length")?;
        let body = part(&mut rest, body, "body")?;
        let batch = message.header_as_record_batch().or_else(|| {
            message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data())
        });
        let Some(batch) = batch else { continue };
        let length = u64::try_from(batch.length()).map_err(|_| "a batch has a negative length")?;
        rows = rows.saturating_add(length);
        if rows > PAYLOAD_ROWS_MAX {
            return Err(format!("it has {rows} rows; a payload may have {PAYLOAD_ROWS_MAX}"));
        }
        if batch.compression().is_none() {
            continue;
        }
        for buffer in batch.buffers().into_iter().flatten() {
            let start = usize::try_from(buffer.offset()).map_err(|_| "a buffer lies outside")?;
            // A shorter buffer is empty, or the library refuses it.
            let Some(prefix) = body.get(start..).and_then(<[u8]>::first_chunk) else { continue };
            let size = if buffer.length() == 0 { 0 } else { i64::from_le_bytes(*prefix) };
            bytes = bytes.saturating_add(u64::try_from(size).unwrap_or(0));
        }
        if bytes > DECOMPRESSED_BYTES_MAX {
            return Err(format!(
                "decompressed, it has {bytes} bytes; it may have {DECOMPRESSED_BYTES_MAX}"
            ));
        }
    }
    Ok(())
}

/// The next four bytes.
fn word(rest: &mut &[u8]) -> std::result::Result<u32, String> {
    let (word, after) = rest.split_first_chunk().ok_or("it ends in the length of a message")?;
    *rest = after;
    Ok(u32::from_le_bytes(*word))
}

/// The next so many bytes.
fn part<'p>(rest: &mut &'p [u8], size: u64, what: &str) -> std::result::Result<&'p [u8], String> {
    let split = usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size));
    let (part, after) =
        split.ok_or_else(|| format!("a {what} of {size} bytes is longer than the rest of it"))?;
    *rest = after;
    Ok(part)
}

/// Writes batches.
pub(super) struct ArrowWriter {
    schema: SchemaRef,
}

impl ArrowWriter {
    /// For rows of a schema.
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: SchemaRef::clone(schema) }
    }
}

#[async_trait]
impl PayloadWriter for ArrowWriter {
    async fn write(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![as_arrow_stream(&self.schema, rows)?])
    }
}

/// A batch as an Arrow stream of its own.
///
/// # Errors
/// [`Error::Data`] where the rows are not of the schema.
pub(crate) fn as_arrow_stream(schema: &SchemaRef, rows: &RecordBatch) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let written = StreamWriter::try_new(&mut bytes, schema).and_then(|mut writer| {
        writer.write(rows)?;
        writer.finish()
    });
    written.map_err(|error| Error::Data(format!("rows can't be written as Arrow: {error}")))?;
    Ok(bytes.into())
}
