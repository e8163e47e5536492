//! What a command reads of its files: finds the columns before the first text meets a model, so
//! that a wrong one is reported at once and not after hours.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use sembla_readers::Dialect;
use sembla_readers::files::{Content, DataFile, Table};
use sembla_sql::by_name::is_text;

use super::Notice;
use super::files::inspect;
use crate::failure::{Failure, Result};

/// What to read and what to keep.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The files.
    pub table: Arc<Table>,
    /// The columns that are read, in order.
    columns: Vec<ColumnPath>,
    /// Their names and types.
    pub schema: SchemaRef,
    /// Indexes in `schema` of the columns that the output keeps, in its order.
    pub kept: Vec<usize>,
    /// Rows of all files.
    pub rows: u64,
}

/// A column, or a field inside one: `doc.body`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ColumnPath {
    /// The column of the files.
    column: usize,
    /// The fields from there on, outermost first.
    fields: Vec<String>,
}

/// What the user asked for.
pub struct Wanted<'a> {
    /// The column of texts; `None` where only other columns are wanted.
    pub text: Option<&'a str>,
    /// The columns to keep; `None` is all.
    pub columns: Option<&'a [String]>,
    /// A new column that the kept ones must not hide.
    pub output_column: Option<&'a str>,
}

impl Plan {
    /// Looks into all files.
    ///
    /// # Errors
    /// When a file can't be read, and what [`Plan::of`] says.
    pub fn new(inputs: Vec<DataFile>, wanted: &Wanted<'_>, notice: Notice<'_>) -> Result<Self> {
        Self::of(Self::table(inputs, notice)?, wanted)
    }

    /// The files that were looked into.
    ///
    /// # Errors
    /// When there is none, or one can't be read.
    pub fn table(inputs: Vec<DataFile>, notice: Notice<'_>) -> Result<Arc<Table>> {
        if inputs.is_empty() {
            return Err(Failure::user("no input files: the folders are empty"));
        }
        Ok(Arc::new(inspect(inputs, notice)?))
    }

    /// The plan of files that were looked into.
    ///
    /// # Errors
    /// When a column is missing, the text is not text, or the new column has the name of one that
    /// is kept.
    pub fn of(table: Arc<Table>, wanted: &Wanted<'_>) -> Result<Self> {
        let mut kept_names: Vec<String> = match wanted.columns {
            Some(columns) => columns.to_vec(),
            None => table.schema.fields().iter().map(|field| field.name().clone()).collect(),
        };
        let mut seen = HashSet::new();
        kept_names.retain(|name| seen.insert(name.clone()));
        if let Some(new) = wanted.output_column
            && kept_names.iter().any(|name| name == new)
        {
            return Err(Failure::user(format!(
                "the input already has a column '{new}'; name the vectors' column with --output-column, or leave '{new}' \
                 out of --columns"
            )));
        }
        let mut read_names = kept_names.clone();
        if let Some(text) = wanted.text
            && !read_names.iter().any(|name| name == text)
        {
            read_names.push(text.to_string());
        }
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        for name in &read_names {
            let (path, data_type) = find(&table, name)?;
            let is_wanted = wanted.text == Some(name);
            if is_wanted && !is_text(&data_type) && !is_guessed(&table, &path) {
                return Err(Failure::user(format!("column '{name}' holds {data_type}, not text")));
            }
            let data_type = if is_wanted { DataType::Utf8 } else { data_type };
            columns.push(path);
            fields.push(Field::new(name, data_type, true));
        }
        let position = |name: &String| read_names.iter().position(|other| other == name);
        Ok(Self {
            kept: kept_names.iter().filter_map(position).collect(),
            schema: Arc::new(Schema::new(fields)),
            rows: table.rows(),
            columns,
            table,
        })
    }

    /// The index of a column that was wanted.
    ///
    /// # Errors
    /// When the plan does not have it.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.schema
            .index_of(name)
            .map_err(|_| Failure::other(format!("internal error: column '{name}' is not read")))
    }

    /// The columns of the files that are read, each once.
    pub(super) fn whole_columns(&self) -> Vec<usize> {
        let mut columns: Vec<usize> = self.columns.iter().map(|path| path.column).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The table whose texts, where they were guessed to be numbers, are read as they are written.
    pub(super) fn as_written(&self) -> Arc<Table> {
        let mut fields: Vec<FieldRef> = self.table.schema.fields().to_vec();
        for (path, field) in self.columns.iter().zip(self.schema.fields()) {
            if let Some(known) = fields.get_mut(path.column)
                && path.fields.is_empty()
                && is_text(field.data_type())
                && !is_text(known.data_type())
            {
                *known = Arc::new(known.as_ref().clone().with_data_type(DataType::Utf8));
            }
        }
        let mut table = self.table.as_ref().clone();
        table.schema = Arc::new(Schema::new(fields));
        Arc::new(table)
    }

    /// A batch of whole columns as one of this plan.
    ///
    /// # Errors
    /// When a value does not fit its type.
    pub(super) fn batch(&self, whole: &[usize], batch: &RecordBatch) -> Result<RecordBatch> {
        let failed = |error| {
            Failure::user(format!("a value can't be read: {}", crate::failure::one_line(error)))
        };
        let mut columns = Vec::with_capacity(self.columns.len());
        for (path, field) in self.columns.iter().zip(self.schema.fields()) {
            let position = whole.iter().position(|column| *column == path.column);
            let column = position.and_then(|position| batch.columns().get(position));
            let column =
                column.ok_or_else(|| Failure::other("internal error: a column is not read"))?;
            let mut column = Arc::clone(column);
            for name in &path.fields {
                column = inner(&column, name)?;
            }
            columns
                .push(sembla_readers::files::fitted(&column, field.data_type()).map_err(failed)?);
        }
        let options =
            arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(failed)
    }
}

/// A field of a column of structs, NULL where the struct is.
fn inner(column: &ArrayRef, name: &str) -> Result<ArrayRef> {
    let missing = || Failure::other(format!("internal error: field '{name}' is not read"));
    let fields = column.as_struct_opt().ok_or_else(missing)?;
    let values = fields.column_by_name(name).ok_or_else(missing)?;
    let nulls = NullBuffer::union(fields.nulls(), values.nulls());
    let data = values.to_data().into_builder().nulls(nulls).build();
    Ok(make_array(data.map_err(|error| Failure::other(format!("internal error: {error}")))?))
}

/// Whether a column came from CSV, whose values only look like numbers or times, so that the text
/// itself can be had.
fn is_guessed(table: &Table, path: &ColumnPath) -> bool {
    let all_csv = table.files.iter().all(|file| match &file.content {
        Content::Text(survey) => matches!(survey.dialect, Dialect::Csv(_)),
        Content::Parquet(_) => false,
        Content::Empty => true,
    });
    path.fields.is_empty() && all_csv && !table.folder_columns.contains(&path.column)
}

/// A column by its name, or by those of the fields that lead to it with dots between.
fn find(table: &Table, name: &str) -> Result<(ColumnPath, DataType)> {
    let fields = table.schema.fields();
    if let Some((column, field)) = fields.find(name) {
        return Ok((ColumnPath { column, fields: Vec::new() }, field.data_type().clone()));
    }
    for (at, _) in name.match_indices('.') {
        let (outer, rest) = (name.get(..at), name.get(at + 1..));
        if let (Some(outer), Some(rest)) = (outer, rest)
            && let Some((column, field)) = fields.find(outer)
            && let Some((path, data_type)) = find_inside(field.data_type(), rest)
        {
            return Ok((ColumnPath { column, fields: path }, data_type));
        }
    }
    Err(missing(table, name))
}

fn find_inside(outer: &DataType, name: &str) -> Option<(Vec<String>, DataType)> {
    let DataType::Struct(fields) = outer else { return None };
    if let Some((_, field)) = fields.find(name) {
        return Some((vec![name.to_string()], field.data_type().clone()));
    }
    name.match_indices('.').find_map(|(at, _)| {
        let (_, field) = fields.find(name.get(..at)?)?;
        let (mut path, data_type) = find_inside(field.data_type(), name.get(at + 1..)?)?;
        path.insert(0, field.name().clone());
        Some((path, data_type))
    })
}

/// The failure for a column that no file has, with those there are, the nearest first.
fn missing(table: &Table, name: &str) -> Failure {
    let mut names: Vec<String> = Vec::new();
    for field in table.schema.fields() {
        names.push(field.name().clone());
        if let DataType::Struct(fields) = field.data_type() {
            names.extend(fields.iter().map(|inner| format!("{}.{}", field.name(), inner.name())));
        }
    }
    names.sort_by(|a, b| strsim::jaro_winkler(b, name).total_cmp(&strsim::jaro_winkler(a, name)));
    const SHOWN: usize = 20;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names.truncate(SHOWN);
    let files = match table.files.as_slice() {
        [only] => only.file.name.clone(),
        [first, ..] => format!("{} and the other files", first.file.name),
        [] => "the input".into(),
    };
    Failure::user(format!(
        "column '{name}' is not in {files}; its columns: {}{more}",
        names.join(", ")
    ))
}
