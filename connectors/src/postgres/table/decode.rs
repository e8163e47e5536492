//! The binary form of COPY as rows.
//!
//! - *Invariant:* what a server sends is checked before it is believed: lengths, counts, texts.
//! - *Invariant:* rows that are held are those of one batch, and at most one that is not complete.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    FixedSizeListBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    ListBuilder, RecordBatch, RecordBatchOptions, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, UInt8Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::{Buf, BytesMut};
use half::f16;
use sembla_runtime::{Error, Result};

use super::columns::{Form, ReadColumn};
use crate::postgres::encode::{EPOCH_DAYS, EPOCH_US, HEADER};
use crate::postgres::numeric::numeric;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Bytes of values of a batch, about.
const BATCH_BYTES: usize = 16 << 20;
/// Bytes of the flags and the length of the extension, at the end of [`HEADER`].
const FLAGS_BYTES: usize = 8;

/// What came of reading a value: what is wrong with it, if something is.
type Read<T> = std::result::Result<T, String>;

/// Makes batches of the bytes of a COPY.
pub(in crate::postgres) struct Decoder {
    columns: Vec<ReadColumn>,
    schema: SchemaRef,
    builders: Vec<Builder>,
    /// Bytes of a row that is not complete.
    rest: BytesMut,
    is_begun: bool,
    is_ended: bool,
    rows: usize,
    bytes: usize,
}

impl Decoder {
    /// A decoder of rows with these columns.
    pub(in crate::postgres) fn new(columns: Vec<ReadColumn>) -> Self {
        let fields = columns.iter().map(|column| Arc::clone(&column.field));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let builders = columns.iter().map(|column| Builder::of(column.form)).collect();
        let (rest, is_begun, is_ended, rows, bytes) = Default::default();
        Self { columns, schema, builders, rest, is_begun, is_ended, rows, bytes }
    }

    /// Takes more bytes; gives a batch where there are enough rows.
    ///
    /// # Errors
    /// [`Error::Data`] for a value that has no form, [`Error::Transient`] for bytes that are none
    /// of a COPY.
    pub(in crate::postgres) fn add(&mut self, piece: &[u8]) -> Result<Option<RecordBatch>> {
        self.rest.extend_from_slice(piece);
        if !self.is_begun {
            if self.rest.len() < HEADER.len() {
                return Ok(None);
            }
            let header = self.rest.split_to(HEADER.len());
            if header.get(..HEADER.len() - FLAGS_BYTES) != HEADER.get(..HEADER.len() - FLAGS_BYTES)
            {
                return Err(torn("its beginning is another"));
            }
            self.is_begun = true;
        }
        while let Some(length) = self.row_length()? {
            let row = self.rest.split_to(length);
            self.row(&row)?;
        }
        match self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            true => self.take().map(Some),
            false => Ok(None),
        }
    }

    /// The last rows, if there are some.
    ///
    /// # Errors
    /// A COPY that was cut short.
    pub(in crate::postgres) fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if !self.is_ended || !self.rest.is_empty() {
            return Err(torn("it ends within a row"));
        }
        (self.rows > 0).then(|| self.take()).transpose()
    }

    /// The bytes of the next row, if all of them are there.
    fn row_length(&mut self) -> Result<Option<usize>> {
        let mut rest = self.rest.as_ref();
        let Ok(count) = rest.try_get_i16() else { return Ok(None) };
        if count == -1 {
            self.is_ended = true;
            self.rest.advance(size_of::<i16>());
            return Ok(None);
        }
        if self.is_ended || usize::try_from(count) != Ok(self.columns.len()) {
            return Err(torn("a row has other columns"));
        }
        for _ in 0..count {
            let Ok(length) = rest.try_get_i32() else { return Ok(None) };
            let length = usize::try_from(length).unwrap_or_default();
            if rest.len() < length {
                return Ok(None);
            }
            rest.advance(length);
        }
        Ok(Some(self.rest.len() - rest.len()))
    }

    /// Takes a row, which is complete.
    fn row(&mut self, row: &[u8]) -> Result<()> {
        let mut rest = row;
        let cut = || torn("a row is cut short");
        rest.try_get_i16().map_err(|_| cut())?;
        for (builder, column) in self.builders.iter_mut().zip(&self.columns) {
            let length = rest.try_get_i32().map_err(|_| cut())?;
            let value = match usize::try_from(length) {
                Ok(length) => {
                    let (value, behind) = rest.split_at_checked(length).ok_or_else(cut)?;
                    rest = behind;
                    Some(value)
                }
                Err(_) => None,
            };
            builder
                .put(value)
                .map_err(|why| Error::Data(format!("column '{}': {why}", column.field.name())))?;
        }
        self.rows += 1;
        self.bytes += row.len();
        Ok(())
    }

    fn take(&mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = self.builders.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| Error::Bug(error.to_string()))
    }
}

fn torn(why: &str) -> Error {
    Error::Transient(format!("postgres sent what is no COPY: {why}"))
}

/// The values of a column.
enum Builder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal(Decimal128Builder, u8),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Vectors(FixedSizeListBuilder<Float32Builder>, Bits),
    Lists(ListBuilder<Float32Builder>, Bits),
    Packed(FixedSizeListBuilder<UInt8Builder>),
}

/// How many bits a component of a vector has.
#[derive(Clone, Copy)]
enum Bits {
    Single,
    Half,
}

impl Builder {
    fn of(form: Form) -> Self {
        let floats = |size| {
            let item = Arc::new(Field::new_list_field(DataType::Float32, true));
            FixedSizeListBuilder::new(Float32Builder::new(), size).with_field(item)
        };
        match form {
            Form::Bool => Self::Bool(BooleanBuilder::new()),
            Form::Int2 => Self::Int2(Int16Builder::new()),
            Form::Int4 => Self::Int4(Int32Builder::new()),
            Form::Int8 => Self::Int8(Int64Builder::new()),
            Form::Float4 => Self::Float4(Float32Builder::new()),
            Form::Float8 => Self::Float8(Float64Builder::new()),
            Form::Decimal(_, scale) => {
                let numbers = Decimal128Builder::new().with_data_type(form.data_type());
                Self::Decimal(numbers, scale.unsigned_abs())
            }
            Form::Text => Self::Text(StringBuilder::new()),
            Form::Bytes => Self::Bytes(BinaryBuilder::new()),
            Form::Date => Self::Date(Date32Builder::new()),
            Form::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Form::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            Form::TimestampTz => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            Form::Vector(Some(size)) => Self::Vectors(floats(size), Bits::Single),
            Form::Halfvec(Some(size)) => Self::Vectors(floats(size), Bits::Half),
            Form::Vector(None) => {
                Self::Lists(ListBuilder::new(Float32Builder::new()), Bits::Single)
            }
            Form::Halfvec(None) => Self::Lists(ListBuilder::new(Float32Builder::new()), Bits::Half),
            Form::Bits(bytes) => {
                Self::Packed(FixedSizeListBuilder::new(UInt8Builder::new(), bytes))
            }
        }
    }

    /// Takes a value; `None` for NULL.
    fn put(&mut self, value: Option<&[u8]>) -> Read<()> {
        match self {
            Self::Bool(values) => {
                let value = value.map(fixed::<1>).transpose()?;
                values.append_option(value.map(|[byte]| byte != 0));
            }
            Self::Int2(values) => {
                values.append_option(value.map(fixed).transpose()?.map(i16::from_be_bytes));
            }
            Self::Int4(values) => {
                values.append_option(value.map(fixed).transpose()?.map(i32::from_be_bytes));
            }
            Self::Int8(values) => {
                values.append_option(value.map(fixed).transpose()?.map(i64::from_be_bytes));
            }
            Self::Float4(values) => {
                values.append_option(value.map(fixed).transpose()?.map(f32::from_be_bytes));
            }
            Self::Float8(values) => {
                values.append_option(value.map(fixed).transpose()?.map(f64::from_be_bytes));
            }
            Self::Decimal(values, scale) => {
                values.append_option(value.map(|value| numeric(value, *scale)).transpose()?);
            }
            Self::Text(values) => values.append_option(value.map(text).transpose()?),
            Self::Bytes(values) => values.append_option(value),
            Self::Date(values) => values.append_option(value.map(date).transpose()?),
            Self::Time(values) => {
                values.append_option(value.map(fixed).transpose()?.map(i64::from_be_bytes));
            }
            Self::Timestamp(values) => values.append_option(value.map(time).transpose()?),
            Self::Vectors(lists, bits) => {
                let size = usize::try_from(lists.value_length()).unwrap_or_default();
                let is_there = value.is_some();
                match value {
                    Some(value) => {
                        let components = components(value, *bits)?;
                        if components.len() != size {
                            let found = components.len();
                            return Err(format!("a vector of {found} components, not {size}"));
                        }
                        lists.values().append_slice(&components);
                    }
                    None => lists.values().append_nulls(size),
                }
                lists.append(is_there);
            }
            Self::Lists(lists, bits) => {
                if let Some(value) = value {
                    lists.values().append_slice(&components(value, *bits)?);
                }
                lists.append(value.is_some());
            }
            Self::Packed(lists) => {
                let size = usize::try_from(lists.value_length()).unwrap_or_default();
                match value {
                    // The number of bits comes first.
                    Some([_, _, _, _, bytes @ ..]) if bytes.len() == size => {
                        lists.values().append_slice(bytes);
                    }
                    Some(_) => return Err(format!("bits of another length than {size} bytes")),
                    None => lists.values().append_nulls(size),
                }
                lists.append(value.is_some());
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(values) => Arc::new(values.finish()),
            Self::Int2(values) => Arc::new(values.finish()),
            Self::Int4(values) => Arc::new(values.finish()),
            Self::Int8(values) => Arc::new(values.finish()),
            Self::Float4(values) => Arc::new(values.finish()),
            Self::Float8(values) => Arc::new(values.finish()),
            Self::Decimal(values, _) => Arc::new(values.finish()),
            Self::Text(values) => Arc::new(values.finish()),
            Self::Bytes(values) => Arc::new(values.finish()),
            Self::Date(values) => Arc::new(values.finish()),
            Self::Time(values) => Arc::new(values.finish()),
            Self::Timestamp(values) => Arc::new(values.finish()),
            Self::Vectors(lists, _) => Arc::new(lists.finish()),
            Self::Lists(lists, _) => Arc::new(lists.finish()),
            Self::Packed(lists) => Arc::new(lists.finish()),
        }
    }
}

/// The bytes of a value that always has so many.
fn fixed<const BYTES: usize>(value: &[u8]) -> Read<[u8; BYTES]> {
    value.try_into().map_err(|_| format!("a value of {} bytes, not {BYTES}", value.len()))
}

fn text(value: &[u8]) -> Read<&str> {
    std::str::from_utf8(value).map_err(|_| "a text that is no UTF-8".into())
}

fn date(value: &[u8]) -> Read<i32> {
    let days = i32::from_be_bytes(fixed(value)?);
    let is_finite = days != i32::MAX && days != i32::MIN;
    let days = days.checked_add(EPOCH_DAYS).filter(|_| is_finite);
    days.ok_or_else(|| "the date 'infinity' has no form; leave such rows out with WHERE".into())
}

fn time(value: &[u8]) -> Read<i64> {
    let us = i64::from_be_bytes(fixed(value)?);
    let is_finite = us != i64::MAX && us != i64::MIN;
    let us = us.checked_add(EPOCH_US).filter(|_| is_finite);
    us.ok_or_else(|| "the time 'infinity' has no form; leave such rows out with WHERE".into())
}

/// The components of a vector: how many there are, two bytes that mean nothing, and they.
fn components(value: &[u8], bits: Bits) -> Read<Vec<f32>> {
    let torn = || "a vector that is cut short".to_string();
    let mut rest = value;
    let count = rest.try_get_u16().map_err(|_| torn())?;
    rest.try_get_u16().map_err(|_| torn())?;
    let found: Vec<f32> = match bits {
        Bits::Single => rest
            .chunks_exact(4)
            .filter_map(|bytes| Some(f32::from_be_bytes(bytes.try_into().ok()?)))
            .collect(),
        Bits::Half => rest
            .chunks_exact(2)
            .filter_map(|bytes| Some(f16::from_be_bytes(bytes.try_into().ok()?).to_f32()))
            .collect(),
    };
    if found.len() == usize::from(count) { Ok(found) } else { Err(torn()) }
}
