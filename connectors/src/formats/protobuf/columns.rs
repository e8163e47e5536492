//! Fields of messages as columns, each of the Arrow type nearest to the field's.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, MapArray, StringArray, StructArray, TimestampMicrosecondArray, UInt32Array,
    UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Fields};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// Messages inside messages; a type that contains itself has no end.
const DEPTH_MAX: usize = 32;

/// A field of all messages as an array; `None` is a message that does not exist.
///
/// # Errors
/// When the field's type has no form as a column.
pub(super) fn column(
    messages: &[Option<&DynamicMessage>],
    field: &FieldDescriptor,
) -> std::result::Result<ArrayRef, String> {
    column_at(messages, field, 0)
}

fn column_at(
    messages: &[Option<&DynamicMessage>],
    field: &FieldDescriptor,
    depth: usize,
) -> std::result::Result<ArrayRef, String> {
    if depth > DEPTH_MAX {
        return Err(format!(
            "the field {} is of a message that contains itself; such fields can't be columns",
            field.full_name()
        ));
    }
    let found: Vec<Option<Cow<'_, Value>>> =
        messages.iter().map(|message| present((*message)?, field)).collect();
    let values: Vec<Option<&Value>> = found.iter().map(Option::as_deref).collect();
    let kind = field.kind();
    if let (true, Kind::Message(entry)) = (field.is_map(), &kind) {
        return map(&values, entry, depth);
    }
    if !field.is_list() {
        return scalars(&values, &kind, depth);
    }
    let mut items = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    for list in &values {
        let list = list.and_then(Value::as_list).unwrap_or_default();
        lengths.push(list.len());
        items.extend(list.iter().map(Some));
    }
    let items = scalars(&items, &kind, depth)?;
    let item = Field::new_list_field(items.data_type().clone(), true);
    let nulls: NullBuffer = values.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::new(Arc::new(item), offsets, items, Some(nulls))))
}

/// The value of a field; `None` where it has presence and isn't there.
fn present<'a>(message: &'a DynamicMessage, field: &FieldDescriptor) -> Option<Cow<'a, Value>> {
    let is_there = !field.supports_presence() || message.has_field(field);
    is_there.then(|| message.get_field(field))
}

/// Single values of one kind.
fn scalars(
    values: &[Option<&Value>],
    kind: &Kind,
    depth: usize,
) -> std::result::Result<ArrayRef, String> {
    macro_rules! collect {
        ($array:ty, $get:expr) => {
            Arc::new(values.iter().map(|value| value.and_then($get)).collect::<$array>())
        };
    }
    Ok(match kind {
        Kind::Bool => collect!(BooleanArray, Value::as_bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => collect!(Int32Array, Value::as_i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => collect!(Int64Array, Value::as_i64),
        Kind::Uint32 | Kind::Fixed32 => collect!(UInt32Array, Value::as_u32),
        Kind::Uint64 | Kind::Fixed64 => collect!(UInt64Array, Value::as_u64),
        Kind::Float => collect!(Float32Array, Value::as_f32),
        Kind::Double => collect!(Float64Array, Value::as_f64),
        Kind::String => collect!(StringArray, Value::as_str),
        Kind::Bytes => collect!(BinaryArray, Value::as_bytes),
        Kind::Enum(names) => collect!(StringArray, |value: &Value| {
            let number = value.as_enum_number()?;
            Some(names.get_value(number).map_or_else(|| number.to_string(), |v| v.name().into()))
        }),
        Kind::Message(message) => {
            let messages: Vec<_> =
                values.iter().map(|value| value.and_then(Value::as_message)).collect();
            structs(&messages, message, depth)?
        }
    })
}

/// Messages: times, wrapped scalars, or structs.
fn structs(
    messages: &[Option<&DynamicMessage>],
    descriptor: &MessageDescriptor,
    depth: usize,
) -> std::result::Result<ArrayRef, String> {
    if descriptor.full_name() == "google.protobuf.Timestamp" {
        let times = messages.iter().map(|message| message.and_then(time_us));
        return Ok(Arc::new(times.collect::<TimestampMicrosecondArray>()));
    }
    if let Some(value) = wrapped(descriptor) {
        return column_at(messages, &value, depth + 1);
    }
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for field in descriptor.fields() {
        let array = column_at(messages, &field, depth + 1)?;
        fields.push(Field::new(field.name(), array.data_type().clone(), true));
        arrays.push(array);
    }
    let nulls: NullBuffer = messages.iter().map(Option::is_some).collect::<Vec<_>>().into();
    if fields.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(messages.len(), Some(nulls))));
    }
    Ok(Arc::new(StructArray::new(Fields::from(fields), arrays, Some(nulls))))
}

/// The field inside of `google.protobuf.StringValue` and the like.
pub(super) fn wrapped(descriptor: &MessageDescriptor) -> Option<FieldDescriptor> {
    let name = descriptor.full_name().strip_prefix("google.protobuf.")?;
    let is_wrapper = name != "Value" && name.ends_with("Value") && descriptor.fields().len() == 1;
    is_wrapper.then(|| descriptor.get_field_by_name("value")).flatten()
}

/// A `google.protobuf.Timestamp` in microseconds; `None` beyond what they can count.
fn time_us(message: &DynamicMessage) -> Option<i64> {
    let seconds = message.get_field_by_name("seconds")?.as_i64()?;
    let nanos = message.get_field_by_name("nanos")?.as_i32()?;
    seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanos) / 1000)
}

/// Maps. Entries are put in the order of their keys, so that equal maps are equal columns.
fn map(
    values: &[Option<&Value>],
    entry: &MessageDescriptor,
    depth: usize,
) -> std::result::Result<ArrayRef, String> {
    let (mut keys, mut items, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        let mut entries: Vec<_> =
            value.and_then(Value::as_map).map(|map| map.iter().collect()).unwrap_or_default();
        entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
        lengths.push(entries.len());
        for (key, item) in entries {
            keys.push(key_value(key));
            items.push(Some(item));
        }
    }
    let keys: Vec<_> = keys.iter().map(Some).collect();
    let keys = scalars(&keys, &entry.map_entry_key_field().kind(), depth)?;
    let items = scalars(&items, &entry.map_entry_value_field().kind(), depth + 1)?;
    let fields = Fields::from(vec![
        Field::new("key", keys.data_type().clone(), false),
        Field::new("value", items.data_type().clone(), true),
    ]);
    let entries = StructArray::new(fields, vec![keys, items], None);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let nulls: NullBuffer = values.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(MapArray::new(field, offsets, entries, Some(nulls), false)))
}

fn key_value(key: &MapKey) -> Value {
    match key {
        MapKey::Bool(key) => Value::Bool(*key),
        MapKey::I32(key) => Value::I32(*key),
        MapKey::I64(key) => Value::I64(*key),
        MapKey::U32(key) => Value::U32(*key),
        MapKey::U64(key) => Value::U64(*key),
        MapKey::String(key) => Value::String(key.clone()),
    }
}
