//! What columns of text hold that is not a text: dates and times, and vectors, by a look at their
//! first values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit};

use super::rows::TableRows;
use super::table::Table;
use crate::Cancel;
use crate::error::Result;

/// Rows that are looked at.
const ROWS: usize = 100;
/// Letters of a value that a message shows.
const SHOWN_LETTERS_MAX: usize = 40;

/// What a column of text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Texts, or no value at all.
    Texts,
    /// Dates or times, such as `2024-10-09` or `2024-10-09T12:30:00Z`.
    Times,
    /// Vectors, such as `[0.1, 0.2]`.
    Vectors,
}

/// What some columns of text hold, as their first values look. A column without a value among them
/// holds texts.
///
/// # Errors
/// When the rows can't be read.
pub fn looks(table: &Arc<Table>, columns: &[usize]) -> Result<Vec<Looks>> {
    let never = Cancel::never();
    let mut rows = TableRows::new(Arc::clone(table), columns.to_vec(), 0, ROWS, never);
    let Some(batch) = rows.next().transpose()? else {
        return Ok(vec![Looks::Texts; columns.len()]);
    };
    Ok(batch.columns().iter().map(look).collect())
}

fn look(column: &ArrayRef) -> Looks {
    let Ok(texts) = cast(column, &DataType::Utf8) else { return Looks::Texts };
    let values = texts.len() - texts.null_count();
    let all = |is: fn(&str) -> bool| texts.as_string::<i32>().iter().flatten().all(is);
    if values == 0 {
        return Looks::Texts;
    }
    if all(|text| numbers_of(text).is_some()) {
        return Looks::Vectors;
    }
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    // What can't be read as a time is NULL.
    let read = cast(&texts, &time).map_or(0, |times| times.len() - times.null_count());
    if all(begins_with_a_date) && read == values { Looks::Times } else { Looks::Texts }
}

fn begins_with_a_date(text: &str) -> bool {
    let shape = b"0000-00-00";
    let bytes = text.trim().as_bytes();
    bytes.len() >= shape.len()
        && bytes.iter().zip(shape).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// The type of vectors that come in the form of text: `List<Float32>`.
pub fn vector_type() -> DataType {
    DataType::new_list(DataType::Float32, true)
}

/// The vectors in a column of text, as [`vector_type`]: numbers in brackets with commas or blanks
/// between, `[1, 2.5]` as Python, PostgreSQL and JSON write them, `{1,2.5}` or `[1. 2.5]`. NULL
/// stays NULL.
///
/// # Errors
/// The first value that is not a vector.
pub fn vectors_of(texts: &ArrayRef) -> std::result::Result<ArrayRef, String> {
    let texts = cast(texts, &DataType::Utf8).map_err(|error| error.to_string())?;
    let texts = texts.as_string::<i32>();
    let (mut values, mut lengths) = (Vec::new(), Vec::with_capacity(texts.len()));
    for text in texts {
        let before = values.len();
        if let Some(text) = text {
            let numbers = numbers_of(text).ok_or_else(|| {
                let shown: String = text.chars().take(SHOWN_LETTERS_MAX).collect();
                format!("'{shown}' is not a vector such as [0.1, 0.2]")
            })?;
            values.extend(numbers);
        }
        lengths.push(values.len() - before);
    }
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let nulls: Option<NullBuffer> = texts.nulls().cloned();
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values = Arc::new(Float32Array::from(values));
    let lists = ListArray::try_new(item, offsets, values, nulls);
    Ok(Arc::new(lists.map_err(|error| error.to_string())?))
}

/// The numbers of a vector in the form of text; `None` for anything else.
fn numbers_of(text: &str) -> Option<Vec<f32>> {
    let text = text.trim();
    let inner = match text.as_bytes() {
        [b'[', .., b']'] | [b'{', .., b'}'] => text.get(1..text.len() - 1)?.trim(),
        _ => return None,
    };
    if inner.is_empty() {
        return None;
    }
    let number = |text: &str| match text.trim() {
        // Words such as `inf` are numbers to Rust and no components of a vector.
        number if number.starts_with(|letter: char| letter.is_ascii_alphabetic()) => None,
        number => number.parse::<f32>().ok().filter(|number| number.is_finite()),
    };
    match inner.contains(',') {
        true => inner.split(',').map(number).collect(),
        false => inner.split_whitespace().map(number).collect(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use arrow::datatypes::Float32Type;

    use super::*;
    use crate::files::{Surveys, TableOptions, list};

    #[test]
    fn times_and_vectors_are_told_from_texts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.jsonl");
        let lines = [
            r#"{"ts": "2024-10-09T00:00:00", "day": "2024-10-09", "body": "2024 was dry", "none": null, "v": "[1, 2.5]", "tags": "[red]"}"#,
            r#"{"ts": "2024-10-09T12:30:00Z", "day": null, "body": "2024-10-09 was wet", "none": null, "v": null, "tags": "[1]"}"#,
        ];
        std::fs::write(&path, lines.join("\n")).expect("written");
        let files = list(&path.display().to_string(), None).expect("a file");
        let table =
            Table::open(files, &TableOptions::default(), &Surveys::default(), &Cancel::never());
        let table = Arc::new(table.expect("a table"));
        let found = |name: &str| {
            let column = table.schema.index_of(name).expect(name);
            looks(&table, &[column]).expect("rows")
        };
        assert_eq!((found("ts"), found("day")), (vec![Looks::Times], vec![Looks::Times]));
        assert_eq!((found("body"), found("none")), (vec![Looks::Texts], vec![Looks::Texts]));
        assert_eq!((found("v"), found("tags")), (vec![Looks::Vectors], vec![Looks::Texts]));
    }

    #[test]
    fn vectors_are_read_from_text() {
        let texts = ["[1, -2.5e-1]", "{1,2}", " [1.  2. 3.] "].map(Some);
        let texts: ArrayRef = Arc::new(StringArray::from_iter(texts.into_iter().chain([None])));
        let vectors = vectors_of(&texts).expect("vectors");
        assert_eq!(vectors.data_type(), &vector_type());
        let rows: Vec<_> = vectors
            .as_list::<i32>()
            .iter()
            .map(|row| row.map(|row| row.as_primitive::<Float32Type>().values().to_vec()))
            .collect();
        let expected = [vec![1.0, -0.25], vec![1.0, 2.0], vec![1.0, 2.0, 3.0]].map(Some);
        assert_eq!(rows[..3], expected);
        assert_eq!(rows[3], None);
    }

    #[test]
    fn what_is_no_vector_is_named() {
        for text in ["a card", "", "[]", "[a, b]", "[1, inf]", "[1,,2]", "1, 2", "[1, 2"] {
            let texts: ArrayRef = Arc::new(StringArray::from(vec!["[1]", text]));
            let error = vectors_of(&texts).expect_err(text);
            assert_eq!(error, format!("'{text}' is not a vector such as [0.1, 0.2]"));
        }
    }
}
