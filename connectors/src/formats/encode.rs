//! Rows to payloads: the choice of a format, and those that need few lines.

use std::ops::RangeInclusive;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, max, min};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit};
use arrow::json::writer::{LineDelimited, WriterBuilder};
use async_trait::async_trait;
use bytes::Bytes;
use sembla_runtime::{Error, Result};

use super::PayloadWriter;
use super::arrow_ipc::ArrowWriter;
use super::avro::AvroWriter;
use super::metadata::{is_bytes, is_text};
use super::protobuf::ProtobufWriter;
use crate::options::Options;

/// How a time without a zone is written; it is UTC.
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%.fZ";
/// How a time with a zone is written.
const RFC_3339_ZONE: &str = "%Y-%m-%dT%H:%M:%S%.f%:z";

/// Turns rows into payloads.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, RecordBatch, StringArray};
/// use sembla_connectors::formats::{ENCODE_OPTIONS, Encoder};
/// use sembla_connectors::options::Options;
///
/// let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
/// let rows = RecordBatch::try_from_iter([("text", texts)])?;
/// let options = Options::read("a sink", ENCODE_OPTIONS, &[])?;
/// let mut encoder = Encoder::new(&rows.schema(), &options, "news-value")?;
/// let payloads = futures::executor::block_on(encoder.encode(&rows))?;
/// assert_eq!(payloads, [r#"{"text":"a"}"#, r#"{"text":"b"}"#]);
/// # Ok::<(), sembla_runtime::Error>(())
/// ```
pub struct Encoder {
    writer: Box<dyn PayloadWriter>,
    is_row_wise: bool,
}

impl Encoder {
    /// An encoder for rows of a schema by the options of [`super::ENCODE_OPTIONS`]. `subject` is
    /// the name in a schema registry where the option of that name isn't given.
    ///
    /// # Errors
    /// [`Error::Option`] when the format can't hold such rows, or the options disagree.
    pub fn new(schema: &SchemaRef, options: &Options, subject: &str) -> Result<Self> {
        let subject = options.find_text("subject").unwrap_or(subject).to_string();
        let format = options.choice("format")?;
        let writer: Box<dyn PayloadWriter> = match format {
            "json" => Box::new(JsonWriter),
            "text" | "raw" => Box::new(ValueWriter::new(format, schema)?),
            "avro" => Box::new(AvroWriter::new(schema, options, subject)?),
            "protobuf" => Box::new(ProtobufWriter::new(schema, options, subject)?),
            "arrow" => Box::new(ArrowWriter::new(schema)),
            other => return Err(Error::Option(format!("format '{other}' can't be written"))),
        };
        Ok(Self { writer, is_row_wise: format != "arrow" })
    }

    /// Whether each row becomes one payload. Otherwise a call gives one payload for all its rows.
    pub fn is_row_wise(&self) -> bool {
        self.is_row_wise
    }

    /// The payloads of rows, in order. An empty payload stands for NULL in the formats of one
    /// value.
    ///
    /// # Errors
    /// [`Error::Data`] for rows that the format can't hold; [`Error::Transient`] when a schema
    /// can't be registered at the moment.
    pub async fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>> {
        self.writer.write(rows).await
    }
}

/// Writes one object a row; NULLs are left out, times are RFC 3339, vectors are arrays, bytes are
/// hexadecimal.
struct JsonWriter;

#[async_trait]
impl PayloadWriter for JsonWriter {
    async fn write(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>> {
        let lines = json_lines(rows)?;
        let mut payloads = Vec::with_capacity(rows.num_rows());
        let mut start = 0;
        // A line break inside of a text is written as an escape.
        for (end, _) in lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            payloads.push(lines.slice(start..end));
            start = end + 1;
        }
        Ok(payloads)
    }
}

/// Rows as objects in JSON, a line each; NULLs are left out.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, Int64Array, RecordBatch};
///
/// let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
/// let rows = RecordBatch::try_from_iter([("id", ids)])?;
/// assert_eq!(sembla_connectors::formats::json_lines(&rows)?, "{\"id\":1}\n{}\n");
/// # Ok::<(), sembla_runtime::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`] for a type that JSON can't hold, and for a time that RFC 3339 can't.
pub fn json_lines(rows: &RecordBatch) -> Result<Bytes> {
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        check_times(field.name(), column)?;
    }
    let mut writer = WriterBuilder::new()
        .with_timestamp_format(RFC_3339.into())
        .with_timestamp_tz_format(RFC_3339_ZONE.into())
        .build::<_, LineDelimited>(Vec::new());
    writer
        .write(rows)
        .and_then(|()| writer.finish())
        .map_err(|error| Error::Data(format!("rows can't be written as JSON: {error}")))?;
    Ok(writer.into_inner().into())
}

/// Rejects times outside of the years 0 to 9999, for which arrow-json would write a text that tells
/// of an error.
fn check_times(name: &str, column: &ArrayRef) -> Result<()> {
    /// The first and the last second of those years.
    const SECONDS: RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;
    let seconds = |number: i64| match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) | DataType::Date64 => number.div_euclid(1000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => number.div_euclid(1_000_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => number.div_euclid(1_000_000_000),
        DataType::Date32 => number.saturating_mul(86_400),
        _ => number,
    };
    if !matches!(column.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
    {
        return Ok(());
    }
    let numbers = cast(column, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let outside = [min(numbers), max(numbers)].into_iter().flatten();
    match outside.into_iter().find(|number| !SECONDS.contains(&seconds(*number))) {
        None => Ok(()),
        Some(number) => Err(Error::Data(format!(
            "column '{name}' has the {} {number}, which is outside the years 0 to 9999, so it can't be written as JSON",
            column.data_type()
        ))),
    }
}

/// Writes the only column as it is.
struct ValueWriter {
    data_type: DataType,
}

impl ValueWriter {
    fn new(format: &str, schema: &SchemaRef) -> Result<Self> {
        let fits = |data_type: &DataType| match format {
            "raw" => is_bytes(data_type),
            _ => is_text(data_type),
        };
        match schema.fields().iter().as_slice() {
            [field] if fits(field.data_type()) => {
                let data_type = if format == "raw" { DataType::Binary } else { DataType::Utf8 };
                Ok(Self { data_type })
            }
            _ => Err(Error::Option(format!(
                "format '{format}' writes one column of type {}, but the rows have: {}",
                if format == "raw" { "BYTEA" } else { "VARCHAR" },
                schema
                    .fields()
                    .iter()
                    .map(|field| format!("{} {}", field.name(), field.data_type()))
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }
}

#[async_trait]
impl PayloadWriter for ValueWriter {
    async fn write(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>> {
        let Some(column) = rows.columns().first() else { return Ok(Vec::new()) };
        let column: ArrayRef = cast(column, &self.data_type)?;
        let bytes = |row: usize| match self.data_type {
            DataType::Binary => column.as_binary::<i32>().value(row),
            _ => column.as_string::<i32>().value(row).as_bytes(),
        };
        Ok((0..column.len())
            .map(|row| match column.is_valid(row) {
                true => Bytes::copy_from_slice(bytes(row)),
                false => Bytes::new(),
            })
            .collect())
    }
}
