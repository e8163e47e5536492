//! The columns of several files united by name.
//!
//! Strings of every Arrow type are `Utf8`; numbers, decimals, dates and times widen; lists of every
//! kind are one kind, so that vectors of several writers are one column; structs are united field
//! by field. A column that a file lacks is NULL there. What is left is a disagreement, an error.

use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef, Fields, Schema,
    TimeUnit,
};

use crate::error::{Error, Result};

/// Name of the elements of a list, whatever the file calls them.
const ITEM: &str = "item";

/// What the keys of a column's metadata begin with that stay, if all files say the same: where
/// vectors come from.
const SAYS: &str = "sembla.";
/// The key of the model's name.
const MODEL: &str = "sembla.model";

/// The columns of one file.
#[derive(Clone, Copy, Debug)]
pub struct FileColumns<'a> {
    /// The file, for messages.
    pub name: &'a str,
    /// Its columns.
    pub schema: &'a Schema,
}

/// One schema for files: the columns of the first, then those that only later ones have. All may
/// be NULL. What columns say of the model of their vectors stays where all files say it.
///
/// # Errors
/// [`Error::Data`] where two files disagree on the type of a column; it names both.
pub fn unite(files: &[FileColumns<'_>]) -> Result<Schema> {
    let mut columns: Vec<(Field, &str)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for file in files {
        for field in file.schema.fields() {
            let found = plain(field.data_type());
            let place = *places.entry(field.name().as_str()).or_insert(columns.len());
            let Some((known, first)) = columns.get_mut(place) else {
                let says = field.metadata().iter().filter(|(key, _)| key.starts_with(SAYS));
                let says = says.map(|(key, value)| (key.clone(), value.clone())).collect();
                let column = Field::new(field.name(), found, true).with_metadata(says);
                columns.push((column, file.name));
                continue;
            };
            let says = known.metadata_mut();
            says.retain(|key, value| field.metadata().get(key) == Some(value));
            // Without a model the rest says nothing.
            if !says.contains_key(MODEL) {
                says.clear();
            }
            let both = wider(known.data_type(), &found).ok_or_else(|| {
                Error::Data(format!(
                    "files disagree on the column '{}': it is {} in '{first}', but {} in '{}'; read them separately, or cast one",
                    field.name(),
                    shown(known.data_type()),
                    shown(&found),
                    file.name
                ))
            })?;
            if both != *known.data_type() {
                known.set_data_type(both);
            }
        }
    }
    let fields = columns.into_iter().map(|(field, _)| match field.data_type() {
        DataType::Null => field.with_data_type(DataType::Utf8),
        _ => field,
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// The type that a column of one file is read as: of all types that mean the same, one. A column
/// without a value is still `Null` here.
pub fn plain(data_type: &DataType) -> DataType {
    use DataType::{
        Binary, BinaryView, Dictionary, FixedSizeList, LargeBinary, LargeList, LargeListView,
        LargeUtf8, List, ListView, RunEndEncoded, Struct, Utf8, Utf8View,
    };
    match data_type {
        LargeUtf8 | Utf8View => Utf8,
        LargeBinary | BinaryView => Binary,
        Dictionary(_, value) => plain(value),
        RunEndEncoded(_, values) => plain(values.data_type()),
        List(item) | ListView(item) => List(plain_item(item)),
        LargeList(item) | LargeListView(item) => LargeList(plain_item(item)),
        FixedSizeList(item, size) => FixedSizeList(plain_item(item), *size),
        Struct(fields) => Struct(fields.iter().map(|field| plain_field(field)).collect()),
        other => other.clone(),
    }
}

fn plain_field(field: &Field) -> FieldRef {
    let data_type = match plain(field.data_type()) {
        DataType::Null => DataType::Utf8,
        data_type => data_type,
    };
    Arc::new(Field::new(field.name(), data_type, true))
}

fn plain_item(item: &Field) -> FieldRef {
    Arc::new(plain_field(item).as_ref().clone().with_name(ITEM))
}

/// The narrowest type that holds the values of both, which are as [`plain`] gives them; `None`
/// where there is none without a loss of meaning.
pub fn wider(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{Date32, Date64, Null, Struct, Time32, Time64, Timestamp};
    match (one, other) {
        _ if one == other => Some(one.clone()),
        (Null, known) | (known, Null) => Some(known.clone()),
        _ if is_number(one) && is_number(other) => wider_number(one, other),
        (Timestamp(unit, zone), Timestamp(other_unit, other_zone)) => {
            let zone = if zone == other_zone { zone.clone() } else { Some("UTC".into()) };
            Some(Timestamp(finer(*unit, *other_unit), zone))
        }
        (Date32 | Date64, time @ Timestamp(..)) | (time @ Timestamp(..), Date32 | Date64) => {
            Some(time.clone())
        }
        (Date32, Date64) | (Date64, Date32) => Some(Date64),
        (Time32(unit) | Time64(unit), Time32(other) | Time64(other)) => {
            Some(match finer(*unit, *other) {
                unit @ (TimeUnit::Second | TimeUnit::Millisecond) => Time32(unit),
                unit => Time64(unit),
            })
        }
        (DataType::Duration(unit), DataType::Duration(other)) => {
            Some(DataType::Duration(finer(*unit, *other)))
        }
        (Struct(fields), Struct(others)) => wider_struct(fields, others),
        _ => wider_list(one, other),
    }
}

fn finer(one: TimeUnit, other: TimeUnit) -> TimeUnit {
    one.max(other)
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Integers widen by sign and width; a float takes all, since it is what a person who mixed both
/// would expect; decimals keep all their digits.
fn wider_number(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Decimal256, Float16, Float32, Float64};
    if one.is_floating() || other.is_floating() {
        let is_half = |data_type: &DataType| *data_type == Float16;
        let is_small = |data_type: &DataType| match data_type {
            Float16 | Float32 => true,
            data_type => data_type.is_integer() && data_type.primitive_width() <= Some(2),
        };
        return Some(match (is_half(one) && is_half(other), is_small(one) && is_small(other)) {
            (true, _) => Float16,
            (_, true) => Float32,
            _ => Float64,
        });
    }
    if one.is_integer() && other.is_integer() {
        return Some(wider_integer(one, other));
    }
    let ((digits, scale), (others, other_scale)) = (decimal_of(one)?, decimal_of(other)?);
    let scale = scale.max(other_scale);
    let digits = (digits + scale).max(others + scale);
    let (digits, scale) = (u8::try_from(digits).ok()?, i8::try_from(scale).ok()?);
    if digits <= DECIMAL128_MAX_PRECISION {
        Some(Decimal128(digits, scale))
    } else {
        Some(Decimal256(digits.min(DECIMAL256_MAX_PRECISION), scale))
    }
}

/// Digits before and after the point.
fn decimal_of(data_type: &DataType) -> Option<(i16, i16)> {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    match data_type {
        Decimal32(digits, scale)
        | Decimal64(digits, scale)
        | Decimal128(digits, scale)
        | Decimal256(digits, scale) => {
            Some((i16::from(*digits) - i16::from(*scale), i16::from(*scale)))
        }
        data_type if data_type.is_integer() => Some((digits_of(data_type), 0)),
        _ => None,
    }
}

/// Digits that an integer may have.
fn digits_of(integer: &DataType) -> i16 {
    match integer.primitive_width() {
        Some(1) => 3,
        Some(2) => 5,
        Some(4) => 10,
        _ => 20,
    }
}

fn wider_integer(one: &DataType, other: &DataType) -> DataType {
    let bits = |data_type: &DataType| {
        let bits = data_type.primitive_width().unwrap_or(8) * 8;
        let is_signed = data_type.is_signed_integer();
        (bits, is_signed)
    };
    let ((left, left_signed), (right, right_signed)) = (bits(one), bits(other));
    let both = match (left_signed, right_signed) {
        (true, false) => left.max(right * 2),
        (false, true) => right.max(left * 2),
        _ => left.max(right),
    };
    match (both, left_signed || right_signed) {
        (..=8, true) => DataType::Int8,
        (..=16, true) => DataType::Int16,
        (..=32, true) => DataType::Int32,
        (..=64, true) => DataType::Int64,
        (..=8, false) => DataType::UInt8,
        (..=16, false) => DataType::UInt16,
        (..=32, false) => DataType::UInt32,
        (..=64, false) => DataType::UInt64,
        // Of a signed and an unsigned one of 64 bits.
        _ => DataType::Decimal128(20, 0),
    }
}

/// Fields by name, those of the first before those that only the second has.
fn wider_struct(one: &Fields, other: &Fields) -> Option<DataType> {
    let mut fields: Vec<Field> = one.iter().map(|field| field.as_ref().clone()).collect();
    for field in other {
        match fields.iter_mut().find(|known| known.name() == field.name()) {
            Some(known) => known.set_data_type(wider(known.data_type(), field.data_type())?),
            None => fields.push(field.as_ref().clone()),
        }
    }
    Some(DataType::Struct(fields.into()))
}

/// Lists of any kind: of one fixed size where both have it, else of any size.
fn wider_list(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{FixedSizeList, LargeList, List};
    let item_of = |data_type: &DataType| match data_type {
        List(item) | LargeList(item) | FixedSizeList(item, _) => Some(Arc::clone(item)),
        _ => None,
    };
    let (left, right) = (item_of(one)?, item_of(other)?);
    let item = Arc::new(Field::new(ITEM, wider(left.data_type(), right.data_type())?, true));
    Some(match (one, other) {
        (FixedSizeList(_, size), FixedSizeList(_, other)) if size == other => {
            FixedSizeList(item, *size)
        }
        (LargeList(_), _) | (_, LargeList(_)) => LargeList(item),
        _ => List(item),
    })
}

/// A type in the words of SQL.
pub fn shown(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".into(),
        DataType::Binary => "bytes".into(),
        DataType::Boolean => "true or false".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("a list of {}", shown(item.data_type()))
        }
        DataType::FixedSizeList(item, size) => format!("{size} of {}", shown(item.data_type())),
        DataType::Struct(fields) => {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            format!("a struct ({})", names.join(", "))
        }
        data_type => data_type.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use DataType::*;

    use super::*;

    fn list(item: DataType) -> DataType {
        List(Arc::new(Field::new(ITEM, item, true)))
    }

    fn united(types: &[DataType]) -> Result<DataType> {
        let schemas: Vec<Schema> = types
            .iter()
            .map(|data_type| Schema::new(vec![Field::new("c", data_type.clone(), false)]))
            .collect();
        let files: Vec<FileColumns<'_>> =
            schemas.iter().map(|schema| FileColumns { name: "f", schema }).collect();
        unite(&files).map(|schema| schema.field(0).data_type().clone())
    }

    #[test]
    fn strings_of_all_types_are_one() {
        let words = Dictionary(Box::new(Int32), Box::new(LargeUtf8));
        assert_eq!(united(&[Utf8View, LargeUtf8, words, Utf8, Null]), Ok(Utf8));
        assert_eq!(united(&[Null]), Ok(Utf8));
        assert_eq!(united(&[Null, Int64]), Ok(Int64));
    }

    #[test]
    fn numbers_and_times_widen_in_either_order() {
        let time = |unit| Timestamp(unit, None);
        for (one, other, both) in [
            (Int32, Int64, Int64),
            (UInt32, Int32, Int64),
            (UInt8, Int8, Int16),
            (UInt64, Int64, Decimal128(20, 0)),
            (Int64, Float32, Float64),
            (Int16, Float32, Float32),
            (Float16, Float32, Float32),
            (Decimal128(10, 2), Decimal128(12, 4), Decimal128(12, 4)),
            (Decimal128(5, 0), Int64, Decimal128(20, 0)),
            (time(TimeUnit::Second), time(TimeUnit::Microsecond), time(TimeUnit::Microsecond)),
            (Date32, time(TimeUnit::Millisecond), time(TimeUnit::Millisecond)),
        ] {
            assert_eq!(wider(&one, &other), Some(both.clone()), "{one} {other}");
            assert_eq!(wider(&other, &one), Some(both), "{other} {one}");
        }
    }

    #[test]
    fn vectors_of_all_kinds_are_one() {
        let element = |data_type| Arc::new(Field::new("element", data_type, false));
        let kinds = [
            List(element(Float64)),
            LargeList(element(Float32)),
            FixedSizeList(element(Float16), 3),
            ListView(element(Float32)),
        ];
        for one in &kinds {
            for other in &kinds {
                let both = united(&[one.clone(), other.clone()]).expect("they unite");
                let item = match &both {
                    List(item) | LargeList(item) | FixedSizeList(item, _) => item,
                    other => panic!("{other} is not a list"),
                };
                assert_eq!(item.name(), ITEM);
            }
        }
        let fixed = |item, size| FixedSizeList(Arc::new(Field::new(ITEM, item, true)), size);
        assert_eq!(united(&[fixed(Float32, 3), fixed(Float64, 3)]), Ok(fixed(Float64, 3)));
        assert_eq!(united(&[fixed(Float32, 3), fixed(Float32, 4)]), Ok(list(Float32)));
    }

    #[test]
    fn structs_unite_by_name() {
        let of = |fields: Vec<Field>| Struct(fields.into());
        let both = united(&[
            of(vec![Field::new("a", Int32, false)]),
            of(vec![Field::new("b", Utf8View, true), Field::new("a", Int64, true)]),
        ]);
        assert_eq!(both, Ok(of(vec![Field::new("a", Int64, true), Field::new("b", Utf8, true)])));
    }

    #[test]
    fn columns_are_united_by_name_and_disagreements_name_both_files() {
        let one = Schema::new(vec![Field::new("a", Int64, true), Field::new("b", Utf8, true)]);
        let other = Schema::new(vec![Field::new("c", Utf8, true), Field::new("a", Utf8, true)]);
        let files = [
            FileColumns { name: "x.parquet", schema: &one },
            FileColumns { name: "y.csv", schema: &other },
        ];
        let error = unite(&files).expect_err("a disagreement").to_string();
        assert!(error.contains("'a': it is Int64 in 'x.parquet', but text in 'y.csv'"), "{error}");
        let files = [
            FileColumns { name: "x", schema: &one },
            FileColumns { name: "z", schema: &Schema::new(vec![Field::new("c", Utf8, true)]) },
        ];
        let names: Vec<String> =
            unite(&files).expect("united").fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
