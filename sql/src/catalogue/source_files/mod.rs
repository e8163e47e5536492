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

use std::sync::Arc;
use std::vec;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatchOptions;
use sembla_connectors::files::SourceFiles;
use sembla_connectors::formats::{fit, json_lines};
use sembla_connectors::replay::unreadable;
use sembla_readers::files::{DataFile, TableRows, hive, repeated};
use sembla_readers::{
    BadRow, Cancel, Error as ReadError, Rows, RowsRequest, TolerantRows, rows, tolerant_rows,
};

pub(crate) use found::is_parquet;
use found::{Found, Known};
use letters::{Letter, letters_column};

use super::source::{SourceColumn, SourceDef};
use crate::SqlError;
use crate::columns::TIME_TYPE;
use crate::error::arrow_error;

/// The column behind those of the source, which is NULL for a row that could be read; see
/// [`unreadable`].
pub(crate) const UNREADABLE: &str = "__sembla_unreadable";

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// What times in seconds are where they are read as milliseconds: 12 January 1970 to 8 March 1970,
/// which stands for 2001 to 2150.
const SECONDS_AS_MILLIS_US: std::ops::Range<i64> = 1_000_000_000_000..5_700_000_000_000;

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

/// What comes next of a file.
enum Step {
    Rows(RecordBatch, Vec<Letter>),
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
                Some(rows) => Step::Rows(rows, Vec::new()),
                None => Step::End,
            },
            Batches::Tolerant(rows) => match rows.next().transpose()? {
                Some(batch) => {
                    let letter = |bad: BadRow| Letter {
                        file: name.clone(),
                        line: i64::try_from(bad.line).unwrap_or(i64::MAX),
                        reason: bad.reason,
                        bytes: bad.bytes,
                    };
                    Step::Rows(batch.rows, batch.bad.into_iter().map(letter).collect())
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
    /// Whether the first times were looked at.
    has_seen_times: bool,
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
        let current = None;
        Ok(Self { what, cancel, known, files, current, has_seen_times: false })
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
            let (rows, letters) = match step {
                Step::Rows(rows, letters) => (rows, letters),
                Step::Parquet(rows, before) => self.fitted(&rows, before)?,
                Step::Damaged(letter) => {
                    self.current = None;
                    (self.empty(), vec![letter])
                }
                Step::End => {
                    self.current = None;
                    continue;
                }
            };
            return self.output(&rows, &letters).map(Some);
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
    fn fitted(
        &self,
        rows: &RecordBatch,
        before: i64,
    ) -> Result<(RecordBatch, Vec<Letter>), SqlError> {
        let why = match self.fit_all(rows) {
            Ok(fitted) => return Ok((fitted, Vec::new())),
            Err(why) => why,
        };
        let name = self.current.as_ref().map_or("", |current| current.name.as_str());
        if !self.what.is_tolerant {
            return Err(SqlError::Data(format!(
                "source '{}': file '{name}': {why}",
                self.what.source.name
            )));
        }
        let (mut good, mut letters) = (Vec::new(), Vec::new());
        for row in 0..rows.num_rows() {
            let single = rows.slice(row, 1);
            match self.fit_all(&single) {
                Ok(fitted) => good.push(fitted),
                Err(why) => {
                    let line = before + row as i64 + 1;
                    let bytes = json_lines(&single)?;
                    letters.push(Letter {
                        file: name.to_string(),
                        line,
                        reason: format!("file '{name}': row {line}: {why}"),
                        bytes: bytes.strip_suffix(b"\n").unwrap_or(&bytes).to_vec(),
                    });
                }
            }
        }
        let schema = good.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let good = arrow::compute::concat_batches(&schema, &good);
        Ok((good.map_err(|error| arrow_error(&error))?, letters))
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
    fn output(&mut self, rows: &RecordBatch, letters: &[Letter]) -> Result<RecordBatch, SqlError> {
        self.look_at_times(rows);
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

    /// Warns once where the first times look like seconds that were taken for milliseconds.
    fn look_at_times(&mut self, rows: &RecordBatch) {
        let Some(watermark) = &self.what.source.watermark else { return };
        if self.has_seen_times
            || self.what.files.time_unit != TimeUnit::Millisecond
            || rows.num_rows() == 0
        {
            return;
        }
        self.has_seen_times = true;
        let times = rows.column_by_name(&watermark.column);
        let times = times.filter(|times| *times.data_type() == TIME_TYPE);
        let Some(times) = times.map(|times| times.as_primitive::<TimestampMicrosecondType>())
        else {
            return;
        };
        let mut all = times.iter().flatten().peekable();
        if all.peek().is_some() && all.all(|time| SECONDS_AS_MILLIS_US.contains(&time)) {
            tracing::warn!(
                "source '{}': the times in '{}' are in early 1970; if they count seconds, \
                 set timestamp_unit = 's'",
                self.what.source.name,
                watermark.column
            );
        }
    }
}
