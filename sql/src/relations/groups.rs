//! `partition_by`: the rows of each group. NULL is a group of its own.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::table::Table;
use crate::SqlError;
use crate::error::arrow_error;

/// A group: its rows in each input, and the row of the first input that shows its values.
pub(crate) struct Group {
    /// The inputs, only the rows of the group.
    pub(crate) tables: Vec<Option<Table>>,
    /// A row of the whole first input.
    pub(crate) shown_by: u32,
}

/// The groups of the first input, in order of their first row. Rows of a further input go to the
/// group of the same values; an input without the columns goes to every group as a whole.
///
/// # Errors
/// When values can't be compared.
pub(crate) fn split(tables: &[Option<Table>]) -> Result<Vec<Group>, SqlError> {
    let Some(Some(first)) = tables.first() else { return Ok(Vec::new()) };
    let types: Vec<SortField> = (first.roles.groups.iter())
        .map(|column| SortField::new(column.data_type().clone()))
        .collect();
    let converter = RowConverter::new(types).map_err(|error| arrow_error(&error))?;
    let mut places: HashMap<OwnedRow, usize> = HashMap::new();
    let mut split: Vec<Vec<Option<Vec<u32>>>> = Vec::new();
    for (input, table) in tables.iter().enumerate() {
        let Some(table) = grouped(table) else { continue };
        for_each_row(table, &converter, |row, values| {
            let group = match places.get(&values) {
                Some(group) => *group,
                None if input == 0 => {
                    places.insert(values, split.len());
                    let empty = tables.iter().map(|t| grouped(t).map(|_| Vec::new())).collect();
                    split.push(empty);
                    split.len() - 1
                }
                None => return,
            };
            if let Some(Some(rows)) = split.get_mut(group).and_then(|group| group.get_mut(input)) {
                rows.push(row);
            }
        })?;
    }
    Ok(split.into_iter().map(|rows| group(tables, rows)).collect())
}

/// A table that has the columns of groups.
fn grouped(table: &Option<Table>) -> Option<&Table> {
    table.as_ref().filter(|table| !table.roles.groups.is_empty())
}

fn group(tables: &[Option<Table>], rows: Vec<Option<Vec<u32>>>) -> Group {
    let first = rows.first().and_then(|rows| rows.as_ref()).and_then(|rows| rows.first());
    let shown_by = first.copied().unwrap_or_default();
    let tables = tables.iter().zip(rows).map(|(table, rows)| match (table, rows) {
        (Some(table), Some(rows)) => Some(table.select(rows)),
        (table, _) => table.clone(),
    });
    Group { tables: tables.collect(), shown_by }
}

/// Calls `visit` with each row of a table and its values of the group columns.
fn for_each_row(
    table: &Table,
    converter: &RowConverter,
    mut visit: impl FnMut(u32, OwnedRow),
) -> Result<(), SqlError> {
    let mut row = 0;
    let columns: Vec<&[ArrayRef]> = table.roles.groups.iter().map(|c| c.pieces()).collect();
    let pieces = columns.first().map_or(0, |pieces| pieces.len());
    for piece in 0..pieces {
        let arrays: Vec<ArrayRef> =
            columns.iter().filter_map(|pieces| pieces.get(piece).cloned()).collect();
        let values = converter.convert_columns(&arrays).map_err(|error| arrow_error(&error))?;
        for value in &values {
            visit(row, value.owned());
            row += 1;
        }
    }
    Ok(())
}
