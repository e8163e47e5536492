//! The columns of several files put together by name.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::error::{Error, Result};
use crate::text::dialect::Dialect;
use crate::text::survey::{Column, Survey};

/// One schema for several files, each given by its name and its survey: the columns of the first
/// file, then those that only later files have. A column that a file lacks is NULL there; types
/// widen until they hold every value of every file.
///
/// # Errors
/// CSV files of which some have a header and some have none.
pub fn merge(files: &[(&str, &Survey)]) -> Result<SchemaRef> {
    check_headers(files)?;
    let mut columns: Vec<Column> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for column in files.iter().flat_map(|(_, survey)| &survey.columns) {
        match places.get(column.name.as_str()) {
            Some(place) => columns[*place].guess.unite(&column.guess),
            None => {
                places.insert(&column.name, columns.len());
                columns.push(column.clone());
            }
        }
    }
    let fields = columns.iter().map(|column| Field::new(&column.name, column.data_type(), true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// Columns without names can't be matched with those that have some.
fn check_headers(files: &[(&str, &Survey)]) -> Result<()> {
    let first = |wanted: bool| {
        files.iter().find(|(_, survey)| match &survey.dialect {
            Dialect::Csv(csv) => csv.has_header == wanted && !csv.names.is_empty(),
            Dialect::Json(_) => false,
        })
    };
    match (first(true), first(false)) {
        (Some((with, _)), Some((without, _))) => Err(Error::Data(format!(
            "file '{with}' begins with a header, '{without}' with a row; use header => true or header => false"
        ))),
        _ => Ok(()),
    }
}
