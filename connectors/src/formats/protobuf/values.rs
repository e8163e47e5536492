//! Values of columns as fields of messages; the way back from [`super::columns`].

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type,
    UInt64Type,
};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::columns::wrapped;

/// The value of a row that isn't NULL, of an array that has the type of the field's column.
///
/// # Errors
/// When the field has no such value: a name that an enum doesn't have, a NULL in a list.
pub(super) fn field_value(
    array: &ArrayRef,
    row: usize,
    field: &FieldDescriptor,
) -> std::result::Result<Value, String> {
    let kind = field.kind();
    if let (true, Kind::Message(entry)) = (field.is_map(), &kind) {
        let entries = array.as_map().value(row);
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        let mut map = HashMap::new();
        for place in 0..entries.len() {
            let key = scalar(entries.column(0), place, &key.kind())?
                .into_map_key()
                .ok_or("a key that Protobuf can't have")?;
            map.insert(key, item(entries.column(1), place, &value.kind())?);
        }
        return Ok(Value::Map(map));
    }
    if field.is_list() {
        let items = array.as_list::<i32>().value(row);
        let items = (0..items.len()).map(|place| item(&items, place, &kind));
        return Ok(Value::List(items.collect::<std::result::Result<_, _>>()?));
    }
    scalar(array, row, &kind)
}

/// An element, which must not be NULL.
fn item(array: &ArrayRef, row: usize, kind: &Kind) -> std::result::Result<Value, String> {
    if array.is_null(row) {
        return Err("a list or map of Protobuf can't hold NULL".into());
    }
    scalar(array, row, kind)
}

fn scalar(array: &ArrayRef, row: usize, kind: &Kind) -> std::result::Result<Value, String> {
    Ok(match kind {
        Kind::Bool => Value::Bool(array.as_boolean().value(row)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            Value::I32(array.as_primitive::<Int32Type>().value(row))
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Value::I64(array.as_primitive::<Int64Type>().value(row))
        }
        Kind::Uint32 | Kind::Fixed32 => Value::U32(array.as_primitive::<UInt32Type>().value(row)),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(array.as_primitive::<UInt64Type>().value(row)),
        Kind::Float => Value::F32(array.as_primitive::<Float32Type>().value(row)),
        Kind::Double => Value::F64(array.as_primitive::<Float64Type>().value(row)),
        Kind::String => Value::String(array.as_string::<i32>().value(row).into()),
        Kind::Bytes => {
            Value::Bytes(bytes::Bytes::copy_from_slice(array.as_binary::<i32>().value(row)))
        }
        Kind::Enum(names) => {
            let name = array.as_string::<i32>().value(row);
            let value = names.get_value_by_name(name).map(|value| value.number());
            let number = value.or_else(|| name.parse().ok()).ok_or_else(|| {
                let known: Vec<_> = names.values().map(|value| value.name().to_string()).collect();
                format!("{} has no '{name}'; it has {}", names.full_name(), known.join(", "))
            })?;
            Value::EnumNumber(number)
        }
        Kind::Message(descriptor) => Value::Message(message(array, row, descriptor)?),
    })
}

fn message(
    array: &ArrayRef,
    row: usize,
    descriptor: &MessageDescriptor,
) -> std::result::Result<DynamicMessage, String> {
    let mut message = DynamicMessage::new(descriptor.clone());
    if descriptor.full_name() == "google.protobuf.Timestamp" {
        let time = array.as_primitive::<TimestampMicrosecondType>().value(row);
        let nanos = i32::try_from(time.rem_euclid(1_000_000) * 1000).unwrap_or_default();
        message.set_field_by_name("seconds", Value::I64(time.div_euclid(1_000_000)));
        message.set_field_by_name("nanos", Value::I32(nanos));
    } else if let Some(field) = wrapped(descriptor) {
        message.set_field(&field, scalar(array, row, &field.kind())?);
    } else {
        let columns = array.as_struct();
        for (field, column) in descriptor.fields().zip(columns.columns()) {
            if column.is_valid(row) {
                message.set_field(&field, field_value(column, row, &field)?);
            }
        }
    }
    Ok(message)
}
