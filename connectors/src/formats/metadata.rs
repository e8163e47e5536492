//! Columns that are filled from what comes with a record, not from its payload.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, Int64Array, MapBuilder, MapFieldNames, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use sembla_runtime::{Error, Result};

use super::{Column, Origin, RawRecord};

/// What a column is filled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// The key: `VARCHAR` or `BYTEA`.
    Key,
    /// The time that the record carries: a timestamp.
    Timestamp,
    /// The number of the partition: a whole number.
    Partition,
    /// The place in the partition: a whole number.
    Offset,
    /// The topic: `VARCHAR`.
    Topic,
    /// The headers: `VARCHAR`, an object in JSON; or a map from text to bytes or text. Of headers
    /// of one name the last counts in JSON.
    Headers,
}

impl Metadata {
    /// The words of `METADATA FROM '…'`.
    pub const NAMES: [&'static str; 6] =
        ["key", "timestamp", "partition", "offset", "topic", "headers"];

    /// What a word of `METADATA FROM` names.
    ///
    /// ```
    /// use sembla_connectors::formats::Metadata;
    ///
    /// assert_eq!(Metadata::parse("offset"), Ok(Metadata::Offset));
    /// assert!(Metadata::parse("ofset").is_err());
    /// ```
    ///
    /// # Errors
    /// [`Error::Option`] for another word.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "key" => Self::Key,
            "timestamp" => Self::Timestamp,
            "partition" => Self::Partition,
            "offset" => Self::Offset,
            "topic" => Self::Topic,
            "headers" => Self::Headers,
            _ => {
                return Err(Error::Option(format!(
                    "METADATA FROM must be one of {}, got '{name}'",
                    Self::NAMES.join(", ")
                )));
            }
        })
    }

    /// Checks that a column of that type can hold it.
    ///
    /// # Errors
    /// [`Error::Option`] with the types that can.
    pub fn check(self, column: &Column) -> Result<()> {
        let data_type = &column.data_type;
        let (fits, allowed) = match self {
            Self::Key => (is_text(data_type) || is_bytes(data_type), "VARCHAR or BYTEA"),
            Self::Timestamp => (matches!(data_type, DataType::Timestamp(..)), "TIMESTAMP"),
            Self::Partition | Self::Offset => (data_type.is_integer(), "INT or BIGINT"),
            Self::Topic => (is_text(data_type), "VARCHAR"),
            Self::Headers => (
                is_text(data_type) || map_values(data_type).is_some(),
                "VARCHAR or MAP<VARCHAR, BYTEA>",
            ),
        };
        if fits {
            return Ok(());
        }
        Err(Error::Option(format!(
            "column '{}' is {data_type}, but METADATA FROM '{}' gives {allowed}",
            column.name,
            Self::NAMES[self as usize]
        )))
    }

    /// Why a record can't fill a column of that type.
    pub(super) fn refusal(self, data_type: &DataType, record: &RawRecord<'_>) -> Option<String> {
        let wants_text = match self {
            Self::Key => is_text(data_type),
            Self::Headers => map_values(data_type).is_none_or(is_text),
            _ => false,
        };
        if !wants_text {
            return None;
        }
        let bad = |bytes: &[u8]| std::str::from_utf8(bytes).err().map(|error| error.valid_up_to());
        if self == Self::Key {
            let at = bad(record.key?)?;
            return Some(format!("the key is not UTF-8: bad byte at {at}"));
        }
        record.headers.iter().find_map(|(name, value)| {
            let at = bad((*value)?)?;
            Some(format!("the header '{name}' is not UTF-8: bad byte at {at}"))
        })
    }

    /// The column for these records, none of which has a refusal.
    pub(super) fn array(
        self,
        data_type: &DataType,
        origin: &Origin<'_>,
        records: &[&RawRecord<'_>],
    ) -> Result<ArrayRef> {
        let array: ArrayRef = match self {
            Self::Key if is_text(data_type) => {
                Arc::new(records.iter().map(|r| r.key.map(text)).collect::<StringArray>())
            }
            Self::Key => {
                let mut keys = BinaryBuilder::new();
                records.iter().for_each(|record| keys.append_option(record.key));
                Arc::new(keys.finish())
            }
            Self::Timestamp => Arc::new(
                records.iter().map(|r| r.timestamp_us).collect::<TimestampMicrosecondArray>(),
            ),
            Self::Partition => {
                Arc::new(Int64Array::from(vec![i64::from(origin.number); records.len()]))
            }
            Self::Offset => {
                Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.offset)))
            }
            Self::Topic => Arc::new(StringArray::from(vec![origin.topic; records.len()])),
            Self::Headers if is_text(data_type) => {
                Arc::new(StringArray::from_iter_values(records.iter().map(|r| headers_json(r))))
            }
            Self::Headers => headers_map(data_type, records)?,
        };
        if array.data_type() == data_type { Ok(array) } else { Ok(cast(&array, data_type)?) }
    }
}

/// Bytes that were checked to be text.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn headers_json(record: &RawRecord<'_>) -> String {
    let object: serde_json::Map<String, serde_json::Value> = record
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_string(), (*value).map(text).into()))
        .collect();
    serde_json::Value::Object(object).to_string()
}

fn headers_map(data_type: &DataType, records: &[&RawRecord<'_>]) -> Result<ArrayRef> {
    let DataType::Map(entries, _) = data_type else {
        return Err(Error::Bug(format!("headers as {data_type}")));
    };
    let names = match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => MapFieldNames {
            entry: entries.name().clone(),
            key: fields[0].name().clone(),
            value: fields[1].name().clone(),
        },
        _ => MapFieldNames::default(),
    };
    let (key, value) = (names.key.clone(), names.value.clone());
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new())
        .with_keys_field(Field::new(key, DataType::Utf8, false))
        .with_values_field(Field::new(value, DataType::Binary, true));
    for record in records {
        for (name, value) in &record.headers {
            map.keys().append_value(name);
            map.values().append_option(*value);
        }
        map.append(true)?;
    }
    Ok(Arc::new(map.finish()))
}

/// Whether it is a type of text.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether it is a type of bytes.
pub(super) fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// The type of a map's values, where its keys are text.
fn map_values(data_type: &DataType) -> Option<&DataType> {
    let DataType::Map(entries, _) = data_type else { return None };
    let DataType::Struct(fields) = entries.data_type() else { return None };
    let value = fields.get(1)?.data_type();
    (is_text(fields[0].data_type()) && (is_text(value) || is_bytes(value))).then_some(value)
}
