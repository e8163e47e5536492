//! Objects in JSON, one a record.
//!
//! arrow-json reads all payloads of a call into one tape. Whole numbers and times are read by a
//! second tape as texts, because arrow-json cuts fractions off silently, and takes the unit of a
//! time from its type; a second tape costs less than anything that looks at records one by one.
//!
//! - *Invariant:* each payload is exactly one object; two objects, or half of one, are rejected, so
//!   that rows and payloads can't shift against each other.
//! - Fields that aren't declared are skipped. A declared field that is missing is NULL.
//! - A number may be written as text ("5" for 5, 5.0 for 5), a text not as a number. Bytes are
//!   hexadecimal.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, PrimitiveArray, RecordBatch, RecordBatchOptions,
};
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{
    ArrowTimestampType, DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use chrono::Utc;
use sembla_runtime::{Error, Result};

use super::fit::fit;
use super::{Column, Columns, PayloadReader};

/// Reads objects.
pub(super) struct JsonReader {
    columns: Vec<Column>,
    values: Tape,
    texts: Tape,
    /// Nanoseconds in the unit of a time given as a number.
    unit_ns: i128,
    /// Whether rows have been looked at for what a wrong declaration makes of them.
    is_checked: bool,
}

/// One pass over the payloads.
struct Tape {
    /// The columns that it reads, all of which may be NULL.
    schema: SchemaRef,
    /// Their places among the columns.
    places: Vec<usize>,
    /// Whether numbers and truth values are read as texts.
    is_all_text: bool,
}

impl JsonReader {
    /// For the columns of the payload; `unit` is that of times given as numbers: `s`, `ms`, `us`.
    ///
    /// # Errors
    /// [`Error::Option`] for a type that JSON can't fill.
    pub(super) fn new(columns: &[Column], unit: &str) -> Result<Self> {
        let is_text = |data_type: &DataType| {
            let is_number = data_type.is_integer() && *data_type != DataType::UInt64;
            is_number || matches!(data_type, DataType::Timestamp(..))
        };
        let (texts, values): (Vec<_>, Vec<_>) =
            (0..columns.len()).partition(|place| is_text(&columns[*place].data_type));
        let field = |place: &usize, data_type: &DataType| {
            Field::new(&columns[*place].name, data_type.clone(), true)
        };
        let values_schema: Vec<_> =
            values.iter().map(|place| field(place, &columns[*place].data_type)).collect();
        let texts_schema: Vec<_> =
            texts.iter().map(|place| field(place, &DataType::Utf8)).collect();
        let reader = Self {
            values: Tape::new(values_schema, values, false),
            texts: Tape::new(texts_schema, texts, true),
            columns: columns.to_vec(),
            unit_ns: unit_ns(unit),
            is_checked: false,
        };
        reader.values.builder(1).build_decoder().map_err(|error| {
            Error::Option(format!("format 'json' can't fill every column: {}", plain(&error)))
        })?;
        Ok(reader)
    }
}

impl PayloadReader for JsonReader {
    fn read(&mut self, payloads: &[&[u8]]) -> std::result::Result<Columns, String> {
        let refused = |error: ArrowError| reason(&error, payloads);
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; self.columns.len()];
        // Each tape checks the syntax, so one is enough.
        if !self.values.places.is_empty() || self.texts.places.is_empty() {
            let batch = self.values.read(payloads).map_err(refused)?;
            for (place, array) in self.values.places.iter().zip(batch.columns()) {
                arrays[*place] = Some(Arc::clone(array));
            }
        }
        if !self.texts.places.is_empty() {
            let batch = self.texts.read(payloads).map_err(|error| {
                refused(error).replace("expected string", "expected a number or a text")
            })?;
            for (place, texts) in self.texts.places.iter().zip(batch.columns()) {
                let column = &self.columns[*place];
                arrays[*place] = Some(match &column.data_type {
                    DataType::Timestamp(unit, _) => times(texts, column, *unit, self.unit_ns)?,
                    _ => whole_numbers(texts, column)?,
                });
            }
        }
        let arrays: Vec<ArrayRef> = arrays.into_iter().flatten().collect();
        self.check_names(&arrays, payloads);
        Ok(Columns { arrays, rows: None })
    }
}

impl JsonReader {
    /// Says once that the first objects have none of the declared fields, as when the fields lie
    /// within another one.
    fn check_names(&mut self, arrays: &[ArrayRef], payloads: &[&[u8]]) {
        let Some(payload) = payloads.first().filter(|_| !self.is_checked) else { return };
        self.is_checked = true;
        if arrays.is_empty() || arrays.iter().any(|array| array.null_count() < array.len()) {
            return;
        }
        let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(payload);
        let fields: Vec<String> =
            object.unwrap_or_default().into_iter().map(|(key, _)| key).collect();
        let is_there = |column: &Column| fields.contains(&column.name);
        if !fields.is_empty() && !self.columns.iter().any(is_there) {
            let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            tracing::warn!(
                "the first records have none of the fields {}, so all columns are NULL; their fields are {}: declare those, \
                 nested fields as a STRUCT column",
                names.join(", "),
                fields.join(", ")
            );
        }
    }
}

impl Tape {
    fn new(fields: Vec<Field>, places: Vec<usize>, is_all_text: bool) -> Self {
        Self { schema: Arc::new(Schema::new(fields)), places, is_all_text }
    }

    fn builder(&self, rows: usize) -> ReaderBuilder {
        ReaderBuilder::new(Arc::clone(&self.schema))
            .with_batch_size(rows)
            .with_coerce_primitive(self.is_all_text)
    }

    /// All payloads as a batch.
    fn read(&self, payloads: &[&[u8]]) -> std::result::Result<RecordBatch, ArrowError> {
        // One row more than there should be, so that one too many is seen.
        let mut decoder = self.builder(payloads.len() + 1).build_decoder()?;
        for (row, payload) in payloads.iter().enumerate() {
            let read = decoder.decode(payload)?;
            if decoder.has_partial_record() {
                // A number or a word ends only with what follows it.
                decoder.decode(b"\n")?;
            }
            if decoder.has_partial_record() {
                return Err(ArrowError::JsonError("it ends in the middle of a value".into()));
            }
            if decoder.len() != row + 1 || read != payload.len() {
                let found = if decoder.len() == row { "is empty" } else { "has several values" };
                return Err(ArrowError::JsonError(format!(
                    "the payload must be one JSON object, but it {found}"
                )));
            }
        }
        match decoder.flush()? {
            Some(batch) => Ok(batch),
            None => {
                let options = RecordBatchOptions::new().with_row_count(Some(0));
                let none = RecordBatch::new_empty(Arc::clone(&self.schema));
                RecordBatch::try_new_with_options(
                    Arc::clone(&self.schema),
                    none.columns().to_vec(),
                    &options,
                )
            }
        }
    }
}

/// Why payloads can't be read. For a single one a stricter parser says where.
fn reason(error: &ArrowError, payloads: &[&[u8]]) -> String {
    if let [payload] = payloads {
        if let [0, a, b, c, d, _, ..] = payload {
            let id = u32::from_be_bytes([*a, *b, *c, *d]);
            return format!(
                "the payload begins with the header of a schema registry (schema {id}), so it is not plain JSON; set framing = \
                 'confluent', and format to that of the schema"
            );
        }
        if let Err(error) = super::text::as_text(payload) {
            return error;
        }
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(payload)
            && !payload.trim_ascii().is_empty()
        {
            return format!("the payload is not JSON: {error}");
        }
    }
    plain(error)
}

/// An error of arrow-json in our words.
fn plain(error: &ArrowError) -> String {
    match error {
        ArrowError::JsonError(text) | ArrowError::ParseError(text) => text.clone(),
        other => other.to_string(),
    }
    .replace("whilst decoding field ", "column ")
}

/// Nanoseconds in a unit.
fn unit_ns(unit: &str) -> i128 {
    match unit {
        "s" => 1_000_000_000,
        "us" => 1_000,
        _ => 1_000_000,
    }
}

/// Whole numbers of a column that were read as texts.
fn whole_numbers(texts: &ArrayRef, column: &Column) -> std::result::Result<ArrayRef, String> {
    let mut numbers = Int64Array::builder(texts.len());
    for text in texts.as_string::<i32>() {
        let number = text.map(|text| whole_number(text.trim()).ok_or(text)).transpose();
        numbers.append_option(number.map_err(|text| {
            format!("column '{}': '{text}' is not a whole number that it can hold", column.name)
        })?);
    }
    fit(&(Arc::new(numbers.finish()) as ArrayRef), column, TimeUnit::Microsecond)
}

/// A whole number; it may have a fraction of zero.
fn whole_number(text: &str) -> Option<i64> {
    /// Up to here every whole number is a float of its own.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// Times of a column that were read as texts.
fn times(
    texts: &ArrayRef,
    column: &Column,
    target: TimeUnit,
    unit: i128,
) -> std::result::Result<ArrayRef, String> {
    match target {
        TimeUnit::Second => times_in::<TimestampSecondType>(texts, column, unit, 1_000_000_000),
        TimeUnit::Millisecond => {
            times_in::<TimestampMillisecondType>(texts, column, unit, 1_000_000)
        }
        TimeUnit::Microsecond => times_in::<TimestampMicrosecondType>(texts, column, unit, 1_000),
        TimeUnit::Nanosecond => times_in::<TimestampNanosecondType>(texts, column, unit, 1),
    }
}

/// Times in a type whose unit has `target_ns` nanoseconds.
fn times_in<T: ArrowTimestampType>(
    texts: &ArrayRef,
    column: &Column,
    unit_ns: i128,
    target_ns: i128,
) -> std::result::Result<ArrayRef, String> {
    let texts = texts.as_string::<i32>();
    let mut times = PrimitiveArray::<T>::builder(texts.len());
    for text in texts {
        let Some(text) = text else {
            times.append_null();
            continue;
        };
        let time = time_ns(text.trim(), unit_ns)
            .and_then(|ns| i64::try_from(ns.div_euclid(target_ns)).ok())
            .ok_or_else(|| {
                format!(
                    "column '{}': a time must be a number, an RFC 3339 text or 'YYYY-MM-DD HH:MM:SS', got '{text}'",
                    column.name
                )
            })?;
        times.append_value(time);
    }
    Ok(Arc::new(times.finish().with_data_type(column.data_type.clone())))
}

/// A time in nanoseconds since 1970: a number in a unit, or a date and time, UTC where it has no
/// zone.
fn time_ns(text: &str, unit_ns: i128) -> Option<i128> {
    if let Some(number) = decimal_ns(text, unit_ns) {
        return Some(number);
    }
    if let Ok(time) = string_to_datetime(&Utc, text) {
        let nanos = i128::from(time.timestamp_subsec_nanos());
        return Some(i128::from(time.timestamp()) * 1_000_000_000 + nanos);
    }
    // What is left of numbers has an exponent.
    let ns = text.parse::<f64>().ok()? * unit_ns as f64;
    (ns.abs() < 1e30).then_some(ns as i128)
}

/// A number without an exponent, times a unit, exactly.
fn decimal_ns(text: &str, unit_ns: i128) -> Option<i128> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(i128::from(whole) * unit_ns);
    }
    let (whole, fraction) = text.split_once('.')?;
    let is_digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = is_digits.then(|| &fraction[..fraction.len().min(18)])?;
    let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<i128>().ok()? * unit_ns / scale;
    let whole_ns = i128::from(whole.parse::<i64>().ok()?) * unit_ns;
    Some(if whole.starts_with('-') { whole_ns - part } else { whole_ns + part })
}
