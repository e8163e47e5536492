//! Columns of files that nobody named: the text, and all of them in place of `*`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use sembla_readers::files::{Looks, Table, looks};
use sembla_sql::by_name::{self, is_text};

use super::{Notice, inspect, resolve};
use crate::failure::{Failure, Result, one_line};

/// The column that names the rows, where files have it.
pub(super) const ID: &str = "id";

/// How a column of text looks.
pub(super) fn look(table: &Arc<Table>, name: &str) -> Result<Looks> {
    let column = table.schema.index_of(name).map_err(|error| Failure::other(one_line(error)))?;
    Ok(looks(table, &[column])?.first().copied().unwrap_or(Looks::Texts))
}

/// The column of texts: the one that the user names, else the one that findings take.
///
/// # Errors
/// When there is not exactly one that it can be.
pub fn text_column(table: &Arc<Table>, given: Option<&str>) -> Result<String> {
    if let Some(given) = given {
        return Ok(given.to_string());
    }
    let fields = || table.schema.fields().iter().map(AsRef::as_ref);
    let has_id = fields().any(|field: &Field| field.name() == ID);
    let id = has_id.then_some(ID);
    match by_name::texts(fields(), id, &|name| look(table, name))?.as_slice() {
        [only] => Ok((*only).to_string()),
        [] => Err(no_text(table)),
        several => Err(which_text(several)),
    }
}

/// The failure for several columns that could be the text.
pub(super) fn which_text(several: &[&str]) -> Failure {
    Failure::user(format!("which column holds the text? --column names it: {}", several.join(", ")))
}

/// Puts the columns of the input in place of `*`.
///
/// # Errors
/// When a file can't be read.
pub fn all_columns(inputs: &[String], columns: &mut Vec<String>, notice: Notice<'_>) -> Result<()> {
    columns.retain(|name| !name.is_empty());
    if !columns.iter().any(|name| name == "*") {
        return Ok(());
    }
    let table = inspect(resolve(inputs, &[])?, notice)?;
    let all: Vec<String> = table.schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut expanded: Vec<String> = Vec::with_capacity(all.len());
    for name in columns.iter() {
        let names = if name == "*" { all.as_slice() } else { std::slice::from_ref(name) };
        for name in names {
            if !expanded.contains(name) {
                expanded.push(name.clone());
            }
        }
    }
    *columns = expanded;
    Ok(())
}

/// The failure for files without a column of text.
pub(super) fn no_text(table: &Table) -> Failure {
    let columns = table.schema.fields().iter();
    let columns: Vec<_> =
        columns.map(|field| format!("{} ({})", field.name(), field.data_type())).collect();
    let inside = table.schema.fields().iter().find_map(|field| match field.data_type() {
        DataType::Struct(fields) => {
            let text = fields.iter().find(|inner| is_text(inner.data_type()))?;
            Some(format!("; --column {}.{} selects a field inside one", field.name(), text.name()))
        }
        _ => None,
    });
    Failure::user(format!(
        "the input has no text column; its columns: {}{}",
        columns.join(", "),
        inside.unwrap_or_default()
    ))
}
