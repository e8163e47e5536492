//! Reads the groups and the points of a report out of the rows of SQL.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, UInt64Type};

use crate::failure::{Failure, Result};
use sembla_jobs::report::{Group, Point};

/// A column of a finding, as a type.
///
/// # Errors
/// When the finding has no such column, or one of another kind.
pub(crate) fn column(batch: &RecordBatch, name: &str, as_type: &DataType) -> Result<ArrayRef> {
    let column = batch.column_by_name(name).ok_or_else(|| {
        Failure::other(format!("internal error: the finding has no column '{name}'"))
    })?;
    cast(column, as_type)
        .map_err(|error| Failure::other(format!("internal error: column '{name}': {error}")))
}

/// The groups in the rows of `topic_table`.
///
/// # Errors
/// When they are other rows.
pub(crate) fn read_groups(batches: &[RecordBatch]) -> Result<Vec<Group>> {
    let texts = DataType::List(Field::new_list_field(DataType::Utf8, true).into());
    let mut groups = Vec::new();
    for batch in batches {
        let ids = column(batch, "topic_id", &DataType::Int64)?;
        let sizes = column(batch, "size", &DataType::UInt64)?;
        let words = column(batch, "words", &texts)?;
        let coherence = column(batch, "coherence", &DataType::Float64)?;
        let examples = column(batch, "representatives", &texts)?;
        let coherence = coherence.as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            groups.push(Group {
                id: ids.as_primitive::<Int64Type>().value(row),
                size: sizes.as_primitive::<UInt64Type>().value(row),
                words: list(&words, row),
                coherence: coherence.is_valid(row).then(|| coherence.value(row)),
                examples: list(&examples, row),
            });
        }
    }
    groups.sort_by_key(|group| (std::cmp::Reverse(group.size), group.id));
    Ok(groups)
}

/// The texts of a list.
fn list(lists: &ArrayRef, row: usize) -> Vec<String> {
    let lists = lists.as_list::<i32>();
    if lists.is_null(row) {
        return Vec::new();
    }
    let texts = lists.value(row);
    texts.as_string::<i32>().iter().flatten().map(str::to_string).collect()
}

/// The points in the rows of `map_2d`; `group` is the column of the group's id. Rows without a
/// place are left out.
///
/// # Errors
/// When they are other rows.
pub(crate) fn read_points(batches: &[RecordBatch], group: &str) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for batch in batches {
        let x = column(batch, "x", &DataType::Float32)?;
        let y = column(batch, "y", &DataType::Float32)?;
        let groups = column(batch, group, &DataType::Int64)?;
        let texts = column(batch, "text", &DataType::Utf8)?;
        let places = x.as_primitive::<Float32Type>().iter().zip(y.as_primitive::<Float32Type>());
        let meanings = groups.as_primitive::<Int64Type>().iter().zip(texts.as_string::<i32>());
        for ((x, y), (group, text)) in places.zip(meanings) {
            if let (Some(x), Some(y)) = (x, y) {
                points.push(Point { x, y, group, text: text.unwrap_or_default().to_string() });
            }
        }
    }
    Ok(points)
}
