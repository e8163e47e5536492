//! Formats: what the bytes of a record mean as a row, and how a row becomes bytes.
//!
//! [`Decoder`] makes rows of records and says of each bad one why it is bad; [`Encoder`] makes
//! payloads of rows. Both know the formats by name; each format is one file.
//!
//! - *Invariant:* bytes come from anywhere. No record makes a decoder panic, and one bad record
//!   never costs its neighbours.
//! - *Absent:* where records come from, and what becomes of rejected ones.

mod arrow_ipc;
mod avro;
mod decode;
mod encode;
mod fit;
mod framing;
mod json;
mod metadata;
mod protobuf;
mod registry;
#[cfg(test)]
mod tests;
mod text;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use sembla_runtime::{Rejected, Result};

pub(crate) use arrow_ipc::{as_arrow_stream, read_arrow_stream};
pub use decode::Decoder;
pub use encode::{Encoder, json_lines};
pub use fit::{fit, time_unit};
pub use metadata::Metadata;

use crate::options::{Kind, OptionDef};

/// The options of a [`Decoder`], to be put beside those of its connector.
pub const DECODE_OPTIONS: &[OptionDef] = &[
    FORMAT,
    OptionDef::new("max_record_bytes", Kind::BYTES, "largest record; larger ones are rejected")
        .or("8 MiB"),
    TIMESTAMP_UNIT,
    SCHEMA,
    SCHEMA_FILE,
    MESSAGE,
    FRAMING,
    SCHEMA_REGISTRY,
    REGISTRY_USER,
    REGISTRY_PASSWORD,
];

/// The options of an [`Encoder`], to be put beside those of its connector.
pub const ENCODE_OPTIONS: &[OptionDef] = &[
    FORMAT,
    SCHEMA,
    SCHEMA_FILE,
    MESSAGE,
    FRAMING,
    SCHEMA_REGISTRY,
    REGISTRY_USER,
    REGISTRY_PASSWORD,
    OptionDef::new("subject", Kind::Text, "subject under which the schema is registered"),
];

const FORMATS: &[&str] = &["json", "text", "raw", "avro", "protobuf", "arrow"];
const UNITS: Kind = Kind::Choice(&["s", "ms", "us"]);
const TIMESTAMP_UNIT: OptionDef =
    OptionDef::new("timestamp_unit", UNITS, "unit of times given as numbers in JSON")
        .or("ms")
        .decides();
const FORMAT: OptionDef =
    OptionDef::new("format", Kind::Choice(FORMATS), "format of records").or("json").decides();
const SCHEMA: OptionDef =
    OptionDef::new("schema", Kind::Text, "Avro schema (JSON) or text of the .proto file").decides();
const SCHEMA_FILE: OptionDef =
    OptionDef::new("schema_file", Kind::Text, "file with the Avro or Protobuf schema").decides();
const MESSAGE: OptionDef = OptionDef::new(
    "message",
    Kind::Text,
    "full name of the Protobuf message; optional if there is only one",
)
.decides();
const FRAMING: OptionDef = OptionDef::new(
    "framing",
    Kind::Choice(&["none", "confluent"]),
    "what precedes a payload: nothing, or a zero byte and a schema id (the default with a registry)",
);
const SCHEMA_REGISTRY: OptionDef =
    OptionDef::new("schema_registry", Kind::Text, "address of a schema registry: http://…");
const REGISTRY_USER: OptionDef =
    OptionDef::new("schema_registry_user", Kind::Text, "user name at the schema registry");
const REGISTRY_PASSWORD: OptionDef =
    OptionDef::new("schema_registry_password", Kind::Text, "password at the schema registry")
        .secret();

/// A declared column of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name; also the name of the field in JSON, Avro and Protobuf.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be NULL. A record without a value is rejected where it may not.
    pub nullable: bool,
    /// What it is filled from, where that is not the payload.
    pub metadata: Option<Metadata>,
}

impl Column {
    /// A column of the payload.
    pub fn new(name: impl Into<String>, data_type: DataType, nullable: bool) -> Self {
        Self { name: name.into(), data_type, nullable, metadata: None }
    }

    /// The column filled from what comes with a record.
    #[must_use]
    pub fn from_metadata(self, metadata: Metadata) -> Self {
        Self { metadata: Some(metadata), ..self }
    }

    /// It as a field of a schema.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

/// The schema of declared columns, in their order.
pub fn schema_of(columns: &[Column]) -> SchemaRef {
    Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()).into()
}

/// Where the records of one call come from.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The partition, as the runtime names it.
    pub partition: sembla_runtime::Partition,
    /// The topic; for files the path.
    pub topic: &'a str,
    /// The number of the partition within the topic.
    pub number: i32,
}

/// A record as it was read.
#[derive(Clone, Debug, Default)]
pub struct RawRecord<'a> {
    /// Its place in the partition.
    pub offset: i64,
    /// Its time in microseconds since 1970.
    pub timestamp_us: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its payload; `None` is a tombstone: every column of the payload is NULL.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order. May be left empty unless [`Decoder::wants_headers`].
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// What a decoder makes of records.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the order of the records, in the declared schema.
    pub rows: RecordBatch,
    /// Of each row the offset of its record.
    pub sequences: Vec<i64>,
    /// The records that can't be used, in order.
    pub rejected: Vec<Rejected>,
}

/// The columns that a format makes of payloads.
struct Columns {
    /// One array for each declared column of the payload, of exactly its type, NULLs allowed.
    arrays: Vec<ArrayRef>,
    /// Rows of each payload; `None` where each payload is one row.
    rows: Option<Vec<usize>>,
}

/// A format, reading.
#[async_trait]
trait PayloadReader: Send {
    /// Gets what the payloads refer to and isn't here yet: schemas.
    ///
    /// # Errors
    /// [`sembla_runtime::Error::Transient`] where it is not available at the moment.
    async fn prepare(&mut self, payloads: &[&[u8]]) -> Result<()> {
        let _ = payloads;
        Ok(())
    }

    /// Turns all payloads into rows, or none. A caller that has an error halves the payloads.
    ///
    /// # Errors
    /// Why a payload can't be read, in one line; exact when there is only one.
    fn read(&mut self, payloads: &[&[u8]]) -> std::result::Result<Columns, String>;
}

/// A format, writing.
#[async_trait]
trait PayloadWriter: Send {
    /// Makes payloads of rows: one a row, in order, unless the format says otherwise.
    ///
    /// # Errors
    /// [`sembla_runtime::Error::Data`] for rows that can't be written.
    async fn write(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>>;
}
