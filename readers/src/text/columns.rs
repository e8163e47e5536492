//! The columns of a batch while its rows are read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::{FieldRef, SchemaRef, TimeUnit};

use crate::error::{Error, Result};

use super::cell::{Cell, Fits, cell};
use super::json::nested::Members;
use super::json::scan::Scanner;

/// A column that a CSV file has.
pub(crate) struct Column {
    /// Its place among the fields of a record.
    place: usize,
    /// Its place in the schema.
    target: usize,
    pub(crate) name: String,
    pub(crate) cell: Box<dyn Cell>,
}

/// Where values come from.
enum Source {
    /// Fields of CSV by their place. The columns are in the order of the file.
    Places(Vec<Column>),
    /// Fields of JSON by their name, which are all of the schema.
    Names(Members),
}

/// The columns of a batch.
pub(crate) struct Columns {
    schema: SchemaRef,
    source: Source,
    rows: usize,
}

impl Columns {
    /// Columns of a schema for records whose fields have those names.
    ///
    /// # Errors
    /// [`Error::Option`] for a type that can't be read from text.
    pub(crate) fn of_places(
        schema: &SchemaRef,
        names: &[String],
        epoch_unit: TimeUnit,
    ) -> Result<Self> {
        let mut columns = Vec::new();
        for (target, field) in schema.fields().iter().enumerate() {
            let Some(place) = names.iter().position(|name| name == field.name()) else { continue };
            let cell = cell(field.data_type(), epoch_unit)
                .map_err(|error| Error::Option(format!("column '{}': {error}", field.name())))?;
            columns.push(Column { place, target, name: field.name().clone(), cell });
        }
        columns.sort_by_key(|column| column.place);
        Ok(Self { schema: Arc::clone(schema), source: Source::Places(columns), rows: 0 })
    }

    /// Columns of a schema for objects.
    ///
    /// # Errors
    /// [`Error::Option`] for a type that can't be read from text.
    pub(crate) fn of_names(schema: &SchemaRef, epoch_unit: TimeUnit) -> Result<Self> {
        let members = Members::new(schema.fields(), epoch_unit)?;
        Ok(Self { schema: Arc::clone(schema), source: Source::Names(members), rows: 0 })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The columns that records of CSV have, each with the place of its field.
    pub(crate) fn of_file(&mut self) -> impl Iterator<Item = (usize, &mut Column)> {
        let columns = match &mut self.source {
            Source::Places(columns) => columns.as_mut_slice(),
            Source::Names(_) => &mut [],
        };
        columns.iter_mut().map(|column| (column.place, column))
    }

    /// Ends the row to which each column of [`Columns::of_file`] got a value.
    pub(crate) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// Appends a row of NULLs.
    pub(crate) fn push_nulls(&mut self) {
        self.rows += 1;
        match &mut self.source {
            Source::Places(columns) => columns.iter_mut().for_each(|c| c.cell.push_null()),
            Source::Names(members) => members.fill(self.rows),
        }
    }

    /// Appends an object as a row. The misfit has the column's name as its outermost one.
    pub(crate) fn push_object(&mut self, scanner: &mut Scanner<'_>) -> Fits {
        self.rows += 1;
        match &mut self.source {
            Source::Places(_) => Ok(()),
            Source::Names(members) => members.push_object(scanner, self.rows - 1),
        }
    }

    /// The columns of all rows so far, which it takes.
    pub(crate) fn finish(&mut self) -> Finished {
        let rows = std::mem::take(&mut self.rows);
        let fields = self.schema.fields();
        let mut late = Vec::new();
        let columns: Vec<ArrayRef> = match &mut self.source {
            Source::Names(members) => {
                let (columns, bad) = members.finish();
                late = bad;
                columns
            }
            Source::Places(there) => {
                let mut columns: Vec<Option<ArrayRef>> = fields.iter().map(|_| None).collect();
                for column in there {
                    let (values, bad) = column.cell.finish();
                    late.extend(bad.into_iter().map(|row| (row, column.target)));
                    columns[column.target] = Some(values);
                }
                let missing = |field: &FieldRef| new_null_array(field.data_type(), rows);
                let pairs = columns.into_iter().zip(fields);
                pairs.map(|(column, field)| column.unwrap_or_else(|| missing(field))).collect()
            }
        };
        let mut misfits: Vec<LateMisfit> = late
            .into_iter()
            .map(|(row, target)| LateMisfit {
                row,
                why: format!(
                    "column '{}': the value can't be read as {}",
                    fields[target].name(),
                    fields[target].data_type()
                ),
            })
            .collect();
        for (field, column) in fields.iter().zip(&columns).filter(|(field, _)| !field.is_nullable())
        {
            let missing = (0..rows).filter(|row| column.is_null(*row));
            misfits.extend(missing.map(|row| LateMisfit {
                row,
                why: format!("column '{}' is NOT NULL, but has no value", field.name()),
            }));
        }
        misfits.sort_by_key(|misfit| misfit.row);
        misfits.dedup_by_key(|misfit| misfit.row);
        Finished { columns, rows, misfits }
    }
}

/// Columns of one length.
pub(crate) struct Finished {
    /// In the order of the schema.
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows: usize,
    /// At most one of a row, in the order of rows.
    pub(crate) misfits: Vec<LateMisfit>,
}

/// A row with a value that turned out not to fit when its column was finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LateMisfit {
    pub(crate) row: usize,
    /// `column 'id': …`
    pub(crate) why: String,
}
