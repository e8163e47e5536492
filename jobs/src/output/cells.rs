//! Values as text: short for a table, whole for CSV.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::failure::{Failure, Result, one_line};
use crate::printable;

/// Components of a vector that a table shows.
const COMPONENTS_SHOWN: usize = 3;
/// Characters of a text that a line of a table shows.
pub(super) const CHARACTERS_SHOWN: usize = 100;
/// Characters of a column's name that a table shows.
const HEADING_CHARACTERS_SHOWN: usize = 60;

/// The cells of a column for a table, each with at most so many characters.
///
/// # Errors
/// When a value can't be put into words.
pub(crate) fn short(column: &ArrayRef, characters_max: usize) -> Result<Vec<String>> {
    if let DataType::FixedSizeList(field, _) = column.data_type()
        && field.data_type() == &DataType::Float32
    {
        let lists = column.as_fixed_size_list();
        let cell = |row| if lists.is_null(row) { null() } else { vector(&lists.value(row)) };
        return Ok((0..lists.len()).map(cell).collect());
    }
    if let DataType::List(field) = column.data_type()
        && field.data_type() == &DataType::Float32
    {
        let lists = column.as_list::<i32>();
        let cell = |row| if lists.is_null(row) { null() } else { vector(&lists.value(row)) };
        return Ok((0..lists.len()).map(cell).collect());
    }
    let options = options().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(unprintable)?;
    let cell = |row| {
        let text = formatter.value(row).try_to_string().map_err(unprintable)?;
        Ok(shortened(&text, characters_max))
    };
    (0..column.len()).map(cell).collect()
}

/// The batch with columns that CSV has no form for as JSON-like text.
///
/// # Errors
/// When a value can't be put into words.
pub(crate) fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| {
        if column.data_type().is_nested() { whole(column) } else { Ok(Arc::clone(column)) }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(flat_schema(&batch.schema()), columns).map_err(unprintable)
}

/// The schema of [`flat`] batches.
pub(crate) fn flat_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        nested if nested.is_nested() => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Each value of the column, whole.
fn whole(column: &ArrayRef) -> Result<ArrayRef> {
    let options = options().with_null("null");
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(unprintable)?;
    let cells = (0..column.len()).map(|row| {
        let value = || formatter.value(row).try_to_string().map_err(unprintable);
        column.is_valid(row).then(value).transpose()
    });
    Ok(Arc::new(cells.collect::<Result<StringArray>>()?))
}

/// A vector as its first components and its length.
fn vector(values: &ArrayRef) -> String {
    let values = values.as_primitive::<Float32Type>();
    let shown: Vec<_> = values
        .iter()
        .take(COMPONENTS_SHOWN)
        .map(|value| match value {
            Some(value) => format!("{value:.4}"),
            None => null(),
        })
        .collect();
    if values.len() <= COMPONENTS_SHOWN {
        format!("[{}]", shown.join(", "))
    } else {
        format!("[{}, …]({})", shown.join(", "), values.len())
    }
}

/// The heading of a column. The name of an expression without an alias can be very long.
pub(crate) fn heading(name: &str) -> String {
    shortened(name, HEADING_CHARACTERS_SHOWN)
}

/// A text on one line and not too long.
fn shortened(text: &str, characters_max: usize) -> String {
    let mut line = String::new();
    for (index, letter) in text.chars().enumerate() {
        if index == characters_max {
            line.push('…');
            break;
        }
        printable::push(&mut line, letter);
    }
    line
}

fn null() -> String {
    "NULL".to_string()
}

fn options() -> FormatOptions<'static> {
    FormatOptions::default().with_display_error(false)
}

fn unprintable(error: arrow::error::ArrowError) -> Failure {
    Failure::other(format!("printing the result: {}", one_line(error)))
}

#[cfg(test)]
mod tests {
    use arrow::array::FixedSizeListArray;

    use super::*;

    #[test]
    fn a_vector_is_short_in_a_table_and_whole_in_csv() {
        let vectors: ArrayRef =
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
                [Some([0.5, -1.0, 0.25, 1e-9].map(Some)), None],
                4,
            ));
        assert_eq!(short(&vectors, 9).expect("cells"), ["[0.5000, -1.0000, 0.2500, …](4)", "NULL"]);
        let text = whole(&vectors).expect("cells");
        assert_eq!(text.as_string::<i32>().value(0), "[0.5, -1.0, 0.25, 1e-9]");
        assert!(text.is_null(1));
    }

    #[test]
    fn a_text_stays_on_its_line() {
        assert_eq!(shortened("a\nb\tc", 9), "a↵b c");
        assert_eq!(shortened(&"x".repeat(200), 9), "xxxxxxxxx…");
        assert_eq!(shortened("\u{202e}x", 9), "\\u{202e}x");
    }
}
