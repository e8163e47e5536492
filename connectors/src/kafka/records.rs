//! Rows and rejected records as records of a topic: keys, headers and times.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use rdkafka::message::{Header, OwnedHeaders};
use sembla_runtime::{Error, Rejected, Result};

use super::positions::TopicPartition;

/// The columns of a result that do not only go into the payload.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles {
    pub(super) key: Option<String>,
    pub(super) headers: Option<String>,
    pub(super) timestamp: Option<String>,
}

impl Roles {
    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.key.is_none() && self.headers.is_none() && self.timestamp.is_none()
    }

    /// The roles whose columns a schema has.
    pub(super) fn within(&self, rows: &RecordBatch) -> Self {
        let there = |name: &Option<String>| {
            name.clone().filter(|name| rows.schema_ref().index_of(name).is_ok())
        };
        Self {
            key: there(&self.key),
            headers: there(&self.headers),
            timestamp: there(&self.timestamp),
        }
    }
}

/// The columns of a batch by their roles.
pub(super) struct Played {
    key: Option<BinaryArray>,
    headers: Option<HeaderColumn>,
    timestamp: Option<ArrayRef>,
}

/// A column of headers.
enum HeaderColumn {
    /// JSON objects.
    Text(StringArray),
    /// Maps from text to bytes: for each row its entries.
    Map(ArrayRef),
}

impl Played {
    /// Looks up and converts the columns.
    ///
    /// # Errors
    /// [`Error::Option`] when a column is not there or has a type that can't play the role.
    pub(super) fn new(roles: &Roles, rows: &RecordBatch) -> Result<Self> {
        let column = |role: &str, name: &Option<String>| -> Result<Option<ArrayRef>> {
            let Some(name) = name else { return Ok(None) };
            rows.column_by_name(name).cloned().map(Some).ok_or_else(|| {
                let schema = rows.schema();
                let known: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                Error::Option(format!(
                    "{role} names column '{name}', which does not exist; columns: {}",
                    known.join(", ")
                ))
            })
        };
        let unfit = |role: &str, name: &Option<String>, takes: &str| {
            let name = name.as_deref().unwrap_or_default();
            Error::Option(format!("{role} is '{name}', which is not {takes}"))
        };
        let key = column("key", &roles.key)?
            .map(|array| {
                bytes_of(&array).ok_or_else(|| unfit("key", &roles.key, "text, bytes or a number"))
            })
            .transpose()?;
        let headers = column("headers", &roles.headers)?
            .map(|array| {
                HeaderColumn::new(&array)
                    .ok_or_else(|| unfit("headers", &roles.headers, "VARCHAR or MAP<VARCHAR, …>"))
            })
            .transpose()?;
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        let timestamp = column("timestamp", &roles.timestamp)?
            .map(|array| match array.data_type() {
                DataType::Timestamp(..) => Ok(cast(&array, &milliseconds)?),
                _ => Err(unfit("timestamp", &roles.timestamp, "a TIMESTAMP")),
            })
            .transpose()?;
        Ok(Self { key, headers, timestamp })
    }

    /// The key of a row.
    pub(super) fn key(&self, row: usize) -> Option<&[u8]> {
        let keys = self.key.as_ref().filter(|keys| keys.is_valid(row))?;
        Some(keys.value(row))
    }

    /// The time of a row.
    pub(super) fn timestamp_ms(&self, row: usize) -> Option<i64> {
        let times = self.timestamp.as_ref().filter(|times| times.is_valid(row))?;
        Some(times.as_primitive::<TimestampMillisecondType>().value(row))
    }

    /// The headers of a row.
    ///
    /// # Errors
    /// [`Error::Data`] for text that is no object in JSON.
    pub(super) fn headers(&self, row: usize) -> Result<Option<OwnedHeaders>> {
        self.headers.as_ref().map_or(Ok(None), |headers| headers.of(row))
    }
}

impl HeaderColumn {
    fn new(array: &ArrayRef) -> Option<Self> {
        match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let text = cast(array, &DataType::Utf8).ok()?;
                Some(Self::Text(text.as_string().clone()))
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => Some(Self::Map(array.clone())),
                _ => None,
            },
            _ => None,
        }
    }

    fn of(&self, row: usize) -> Result<Option<OwnedHeaders>> {
        match self {
            Self::Text(texts) if texts.is_valid(row) => headers_of_json(texts.value(row)).map(Some),
            Self::Map(maps) if maps.is_valid(row) => {
                let entries = maps.as_map().value(row);
                let names = cast(entries.column(0), &DataType::Utf8)?;
                let values = cast(entries.column(1), &DataType::Binary)?;
                let (names, values) = (names.as_string::<i32>(), values.as_binary::<i32>());
                let headers = (0..entries.len()).fold(OwnedHeaders::new(), |headers, entry| {
                    let value = values.is_valid(entry).then(|| values.value(entry));
                    headers.insert(Header { key: names.value(entry), value })
                });
                Ok(Some(headers))
            }
            _ => Ok(None),
        }
    }
}

/// The headers that an object in JSON stands for: texts as they are, all else as JSON.
fn headers_of_json(text: &str) -> Result<OwnedHeaders> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
        .map_err(|error| Error::Data(format!("headers must be a JSON object: {error}")))?;
    Ok(object.into_iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        let value = match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        headers.insert(Header { key: &key, value: value.as_deref() })
    }))
}

/// A column as keys: bytes as they are, all else as text.
fn bytes_of(array: &ArrayRef) -> Option<BinaryArray> {
    let is_bytes = matches!(
        array.data_type(),
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    );
    let array = match is_bytes {
        true => cast(array, &DataType::Binary).ok()?,
        false if array.data_type().is_nested() => return None,
        false => cast(&cast(array, &DataType::Utf8).ok()?, &DataType::Binary).ok()?,
    };
    Some(array.as_binary().clone())
}

/// The headers of a dead letter: where it came from and why it could not be used.
pub(super) fn origin_of(rejected: &Rejected, reason: &str) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    let mut add = |key: &str, value: &str| {
        headers = std::mem::take(&mut headers).insert(Header { key, value: Some(value) });
    };
    match TopicPartition::parse(&rejected.partition) {
        Some(partition) => {
            add("topic", &partition.topic);
            add("partition", &partition.number.to_string());
        }
        None => add("partition", &rejected.partition),
    }
    // Negative where it isn't known.
    if rejected.position >= 0 {
        add("offset", &rejected.position.to_string());
    }
    if let Some(timestamp_us) = rejected.timestamp_us {
        add("timestamp", &timestamp_us.div_euclid(1000).to_string());
    }
    add("reason", reason);
    headers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use rdkafka::message::Headers;

    use super::*;

    fn rows() -> RecordBatch {
        let times = TimestampMicrosecondArray::from(vec![Some(5_000_000), None]);
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef),
            ("h", Arc::new(StringArray::from(vec![Some(r#"{"a":"x","b":2,"c":null}"#), None]))),
            ("t", Arc::new(times)),
        ])
        .expect("batch")
    }

    fn roles() -> Roles {
        Roles { key: Some("id".into()), headers: Some("h".into()), timestamp: Some("t".into()) }
    }

    fn pairs(headers: &OwnedHeaders) -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        headers.iter().map(|header| (header.key.into(), header.value.map(text))).collect()
    }

    #[test]
    fn columns_become_keys_headers_and_times() {
        let played = Played::new(&roles(), &rows()).expect("roles");
        assert_eq!(played.key(1), Some(&b"8"[..]));
        assert_eq!((played.timestamp_ms(0), played.timestamp_ms(1)), (Some(5000), None));
        let headers = played.headers(0).expect("headers").expect("some");
        let expected = [("a", Some("x")), ("b", Some("2")), ("c", None)];
        let expected = expected.map(|(key, value)| (key.to_string(), value.map(String::from)));
        assert_eq!(pairs(&headers), expected);
        assert!(played.headers(1).expect("headers").is_none());
    }

    #[test]
    fn columns_that_cannot_play_their_role_are_named() {
        for (roles, line) in [
            (Roles { key: Some("no".into()), ..Roles::default() }, "columns: id, h, t"),
            (
                Roles { headers: Some("id".into()), ..Roles::default() },
                "headers is 'id', which is not",
            ),
            (Roles { timestamp: Some("h".into()), ..Roles::default() }, "not a TIMESTAMP"),
        ] {
            let error = Played::new(&roles, &rows()).err().expect("refused").to_string();
            assert!(error.contains(line), "{error}");
        }
        assert!(Roles { key: Some("no".into()), ..roles() }.within(&rows()).key.is_none());
    }

    #[test]
    fn a_dead_letter_says_where_it_came_from() {
        let rejected = Rejected {
            partition: "a/b/3".into(),
            position: 42,
            timestamp_us: Some(1_500),
            key: None,
            payload: None,
            reason: "no JSON".into(),
        };
        let headers = pairs(&origin_of(&rejected, &rejected.reason));
        let expected = [
            ("topic", "a/b"),
            ("partition", "3"),
            ("offset", "42"),
            ("timestamp", "1"),
            ("reason", "no JSON"),
        ];
        let expected = expected.map(|(key, value)| (key.to_string(), Some(value.to_string())));
        assert_eq!(headers, expected);
    }
}
