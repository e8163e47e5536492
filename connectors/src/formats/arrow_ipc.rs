//! Arrow batches, each a whole IPC stream with its schema: for exchange between instances of one
//! pipeline. A payload holds any number of rows.

use std::io::Cursor;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{SchemaRef, TimeUnit};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use async_trait::async_trait;
use bytes::Bytes;
use sembla_runtime::{Error, Result};

use super::fit::fit;
use super::{Column, Columns, PayloadReader, PayloadWriter};

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
            let batches = StreamReader::try_new(Cursor::new(payload), None).map_err(plain)?;
            for batch in batches {
                let batch = batch.map_err(plain)?;
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

fn plain(error: arrow::error::ArrowError) -> String {
    format!("can't be read as an Arrow stream: {error}")
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
