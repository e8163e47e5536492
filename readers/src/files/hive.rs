//! Folders named `key=value`: columns that a file has by its place.
//!
//! - *Invariant:* only folders count; a file called `date=2024.parquet` is a file.
//! - *Invariant:* what the folder says wins over a column of that name in the file, as in DuckDB
//!   and pyarrow.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

/// The value of a folder whose rows are NULL in that column.
pub const NULL_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// A column by a folder's name, and its value; `None` is NULL.
pub type Folder = (String, Option<String>);

/// The columns that the folders of a path give, outermost first. `path` has `/` between its parts,
/// and the last part is the file. Of two folders with one key the inner one counts.
pub fn folders_of(path: &str) -> Vec<Folder> {
    let mut found: Vec<Folder> = Vec::new();
    let Some((folders, _)) = path.rsplit_once('/') else { return found };
    for part in folders.split('/') {
        let Some((key, value)) = part.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            continue;
        };
        let key = decoded(key);
        let value = (value != NULL_VALUE).then(|| decoded(value));
        match found.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => found.push((key, value)),
        }
    }
    found
}

/// `%20` and its like as the bytes that they stand for. What is no such code stays, and so does
/// everything where the bytes would not be text.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(decoded) => {
                plain.push(decoded);
                at += 3;
            }
            None => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_string())
}

/// The type of a column whose values are these: whole numbers, dates and times where all are, else
/// text. `month=01` is the number 1, as for DuckDB, Spark and pyarrow.
pub fn type_of<'a>(values: impl Iterator<Item = Option<&'a str>>) -> DataType {
    let values: Vec<&str> = values.flatten().collect();
    if values.is_empty() {
        return DataType::Utf8;
    }
    let all = |is: fn(&str) -> bool| values.iter().all(|value| is(value));
    if all(is_integer) {
        DataType::Int64
    } else if all(is_date) {
        DataType::Date32
    } else if all(is_time) {
        DataType::Timestamp(TimeUnit::Microsecond, None)
    } else {
        DataType::Utf8
    }
}

fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    digits.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<i64>().is_ok()
}

/// Whether the letters of a value are those of `shape`, in which `0` stands for any digit.
fn has_shape(value: &str, shape: &str) -> bool {
    value.len() == shape.len()
        && value.bytes().zip(shape.bytes()).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

fn is_date(value: &str) -> bool {
    has_shape(value, "0000-00-00") && read(value, &DataType::Date32).is_some()
}

fn is_time(value: &str) -> bool {
    let shapes = ["0000-00-00 00:00:00", "0000-00-00T00:00:00"];
    let is_shaped = is_date(value) || shapes.iter().any(|shape| has_shape(value, shape));
    is_shaped && read(value, &DataType::Timestamp(TimeUnit::Microsecond, None)).is_some()
}

/// The value as an array of one row; `None` where it isn't of that type.
fn read(value: &str, data_type: &DataType) -> Option<ArrayRef> {
    let array = match data_type {
        DataType::Int64 => Arc::new(Int64Array::from(vec![value.parse::<i64>().ok()?])) as ArrayRef,
        data_type => cast(&StringArray::from(vec![value]), data_type).ok()?,
    };
    (array.null_count() == 0).then_some(array)
}

/// A value as an array of one row of a type that [`type_of`] found for it and others.
pub fn value(value: Option<&str>, data_type: &DataType) -> ArrayRef {
    value.and_then(|value| read(value, data_type)).unwrap_or_else(|| new_null_array(data_type, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(path: &str) -> Vec<(String, Option<String>)> {
        folders_of(path)
    }

    fn pair(key: &str, value: Option<&str>) -> Folder {
        (key.to_string(), value.map(str::to_string))
    }

    #[test]
    fn folders_are_columns_and_files_are_not() {
        assert_eq!(
            folders("h/year=2024/lang=de/a=b.parquet"),
            [pair("year", Some("2024")), pair("lang", Some("de"))]
        );
        assert_eq!(folders("a=b.parquet"), []);
        assert_eq!(folders("h/=x/y/f.csv"), []);
        assert_eq!(folders("h/k=a=b/f.csv"), [pair("k", Some("a=b"))]);
    }

    #[test]
    fn values_are_decoded_and_null_is_null() {
        assert_eq!(folders("city=M%C3%BCnchen%2FS/f"), [pair("city", Some("München/S"))]);
        assert_eq!(folders("rate=5%/f"), [pair("rate", Some("5%"))]);
        assert_eq!(folders(&format!("k={NULL_VALUE}/f")), [pair("k", None)]);
        assert_eq!(folders("k=1/k=2/f"), [pair("k", Some("2"))]);
    }

    #[test]
    fn types_hold_all_values() {
        let guess = |values: &[&str]| type_of(values.iter().map(|value| Some(*value)));
        assert_eq!(guess(&["1", "-20", "03"]), DataType::Int64);
        assert_eq!(guess(&["1", "x"]), DataType::Utf8);
        assert_eq!(guess(&["99999999999999999999"]), DataType::Utf8);
        assert_eq!(guess(&["2024-01-31", "2023-12-01"]), DataType::Date32);
        assert_eq!(guess(&["2024-02-31"]), DataType::Utf8);
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(guess(&["2024-01-31", "2024-01-31 10:00:00"]), time);
        assert_eq!(type_of([None, None].into_iter()), DataType::Utf8);
        assert_eq!(type_of([None, Some("7")].into_iter()), DataType::Int64);
    }
}
