//! Prints the rows of a query as they come: a table for people; CSV, JSON or Arrow for
//! programs.
//!
//! Nothing is collected but the first page of a table, whose widths decide the columns. Results go
//! to the writer that is given, never to standard error.

mod cells;
mod file;
mod look;
mod table;

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv::{Writer as CsvWriter, WriterBuilder as CsvWriterBuilder};
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder as JsonWriterBuilder;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, Writer as JsonWriter};
use arrow_ipc::writer::StreamWriter;

use crate::failure::{Failure, Result};
pub use file::{FileKind, ResultFile, RowFile};
pub use look::Look;
use table::TablePrinter;

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON array of objects per result.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// The stream format of Arrow IPC, one stream per result.
    Arrow,
}

/// Prints one result.
pub enum RowPrinter<'a> {
    /// Aligned columns, for reading.
    Table(TablePrinter<'a>),
    /// Comma-separated values.
    Csv(Box<CsvWriter<&'a mut dyn Write>>),
    /// A JSON array.
    Json(JsonWriter<&'a mut dyn Write, JsonArray>),
    /// JSON objects.
    Ndjson(JsonWriter<&'a mut dyn Write, LineDelimited>),
    /// The stream format of Arrow IPC.
    Arrow(Box<StreamWriter<&'a mut dyn Write>>),
}

impl<'a> RowPrinter<'a> {
    /// A printer of rows with `schema` to `out`. Only a table has a look.
    pub fn new(
        format: Format,
        look: Look,
        schema: &SchemaRef,
        out: &'a mut dyn Write,
    ) -> Result<Self> {
        Ok(match format {
            Format::Table => Self::Table(TablePrinter::new(schema, look, out)),
            Format::Csv => {
                let mut writer = CsvWriterBuilder::new().with_header(true).build(out);
                let header = RecordBatch::new_empty(cells::flat_schema(schema));
                writer.write(&header).map_err(Failure::arrow_output)?;
                Self::Csv(Box::new(writer))
            }
            Format::Json => Self::Json(json(out)),
            Format::Ndjson => Self::Ndjson(json(out)),
            Format::Arrow => {
                let writer = StreamWriter::try_new(out, schema).map_err(Failure::arrow_output)?;
                Self::Arrow(Box::new(writer))
            }
        })
    }

    /// Prints a batch. `false` means that no more rows are wanted.
    ///
    /// # Errors
    /// [`Failure::OutputClosed`] when the reader has gone, and other failures of the output.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<bool> {
        match self {
            Self::Table(table) => return table.write(batch),
            Self::Csv(writer) => {
                writer.write(&cells::flat(batch)?).map_err(Failure::arrow_output)?;
            }
            Self::Json(writer) => writer.write(batch).map_err(Failure::arrow_output)?,
            Self::Ndjson(writer) => writer.write(batch).map_err(Failure::arrow_output)?,
            Self::Arrow(writer) => writer.write(batch).map_err(Failure::arrow_output)?,
        }
        Ok(true)
    }

    /// Counts rows that are not printed; `None` when there may be any number of them.
    pub fn leave_out(&mut self, rows: Option<usize>) {
        if let Self::Table(table) = self {
            table.leave_out(rows);
        }
    }

    /// Prints what has been kept back and flushes.
    ///
    /// # Errors
    /// As [`RowPrinter::write`].
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Table(table) => table.finish(),
            Self::Csv(writer) => flush(writer.into_inner()),
            Self::Json(writer) => {
                let out = finish_json(writer)?;
                writeln!(out).map_err(|error| Failure::output(&error))?;
                flush(out)
            }
            Self::Ndjson(writer) => flush(finish_json(writer)?),
            Self::Arrow(writer) => flush((*writer).into_inner().map_err(Failure::arrow_output)?),
        }
    }
}

/// A JSON writer that prints NULLs, so that every object has every key.
fn json<F: JsonFormat>(out: &mut dyn Write) -> JsonWriter<&mut dyn Write, F> {
    JsonWriterBuilder::new().with_explicit_nulls(true).build(out)
}

fn finish_json<W: Write, F: JsonFormat>(mut writer: JsonWriter<W, F>) -> Result<W> {
    writer.finish().map_err(Failure::arrow_output)?;
    Ok(writer.into_inner())
}

fn flush(out: &mut dyn Write) -> Result<()> {
    out.flush().map_err(|error| Failure::output(&error))
}
