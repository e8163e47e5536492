//! Which columns of text hold nothing but dates and times, by a look at their first values.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

use super::rows::TableRows;
use super::table::Table;
use crate::Cancel;
use crate::error::Result;

/// Rows that are looked at.
const ROWS: usize = 100;

/// For each of some columns of text whether its first values are dates or times, such as
/// `2024-10-09` or `2024-10-09T12:30:00Z`. A column without a value among them holds none.
///
/// # Errors
/// When the rows can't be read.
pub fn hold_times(table: &Arc<Table>, columns: &[usize]) -> Result<Vec<bool>> {
    let never = Cancel::never();
    let mut rows = TableRows::new(Arc::clone(table), columns.to_vec(), 0, ROWS, never);
    let Some(batch) = rows.next().transpose()? else { return Ok(vec![false; columns.len()]) };
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let is_time = |column: &Arc<dyn Array>| {
        let Ok(texts) = cast(column, &DataType::Utf8) else { return false };
        let begins = texts.as_string::<i32>().iter().flatten().all(begins_with_a_date);
        let values = texts.len() - texts.null_count();
        // What can't be read as a time is NULL.
        let read = cast(&texts, &time).map_or(0, |times| times.len() - times.null_count());
        values > 0 && begins && read == values
    };
    Ok(batch.columns().iter().map(is_time).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Surveys, TableOptions, list};

    #[test]
    fn dates_and_times_are_told_from_texts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.jsonl");
        let lines = [
            r#"{"ts": "2024-10-09T00:00:00", "day": "2024-10-09", "body": "2024 was dry", "none": null}"#,
            r#"{"ts": "2024-10-09T12:30:00Z", "day": null, "body": "2024-10-09 was wet", "none": null}"#,
        ];
        std::fs::write(&path, lines.join("\n")).expect("written");
        let files = list(&path.display().to_string(), None).expect("a file");
        let table =
            Table::open(files, &TableOptions::default(), &Surveys::default(), &Cancel::never());
        let table = Arc::new(table.expect("a table"));
        let found = |name: &str| {
            let column = table.schema.index_of(name).expect(name);
            hold_times(&table, &[column]).expect("rows")
        };
        assert_eq!((found("ts"), found("day")), (vec![true], vec![true]));
        assert_eq!((found("body"), found("none")), (vec![false], vec![false]));
    }
}
