//! The rows of the files of a source, read with the types that it declares.
//!
//! Columns are matched by name; one that a file lacks is NULL there. What can't be read ends the
//! reading, or is handed on beside the rows with its bytes, file and line.
//!
//! - *Invariant:* the rows of the same files come in the same order, whatever can't be read.
//! - *Absent:* sorting, and what becomes of rows that can't be read.

mod found;
mod letters;
pub(crate) mod table;
mod times;

use std::fmt;
use std::sync::Arc;
use std::vec;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatchOptions;
use sembla_connectors::files::SourceFiles;
use sembla_connectors::formats::fit;
use sembla_connectors::replay::unreadable;
use sembla_readers::files::{DataFile, TableRows, hive, repeated};
use sembla_readers::{
    BadRow, Cancel, Error as ReadError, Rows, RowsRequest, TolerantRows, rows, tolerant_rows,
};

pub(crate) use found::is_parquet;
use found::{Found, Known};
use letters::{Letter, letters_column};
use times::Times;

use super::source::{SourceColumn, SourceDef};
use crate::SqlError;
use crate::error::arrow_error;

/// The column behind those of the source, which is NULL for a row that could be read; see
/// [`unreadable`].
pub(crate) const UNREADABLE: &str = "__sembla_unreadable";

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// What is read of a source.
#[derive(Clone, Debug)]
pub(crate) struct FileColumns {
    source: Arc<SourceDef>,
    files: SourceFiles,
    columns: Vec<SourceColumn>,
    /// The columns as they are declared.
    declared: SchemaRef,
    /// The columns of the batches.
    output: SchemaRef,
    is_tolerant: bool,
}

impl FileColumns {
    /// Some columns of a source. A row that can't be read is an error.
    pub(crate) fn strict(
        source: &Arc<SourceDef>,
        files: &SourceFiles,
        columns: Vec<SourceColumn>,
    ) -> Self {
        let declared = schema_of(columns.iter().map(|column| Arc::clone(&column.field)));
        let output = Arc::clone(&declared);
        let (source, files) = (Arc::clone(source), files.clone());
        Self { source, files, columns, declared, output, is_tolerant: false }
    }

    /// All columns of a source, and [`UNREADABLE`] behind them. All may be NULL.
    pub(crate) fn tolerant(source: &Arc<SourceDef>, files: &SourceFiles) -> Self {
        let columns = source.columns.clone();
        let declared = source.schema();
        let nullable =
            |field: &FieldRef| -> FieldRef { Arc::new(field.as_ref().clone().with_nullable(true)) };
        let known: FieldRef = Arc::new(Field::new(UNREADABLE, unreadable(), true));
        let output = schema_of(declared.fields().iter().map(nullable).chain([known]));
        let (source, files) = (Arc::clone(source), files.clone());
        Self { source, files, columns, declared, output, is_tolerant: true }
    }

    /// The schema of the batches.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.output
    }
}

/// Looks at a source's files, for columns in all of JSON.
///
/// # Errors
/// Files that do not exist, and columns that none of them has.
pub(crate) fn check(source: &Arc<SourceDef>, files: &SourceFiles) -> Result<(), SqlError> {
    let what = FileColumns::tolerant(source, files);
    let found = found::find(&what, &Cancel::never(), &mut Known::new())?;
    found::search(&what, &files.path, &found)
}

fn schema_of(fields: impl Iterator<Item = FieldRef>) -> SchemaRef {
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The file that is being read.
struct Current {
    name: String,
    batches: Batches,
    /// The columns that its folders give, each an array of one row.
    folders: Vec<(String, ArrayRef)>,
}

enum Batches {
    Strict(Rows),
    Tolerant(TolerantRows),
    /// And the rows before the next batch.
    Parquet(TableRows, i64),
}

/// Rows of a file, where each is, and those that can't be read.
struct Read {
    rows: RecordBatch,
    places: Vec<Place>,
    letters: Vec<Letter>,
}

/// Where a row of a file is.
#[derive(Clone, Copy)]
struct Place {
    /// Its number, from 1.
    row: i64,
    /// The line that it begins on, from 1, in a file of text.
    line: Option<i64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.row)?;
        self.line.map_or(Ok(()), |line| write!(f, " (line {line})"))
    }
}

/// What comes next of a file.
enum Step {
    Rows(Read),
    /// Rows with the types of the file, and the rows before them.
    Parquet(RecordBatch, i64),
    /// Nothing more, for that reason.
    Damaged(Letter),
    End,
}

impl Current {
    fn step(&mut self, is_tolerant: bool) -> Result<Step, SqlError> {
        let name = &self.name;
        Ok(match &mut self.batches {
            Batches::Strict(rows) => match rows.next().transpose()? {
                Some(rows) => Step::Rows(Read { rows, places: Vec::new(), letters: Vec::new() }),
                None => Step::End,
            },
            Batches::Tolerant(rows) => match rows.next().transpose()? {
                Some(batch) => {
                    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
                    let place = |(row, line): &(u64, u64)| Place {
                        row: count(*row).saturating_add(1),
                        line: Some(count(*line)),
                    };
                    let letter = |bad: BadRow| Letter {
                        file: name.clone(),
                        line: count(bad.line),
                        reason: bad.reason,
                        bytes: bad.bytes,
                    };
                    Step::Rows(Read {
                        rows: batch.rows,
                        places: batch.places.iter().map(place).collect(),
                        letters: batch.bad.into_iter().map(letter).collect(),
                    })
                }
                None => Step::End,
            },
            Batches::Parquet(rows, before) => match rows.next().transpose() {
                Ok(Some(rows)) => {
                    let first = *before;
                    *before += rows.num_rows() as i64;
                    Step::Parquet(rows, first)
                }
                Ok(None) => Step::End,
                Err(ReadError::Data(reason)) if is_tolerant => {
                    Step::Damaged(Letter::of_file(name.clone(), reason))
                }
                Err(error) => return Err(error.into()),
            },
        })
    }
}

/// All rows of the files of a source. Reads block.
pub(crate) struct FileRows {
    what: FileColumns,
    cancel: Cancel,
    known: Known,
    files: vec::IntoIter<Found>,
    current: Option<Current>,
    times: Option<Times>,
}

impl FileRows {
    /// Looks for the files and at the beginning of each.
    ///
    /// # Errors
    /// Files that do not exist; columns that none of them has; and unless rows that can't be read
    /// are handed on, a file that can't be.
    pub(crate) fn open(what: FileColumns, cancel: Cancel) -> Result<Self, SqlError> {
        let mut known = Known::new();
        let found = found::find(&what, &cancel, &mut known)?;
        let files = found.into_iter();
        let times = Times::of(&what.source, &what.files);
        Ok(Self { what, cancel, known, files, current: None, times })
    }

    /// Looks for files that have come since, which [`FileRows::next`] reads then.
    ///
    /// # Errors
    /// As for [`FileRows::open`]; and files that have changed, or come before those that were read.
    pub(crate) fn look_again(&mut self) -> Result<(), SqlError> {
        let found = found::find(&self.what, &self.cancel, &mut self.known)?;
        self.files = found.into_iter();
        Ok(())
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// A row that can't be read, unless those are handed on; a failing disk or store.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        loop {
            let Some(current) = &mut self.current else {
                match self.files.next() {
                    None => return Ok(None),
                    Some(Found::Unreadable(file, reason)) => {
                        let letter = Letter::of_file(file.name, reason);
                        return self.output(&self.empty(), &[letter]).map(Some);
                    }
                    Some(found) => self.current = Some(self.begin(found)?),
                }
                continue;
            };
            let step = current.step(self.what.is_tolerant)?;
            let name = current.name.clone();
            let mut read = match step {
                Step::Rows(read) => read,
                Step::Parquet(rows, before) => self.fitted(&rows, before)?,
                Step::Damaged(letter) => {
                    self.current = None;
                    return self.output(&self.empty(), &[letter]).map(Some);
                }
                Step::End => {
                    self.current = None;
                    continue;
                }
            };
            if let Some(times) = &mut self.times {
                times.look(&read.rows);
                if self.what.is_tolerant {
                    read = times.checked(read, &name)?;
                }
            }
            return self.output(&read.rows, &read.letters).map(Some);
        }
    }

    fn empty(&self) -> RecordBatch {
        RecordBatch::new_empty(Arc::new(Schema::empty()))
    }

    /// Opens a file.
    fn begin(&self, found: Found) -> Result<Current, SqlError> {
        let (file, dialect) = match found {
            Found::Unreadable(file, reason) => {
                return Err(SqlError::Data(format!("file '{}': {reason}", file.name)));
            }
            Found::Parquet(table) => {
                let file = table.files.first().map(|file| file.file.clone());
                let (name, folders) =
                    file.map(|file| (file.name.clone(), self.folders(&file))).unwrap_or_default();
                let wanted = self.what.declared.fields().iter();
                let places = wanted.filter_map(|field| table.schema.index_of(field.name()).ok());
                let places = places.collect();
                let rows = TableRows::new(table, places, 0, BATCH_ROWS, self.cancel.clone());
                return Ok(Current { name, batches: Batches::Parquet(rows, 0), folders });
            }
            Found::Text(file, dialect) => (file, dialect),
        };
        let folders = self.folders(&file);
        let own = self.what.declared.fields().iter();
        let own = own.filter(|field| !folders.iter().any(|(name, _)| name == field.name()));
        let schema = schema_of(own.cloned());
        let request = RowsRequest {
            batch_rows: BATCH_ROWS,
            epoch_unit: self.what.files.time_unit,
            cancel: self.cancel.clone(),
            ..RowsRequest::new(dialect, schema)
        };
        let batches = match self.what.is_tolerant {
            true => Batches::Tolerant(tolerant_rows(file.open(), request)?),
            false => Batches::Strict(rows(file.open(), request)?),
        };
        Ok(Current { name: file.name, batches, folders })
    }

    /// The declared columns that the folders of a file give.
    fn folders(&self, file: &DataFile) -> Vec<(String, ArrayRef)> {
        let fields = self.what.declared.fields().iter();
        let given = fields.filter_map(|field| {
            let (_, value) = file.folders.iter().find(|(name, _)| name == field.name())?;
            Some((field.name().clone(), hive::value(value.as_deref(), field.data_type())))
        });
        given.collect()
    }

    /// Rows of Parquet with the declared types, and those that don't fit.
    fn fitted(&self, rows: &RecordBatch, before: i64) -> Result<Read, SqlError> {
        let place = |row: usize| Place { row: before + row as i64 + 1, line: None };
        let why = match self.fit_all(rows) {
            Ok(rows) => {
                let places = (0..rows.num_rows()).map(place).collect();
                return Ok(Read { rows, places, letters: Vec::new() });
            }
            Err(why) => why,
        };
        let name = self.current.as_ref().map_or("", |current| current.name.as_str());
        if !self.what.is_tolerant {
            return Err(SqlError::Data(format!(
                "source '{}': file '{name}': {why}",
                self.what.source.name
            )));
        }
        let (mut good, mut places, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows.num_rows() {
            let (single, place) = (rows.slice(row, 1), place(row));
            match self.fit_all(&single) {
                Ok(fitted) => {
                    good.push(fitted);
                    places.push(place);
                }
                Err(why) => {
                    let reason = format!("file '{name}': {place}: {why}");
                    letters.push(Letter::of_row(name, place, reason, &single));
                }
            }
        }
        let schema = good.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let good = arrow::compute::concat_batches(&schema, &good);
        Ok(Read { rows: good.map_err(|error| arrow_error(&error))?, places, letters })
    }

    /// The declared columns that rows of Parquet have.
    fn fit_all(&self, rows: &RecordBatch) -> Result<RecordBatch, String> {
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for column in &self.what.columns {
            let field = &column.field;
            let values = match rows.column_by_name(field.name()) {
                Some(values) => fit(values, &column.column(), self.what.files.time_unit)?,
                None if self.is_of_folder(field.name()) => continue,
                None => new_null_array(field.data_type(), rows.num_rows()),
            };
            if values.null_count() > 0 && !field.is_nullable() {
                return Err(format!("column '{}' is NOT NULL, but has no value", field.name()));
            }
            fields.push(Arc::clone(field));
            arrays.push(values);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Arc::new(Schema::new(fields));
        RecordBatch::try_new_with_options(schema, arrays, &options)
            .map_err(|error| error.to_string())
    }

    fn is_of_folder(&self, name: &str) -> bool {
        self.current.iter().flat_map(|current| &current.folders).any(|(given, _)| given == name)
    }

    /// A batch of rows, and behind them those that can't be read.
    fn output(&self, rows: &RecordBatch, letters: &[Letter]) -> Result<RecordBatch, SqlError> {
        let (good, bad) = (rows.num_rows(), letters.len());
        let folders = self.current.as_ref().map(|current| current.folders.as_slice());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.what.columns.len() + 1);
        for field in self.what.declared.fields() {
            let folder = folders.and_then(|all| all.iter().find(|(name, _)| name == field.name()));
            let values = match (folder, rows.column_by_name(field.name())) {
                (Some((_, value)), _) => repeated(value, good).map_err(|e| arrow_error(&e))?,
                (None, Some(values)) => Arc::clone(values),
                (None, None) => new_null_array(field.data_type(), good),
            };
            let nothing = new_null_array(field.data_type(), bad);
            columns.push(match bad {
                0 => values,
                _ => concat(&[&values, &nothing]).map_err(|error| arrow_error(&error))?,
            });
        }
        if self.what.is_tolerant {
            columns.push(letters_column(good, letters)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(good + bad));
        let schema = Arc::clone(&self.what.output);
        RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|error| arrow_error(&error))
    }
}
