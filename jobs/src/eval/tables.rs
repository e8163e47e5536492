//! The tables of a task as texts, numbers and keys: the rows of queries, read into memory.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use super::kinds::{Part, Takes};
use crate::failure::{Failure, Result};

/// A column of a table.
#[derive(Debug, PartialEq)]
enum Column {
    Words(Vec<String>),
    Numbers(Vec<f64>),
    Absent,
}

/// A table of a task: its columns in the order of the roles. Rows with a NULL in a column that is
/// needed are left out.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    /// Rows that are kept.
    pub(super) rows: usize,
    /// Rows that were left out.
    pub(super) left_out: usize,
}

impl Table {
    /// Reads the rows of a query.
    ///
    /// # Errors
    /// Columns that don't fit, no rows, and flags that are none.
    pub(super) fn read(part: &Part, batches: &[RecordBatch], what: &str) -> Result<Self> {
        let Some(first) = batches.first() else {
            return Err(Failure::user(format!("{what}: got no rows; check the query")));
        };
        let places = part.columns(&first.schema(), what)?;
        let mut columns: Vec<Column> = part.roles.iter().zip(&places).map(empty).collect();
        let (mut rows, mut left_out) = (0, 0);
        for batch in batches {
            let needed = part.roles.iter().zip(&places).filter(|(role, _)| !role.is_optional);
            let needed: Vec<&ArrayRef> =
                needed.filter_map(|(_, place)| Some(batch.column((*place)?))).collect();
            let is_whole = |row: &usize| needed.iter().all(|column| !column.is_null(*row));
            let kept: Vec<usize> = (0..batch.num_rows()).filter(is_whole).collect();
            rows += kept.len();
            left_out += batch.num_rows() - kept.len();
            for (column, place) in columns.iter_mut().zip(&places) {
                if let Some(place) = place {
                    column.extend(batch.column(*place), &kept)?;
                }
            }
        }
        if rows == 0 {
            return Err(Failure::user(format!("{what}: got no rows; check the query")));
        }
        let table = Self { columns, rows, left_out };
        table.check_flags(part, what)?;
        Ok(table)
    }

    fn check_flags(&self, part: &Part, what: &str) -> Result<()> {
        for (role, column) in part.roles.iter().zip(&self.columns) {
            let (Takes::Flag, Column::Numbers(numbers)) = (role.takes, column) else { continue };
            if let Some(other) = numbers.iter().find(|number| **number != 0.0 && **number != 1.0) {
                return Err(Failure::user(format!(
                    "{what}: a label must be 0 or 1, got {other}; for graded scores use the kind sts"
                )));
            }
        }
        Ok(())
    }

    /// The texts or keys of a role; none where it has no column.
    pub(super) fn words(&mut self, role: usize) -> Vec<String> {
        match self.columns.get_mut(role) {
            Some(Column::Words(words)) => std::mem::take(words),
            _ => Vec::new(),
        }
    }

    /// The numbers of a role; `None` where it has no column.
    pub(super) fn numbers(&mut self, role: usize) -> Option<Vec<f64>> {
        match self.columns.get_mut(role) {
            Some(Column::Numbers(numbers)) => Some(std::mem::take(numbers)),
            _ => None,
        }
    }
}

fn empty((role, place): (&super::kinds::Role, &Option<usize>)) -> Column {
    match (place, role.takes) {
        (None, _) => Column::Absent,
        (_, Takes::Text | Takes::Key) => Column::Words(Vec::new()),
        (_, Takes::Number | Takes::Flag) => Column::Numbers(Vec::new()),
    }
}

impl Column {
    /// Adds the values of rows; a NULL of a column that is not needed is an empty text or NaN.
    fn extend(&mut self, values: &ArrayRef, rows: &[usize]) -> Result<()> {
        match self {
            Self::Words(words) => {
                let values = cast(values, &DataType::LargeUtf8).map_err(of_arrow)?;
                let values = values.as_string::<i64>();
                let word = |row: &usize| match values.is_null(*row) {
                    true => String::new(),
                    false => values.value(*row).to_string(),
                };
                words.extend(rows.iter().map(word));
            }
            Self::Numbers(numbers) => {
                let values = cast(values, &DataType::Float64).map_err(of_arrow)?;
                let values = values.as_primitive::<Float64Type>();
                let number = |row: &usize| match values.is_null(*row) {
                    true => f64::NAN,
                    false => values.value(*row),
                };
                numbers.extend(rows.iter().map(number));
            }
            Self::Absent => {}
        }
        Ok(())
    }
}

/// What Arrow says of values, such as numbers that don't fit.
fn of_arrow(error: ArrowError) -> Failure {
    DataFusionError::from(error).into()
}
