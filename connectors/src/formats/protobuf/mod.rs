//! Protobuf messages, bare or with a registry's framing before them.
//!
//! The message is described by a `.proto` file, which is compiled here, or by the schema that a
//! record names in a registry. Declared columns are the message's fields of the same names.
//!
//! - Scalars of proto3 that weren't set are 0, '' or false; those with presence (`optional`,
//!   messages, wrappers, proto2) are NULL.
//! - Enums are texts; `google.protobuf.Timestamp` is a timestamp; messages are structs.

mod columns;
mod schema;
mod values;

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{SchemaRef, TimeUnit};
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};
use sembla_runtime::{Error, Result};

use super::fit::{fit, time_unit};
use super::framing::{Schemas, Stamp, given_schema, is_framed};
use super::registry::RegisteredSchema;
use super::{Column, Columns, PayloadReader, PayloadWriter};
use crate::options::Options;
use schema::{compile, index_path, read_index_path};

/// Reads Protobuf.
pub(super) struct ProtobufReader {
    columns: Vec<Column>,
    unit: TimeUnit,
    message: Option<String>,
    is_framed: bool,
    schemas: Schemas<MessageDescriptor>,
}

impl ProtobufReader {
    /// For the columns of the payload.
    ///
    /// # Errors
    /// [`Error::Option`] when the schema isn't one, or doesn't fit the columns.
    pub(super) fn new(columns: &[Column], options: &Options) -> Result<Self> {
        let unit = time_unit(options.choice("timestamp_unit")?);
        let message = options.find_text("message");
        let given = given_message(options)?;
        if let Some(given) = &given {
            for column in columns {
                let field = field(given, &column.name).map_err(Error::Option)?;
                let none = columns::column(&[], &field).map_err(Error::Option)?;
                fit(&none, column, unit).map_err(Error::Option)?;
            }
        }
        Ok(Self {
            columns: columns.to_vec(),
            unit,
            message: message.map(str::to_string),
            is_framed: is_framed(options),
            schemas: Schemas::new(given, options)?,
        })
    }
}

#[async_trait]
impl PayloadReader for ProtobufReader {
    async fn prepare(&mut self, payloads: &[&[u8]]) -> Result<()> {
        let message = self.message.as_deref();
        self.schemas
            .prepare(payloads, |schema: &RegisteredSchema| {
                if schema.kind != "PROTOBUF" {
                    return Err(format!("it is {}, but format is 'protobuf'", schema.kind));
                }
                compile(&schema.text, &schema.references, message)
            })
            .await
    }

    fn read(&mut self, payloads: &[&[u8]]) -> std::result::Result<Columns, String> {
        let (columns, unit, is_framed) = (&self.columns, self.unit, self.is_framed);
        self.schemas.read(payloads, |descriptor, bodies| {
            let messages = bodies
                .iter()
                .map(|body| read_message(descriptor, body, is_framed))
                .collect::<std::result::Result<Vec<_>, _>>()?;
            let messages: Vec<_> = messages.iter().map(Some).collect();
            columns
                .iter()
                .map(|column| match descriptor.get_field_by_name(&column.name) {
                    Some(field) => fit(&columns::column(&messages, &field)?, column, unit),
                    None => Ok(arrow::array::new_null_array(&column.data_type, messages.len())),
                })
                .collect()
        })
    }
}

/// The message that the options describe.
fn given_message(options: &Options) -> Result<Option<MessageDescriptor>> {
    given_schema(options)?
        .map(|text| compile(&text, &[], options.find_text("message")))
        .transpose()
        .map_err(|reason| Error::Option(format!("the Protobuf schema: {reason}")))
}

/// A field by its name.
fn field(message: &MessageDescriptor, name: &str) -> std::result::Result<FieldDescriptor, String> {
    message
        .get_field_by_name(name)
        .ok_or_else(|| format!("the message {} has no field '{name}'", message.full_name()))
}

/// One message; framed ones begin with their place in the schema's file.
fn read_message(
    descriptor: &MessageDescriptor,
    body: &[u8],
    is_framed: bool,
) -> std::result::Result<DynamicMessage, String> {
    let body = if is_framed {
        let (path, body) = read_index_path(body)?;
        if path != index_path(descriptor) {
            return Err(format!(
                "the payload is not a {}, but another message of the schema",
                descriptor.full_name()
            ));
        }
        body
    } else {
        body
    };
    DynamicMessage::decode(descriptor.clone(), body)
        .map_err(|error| format!("can't be read as {}: {error}", descriptor.full_name()))
}

/// Writes Protobuf.
pub(super) struct ProtobufWriter {
    message: MessageDescriptor,
    /// Of each column of the rows its field.
    fields: Vec<FieldDescriptor>,
    text: String,
    stamp: Stamp,
}

impl ProtobufWriter {
    /// For rows of a schema; each column is a field of the message.
    ///
    /// # Errors
    /// [`Error::Option`] when no message is described, or a column has no field that can hold it.
    pub(super) fn new(rows: &SchemaRef, options: &Options, subject: String) -> Result<Self> {
        let text = given_schema(options)?;
        let (Some(message), Some(text)) = (given_message(options)?, text) else {
            return Err(Error::Option(format!(
                "{} with format 'protobuf' needs schema or schema_file",
                options.what()
            )));
        };
        let mut fields = Vec::new();
        for column in rows.fields() {
            let field = field(&message, column.name()).map_err(Error::Option)?;
            let target = columns::column(&[], &field).map_err(Error::Option)?;
            if !arrow::compute::can_cast_types(column.data_type(), target.data_type()) {
                return Err(Error::Option(format!(
                    "column '{}' is {}, but the field of {} is {}",
                    column.name(),
                    column.data_type(),
                    message.full_name(),
                    target.data_type()
                )));
            }
            fields.push(field);
        }
        Ok(Self { message, fields, text, stamp: Stamp::new(options, subject)? })
    }
}

#[async_trait]
impl PayloadWriter for ProtobufWriter {
    async fn write(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>> {
        let header = self.stamp.header("PROTOBUF", &self.text).await?;
        let mut messages = vec![DynamicMessage::new(self.message.clone()); rows.num_rows()];
        for (array, field) in rows.columns().iter().zip(&self.fields) {
            let target = columns::column(&[], field).map_err(Error::Bug)?;
            let array = match array.data_type() == target.data_type() {
                true => Arc::clone(array),
                false => cast(array, target.data_type())?,
            };
            for (row, message) in
                messages.iter_mut().enumerate().filter(|(row, _)| array.is_valid(*row))
            {
                let value = values::field_value(&array, row, field).map_err(|reason| {
                    Error::Data(format!("column '{}': {reason}", field.name()))
                })?;
                message.set_field(field, value);
            }
        }
        let path = schema::write_index_path(&index_path(&self.message));
        Ok(messages
            .iter()
            .map(|message| {
                let mut bytes = BytesMut::with_capacity(message.encoded_len() + 16);
                if let Some(header) = &header {
                    bytes.put_slice(header);
                    bytes.put_slice(&path);
                }
                bytes.put_slice(&message.encode_to_vec());
                bytes.freeze()
            })
            .collect())
    }
}
