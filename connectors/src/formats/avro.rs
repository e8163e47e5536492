//! Avro records, bare or with the id of a schema in a registry before them.
//!
//! - The writer's schema decides how bytes are read; declared columns are found in it by name, and
//!   one that it doesn't have is NULL. So a schema may gain and lose fields under a running stream.
//! - arrow-avro reads a run of records into columns; only declared fields are kept.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{
    AvroSchema, Fingerprint, FingerprintAlgorithm, SCHEMA_METADATA_KEY, SchemaStore,
};
use arrow_avro::writer::format::AvroBinaryFormat;
use arrow_avro::writer::{Encoder, WriterBuilder};
use async_trait::async_trait;
use bytes::Bytes;
use sembla_runtime::{Error, Result};

use super::fit::{fit, time_unit};
use super::framing::{Schemas, Stamp, given_schema, header};
use super::registry::RegisteredSchema;
use super::{Column, Columns, PayloadReader, PayloadWriter};
use crate::options::Options;

/// Reads Avro.
pub(super) struct AvroReader {
    columns: Vec<Column>,
    unit: TimeUnit,
    schemas: Schemas<WriterSchema>,
}

/// A schema that records were written with.
struct WriterSchema {
    json: String,
    /// The fields that are declared columns, by their places in the schema.
    projection: Vec<usize>,
    /// Made when first used, and again after an error has left it in the middle of a record.
    decoder: Option<Decoder>,
}

impl AvroReader {
    /// For the columns of the payload.
    ///
    /// # Errors
    /// [`Error::Option`] when the schema isn't one, or doesn't fit the columns.
    pub(super) fn new(columns: &[Column], options: &Options) -> Result<Self> {
        let unit = time_unit(options.choice("timestamp_unit")?);
        let given = given_schema(options)?
            .map(|json| WriterSchema::new(json, columns))
            .transpose()
            .map_err(|reason| Error::Option(format!("the Avro schema: {reason}")))?;
        if let Some(given) = &given {
            let schema = given.build().map_err(Error::Option)?.schema();
            for column in columns {
                let field = schema.field_with_name(&column.name).map_err(|_| {
                    Error::Option(format!("the Avro schema has no field '{}'", column.name))
                })?;
                let none = new_null_array(field.data_type(), 0);
                fit(&none, column, unit).map_err(Error::Option)?;
            }
        }
        Ok(Self { columns: columns.to_vec(), unit, schemas: Schemas::new(given, options)? })
    }
}

#[async_trait]
impl PayloadReader for AvroReader {
    async fn prepare(&mut self, payloads: &[&[u8]]) -> Result<()> {
        let columns = &self.columns;
        self.schemas
            .prepare(payloads, |schema: &RegisteredSchema| {
                if schema.kind != "AVRO" {
                    return Err(format!("it is {}, but format is 'avro'", schema.kind));
                }
                if !schema.references.is_empty() {
                    return Err("it refers to other schemas, which isn't supported for Avro".into());
                }
                let compiled = WriterSchema::new(schema.text.clone(), columns)?;
                compiled.build()?;
                Ok(compiled)
            })
            .await
    }

    fn read(&mut self, payloads: &[&[u8]]) -> std::result::Result<Columns, String> {
        let (columns, unit) = (&self.columns, self.unit);
        self.schemas.read(payloads, |schema, bodies| {
            let batch = schema.read(bodies)?;
            columns
                .iter()
                .map(|column| match batch.column_by_name(&column.name) {
                    Some(array) => fit(array, column, unit),
                    None => Ok(new_null_array(&column.data_type, bodies.len())),
                })
                .collect()
        })
    }
}

impl WriterSchema {
    fn new(json: String, columns: &[Column]) -> std::result::Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(&json).map_err(|error| format!("it is not JSON: {error}"))?;
        let fields = value
            .get("fields")
            .and_then(serde_json::Value::as_array)
            .ok_or("it is not a record: it has no fields")?;
        let projection = fields
            .iter()
            .enumerate()
            .filter(|(_, field)| {
                columns.iter().any(|column| field.get("name").is_some_and(|n| *n == *column.name))
            })
            .map(|(place, _)| place)
            .collect();
        Ok(Self { json, projection, decoder: None })
    }

    fn build(&self) -> std::result::Result<Decoder, String> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let build = || {
            store.set(Fingerprint::Id(0), AvroSchema::new(self.json.clone()))?;
            let mut builder = ReaderBuilder::new()
                .with_batch_size(usize::MAX)
                .with_writer_schema_store(store)
                .with_active_fingerprint(Fingerprint::Id(0));
            if !self.projection.is_empty() {
                builder = builder.with_projection(self.projection.clone());
            }
            builder.build_decoder()
        };
        build().map_err(|error| plain(&error))
    }

    /// Reads records, each of which is one whole body.
    fn read(&mut self, bodies: &[&[u8]]) -> std::result::Result<RecordBatch, String> {
        // A decoder that has met an error stays behind in pieces, so it is put back only if it
        // hasn't.
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.build()?,
        };
        for body in bodies {
            let before = decoder.capacity();
            decoder.decode(&header(0)).map_err(|error| plain(&error.into()))?;
            let read = decoder.decode(body);
            // Behind a record the decoder looks for another one, and finds fault with what it sees.
            match (before.checked_sub(decoder.capacity()), read) {
                (Some(1), Ok(read)) if read == body.len() => {}
                (Some(0), Err(error)) => return Err(plain(&error.into())),
                (Some(0), Ok(_)) => {
                    return Err("the payload ends in the middle of an Avro record".into());
                }
                _ => return Err("the payload continues after its Avro record".into()),
            }
        }
        let batch = decoder.flush().map_err(|error| plain(&error.into()))?;
        self.decoder = Some(decoder);
        batch.ok_or_else(|| "internal error: no Avro records were read".into())
    }
}

/// An error of arrow-avro as one line.
fn plain(error: &arrow::error::ArrowError) -> String {
    let text = error.to_string().replace('\n', " ");
    format!("can't be read as Avro: {text}")
}

/// Writes Avro.
pub(super) struct AvroWriter {
    encoder: Encoder,
    schema: SchemaRef,
    stamp: Stamp,
}

impl AvroWriter {
    /// For rows of a schema. Without a given schema one is derived from it. `subject` is the name
    /// in the registry.
    ///
    /// # Errors
    /// [`Error::Option`] when the rows can't be written by the schema.
    pub(super) fn new(rows: &SchemaRef, options: &Options, subject: String) -> Result<Self> {
        let fields: Vec<_> = rows.fields().iter().map(|field| writable(field)).collect();
        let metadata = given_schema(options)?
            .map(|json| HashMap::from([(SCHEMA_METADATA_KEY.to_string(), json)]))
            .unwrap_or_default();
        let schema = Schema::new_with_metadata(fields, metadata);
        let encoder = WriterBuilder::new(schema.clone())
            .build_encoder::<AvroBinaryFormat>()
            .map_err(|error| Error::Option(format!("rows can't be written as Avro: {error}")))?;
        let stamp = Stamp::new(options, subject)?;
        Ok(Self { encoder, schema: Arc::new(schema), stamp })
    }

    /// The schema that rows are written by.
    pub(super) fn schema_json(&self) -> String {
        self.encoder.schema().metadata().get(SCHEMA_METADATA_KEY).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl PayloadWriter for AvroWriter {
    async fn write(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>> {
        let json = self.schema_json();
        let header = self.stamp.header("AVRO", &json).await?;
        let columns: std::result::Result<Vec<_>, _> = rows
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(array, field)| match array.data_type() == field.data_type() {
                true => Ok(ArrayRef::clone(array)),
                false => cast(array, field.data_type()),
            })
            .collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns?)?;
        let written = self.encoder.encode(&rows);
        let encoded = self.encoder.flush();
        written.map_err(|error| Error::Data(format!("a row can't be written as Avro: {error}")))?;
        Ok(match header {
            None => encoded.iter().collect(),
            Some(header) => {
                encoded.iter().map(|body| [&header[..], &body[..]].concat().into()).collect()
            }
        })
    }
}

/// A field as Avro has it: instants of time in microseconds, views and large types as plain ones,
/// vectors as arrays.
fn writable(field: &Field) -> Field {
    let element = |item: &Arc<Field>| Arc::new(writable(item));
    let data_type = match field.data_type() {
        DataType::Timestamp(_, _) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        }
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(element(item))
        }
        other => other.clone(),
    };
    Field::new(field.name(), data_type, field.is_nullable())
}
