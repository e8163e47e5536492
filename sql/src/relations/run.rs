//! Runs a finding over collected inputs, group by group, and puts the rows of the result together:
//! columns of the group, columns of the finding, columns that go along.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use sembla_operators::host;

use super::finding::{Finding, FindingHost, Found};
use super::groups;
use super::online::{OnlineState, in_order};
use super::table::Table;
use crate::SqlError;
use crate::error::arrow_error;

/// Runs a finding over whole inputs and gives the rows, at most `batch_rows` at a time.
///
/// # Errors
/// What the finding, the host or `emit` say.
pub(crate) fn run(
    finding: &dyn Finding,
    tables: Vec<Option<Table>>,
    schema: &SchemaRef,
    batch_rows: usize,
    host: &dyn FindingHost,
    emit: &mut (dyn FnMut(RecordBatch) -> Result<(), SqlError> + Send),
) -> Result<(), SqlError> {
    let grouped =
        tables.first().and_then(Option::as_ref).is_some_and(|t| !t.roles.groups.is_empty());
    if !grouped {
        let mut rows = Assembly { schema, batch_rows, whole: first(&tables), group: 0, emit };
        return finding.run(&tables, host, &mut |found| rows.put(first(&tables), found));
    }
    for group in groups::split(&tables)? {
        host::check(host)?;
        let whole = first(&tables);
        let mut rows = Assembly { schema, batch_rows, whole, group: group.shown_by, emit };
        finding.run(&group.tables, host, &mut |found| rows.put(first(&group.tables), found))?;
    }
    Ok(())
}

/// Runs a finding over the windows of its input, in the order of their ends (equal: of their
/// starts), each from the state that the one before left.
///
/// # Errors
/// What the state, the host or `emit` say.
pub(crate) fn run_online(
    state: &mut dyn OnlineState,
    tables: Vec<Option<Table>>,
    schema: &SchemaRef,
    batch_rows: usize,
    host: &dyn FindingHost,
    emit: &mut (dyn FnMut(RecordBatch) -> Result<(), SqlError> + Send),
) -> Result<(), SqlError> {
    let Some(whole) = first(&tables) else { return Ok(()) };
    for (window, group) in in_order(whole, groups::split(&tables)?)? {
        host::check(host)?;
        let Some(table) = first(&group.tables) else { continue };
        let whole = Some(whole);
        let mut rows = Assembly { schema, batch_rows, whole, group: group.shown_by, emit };
        state.step(window, table, host, &mut |found| rows.put(Some(table), found))?;
    }
    Ok(())
}

fn first(tables: &[Option<Table>]) -> Option<&Table> {
    tables.first().and_then(Option::as_ref)
}

/// Puts the rows of one group together.
struct Assembly<'a> {
    schema: &'a SchemaRef,
    batch_rows: usize,
    /// The whole first input.
    whole: Option<&'a Table>,
    /// A row of it that shows the group's values.
    group: u32,
    emit: &'a mut (dyn FnMut(RecordBatch) -> Result<(), SqlError> + Send),
}

impl Assembly<'_> {
    /// Gives what was found to the reader. `table` is the first input as the finding saw it.
    fn put(&mut self, table: Option<&Table>, found: Found) -> Result<(), SqlError> {
        let total = found.columns.first().map_or(found.rows.len(), |column| column.len());
        let mut start = 0;
        while start < total {
            let rows = self.batch_rows.max(1).min(total - start);
            let batch = self.batch(table, &found, start, rows)?;
            (self.emit)(batch)?;
            start += rows;
        }
        Ok(())
    }

    fn batch(
        &self,
        table: Option<&Table>,
        found: &Found,
        start: usize,
        rows: usize,
    ) -> Result<RecordBatch, SqlError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        if let Some(whole) = self.whole {
            for group in &whole.roles.groups {
                columns.push(group.gather(std::iter::repeat_n(self.group, rows))?);
            }
        }
        columns.extend(found.columns.iter().map(|column| column.slice(start, rows)));
        if let (Some(table), Some(taken)) = (table, found.rows.get(start..start + rows)) {
            for carried in &table.carried {
                columns.push(table.gather(carried, taken.iter().copied())?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|error| arrow_error(&error))
    }
}
