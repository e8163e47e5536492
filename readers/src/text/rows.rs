//! Rows of a file, or of a range of it, as Arrow batches of a given schema.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::{SchemaRef, TimeUnit};

use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::limits::{Cancel, Limits};
use crate::open::Open;
use crate::text::columns::{Columns, Finished};
use crate::text::csv::records::CsvRecords;
use crate::text::dialect::Dialect;
use crate::text::json::records::JsonRecords;
use crate::text::records::{Fault, Place, Records, Step};
use crate::text::survey::Range;

/// Rows of a batch where nothing else is said.
const BATCH_ROWS: usize = 8192;
/// Bytes of text after which a batch ends, so that long texts don't add up.
const BATCH_BYTES: usize = 16 << 20;

/// What is read.
#[derive(Clone, Debug)]
pub struct RowsRequest {
    /// How the file is written, from [`survey`](crate::survey()) or [`sniff`](crate::sniff).
    pub dialect: Dialect,
    /// The columns to read, by name, with their types: a projection is a schema with fewer fields.
    /// A column that the file lacks is NULL. Besides the guessed types every type works that Arrow
    /// casts text to; lists and structs are read from JSON text. An empty field of CSV is NULL,
    /// with quotes around it or without. A NULL in a column that isn't nullable is a row that can't
    /// be read.
    pub schema: SchemaRef,
    /// The part to read; `None` is the whole file.
    pub range: Option<Range>,
    /// Rows of a batch at most. A batch of long texts has fewer.
    pub batch_rows: usize,
    /// What a number counts since 1970 in a column of type `Timestamp`.
    pub epoch_unit: TimeUnit,
    /// What bounds memory.
    pub limits: Limits,
    /// What stops reading.
    pub cancel: Cancel,
}

impl RowsRequest {
    /// All rows of a file, in batches of 8192, within the default limits. Numbers are times in
    /// milliseconds.
    pub fn new(dialect: Dialect, schema: SchemaRef) -> Self {
        Self {
            dialect,
            schema,
            range: None,
            batch_rows: BATCH_ROWS,
            epoch_unit: TimeUnit::Millisecond,
            limits: Limits::default(),
            cancel: Cancel::never(),
        }
    }
}

/// Batches in the order of the file. After an error there are no more.
pub struct Rows(Reading);

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.0.batch().transpose()?;
        Some(batch.map(|batch| batch.rows))
    }
}

/// Reads rows. The first row that doesn't fit ends reading with an error that names file and line.
///
/// # Errors
/// A file that can't be opened, and a type that can't be read from text.
pub fn rows(file: Arc<dyn Open>, request: RowsRequest) -> Result<Rows> {
    Reading::new(file.as_ref(), &request, false).map(Rows)
}

/// A row that can't be read as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its number in the file, counting every row, good or bad, from 0.
    pub row: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Where it begins in the decompressed file.
    pub offset: u64,
    /// Its bytes as they are in the file, without the line break at its end.
    pub bytes: Vec<u8>,
    /// Why it can't be read, in one line that names file and line.
    pub reason: String,
}

/// Good and bad rows of one stretch of a file.
#[derive(Clone, Debug)]
pub struct TolerantBatch {
    /// The good rows.
    pub rows: RecordBatch,
    /// The number of each good row in the file, from 0, and the line it begins on, from 1.
    pub places: Vec<(u64, u64)>,
    /// The bad rows.
    pub bad: Vec<BadRow>,
}

/// As [`Rows`], with bad rows handed out beside the good ones. What can't be read past, which is
/// damaged compression, is one last bad row.
///
/// Of a row that is no record, its line is the bad row and reading goes on behind it; where JSON
/// objects have several lines, at the next line that looks like the beginning of one.
pub struct TolerantRows(Reading);

impl Iterator for TolerantRows {
    type Item = Result<TolerantBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.batch().transpose()
    }
}

/// Reads rows, and hands out those that can't be read instead of failing.
///
/// # Errors
/// A file that can't be opened, and a type that can't be read from text.
pub fn tolerant_rows(file: Arc<dyn Open>, request: RowsRequest) -> Result<TolerantRows> {
    Reading::new(file.as_ref(), &request, true).map(TolerantRows)
}

/// Reads batch after batch.
struct Reading {
    file: String,
    records: Box<dyn Records>,
    columns: Columns,
    schema: SchemaRef,
    batch_rows: usize,
    is_tolerant: bool,
    is_done: bool,
    /// Of each row of the batch where it is, and whether it is good.
    places: Vec<Place>,
    is_good: Vec<bool>,
    /// The bytes of the batch's rows, one behind the other, and the end of each; only where bad
    /// rows are handed out.
    raw: Vec<u8>,
    raw_ends: Vec<usize>,
    bad: Vec<BadRow>,
}

impl Reading {
    fn new(file: &dyn Open, request: &RowsRequest, is_tolerant: bool) -> Result<Self> {
        let RowsRequest { schema, limits, cancel, epoch_unit, .. } = request;
        let name = file.name();
        let of_type = |error: Error| match error {
            Error::Option(what) => Error::Option(format!("file '{name}': {what}")),
            other => other,
        };
        let (records, columns): (Box<dyn Records>, _) = match &request.dialect {
            Dialect::Csv(csv) => (
                Box::new(CsvRecords::open(file, csv, request.range, limits, cancel)?),
                Columns::of_places(schema, &csv.names, *epoch_unit).map_err(of_type)?,
            ),
            Dialect::Json(json) => (
                Box::new(JsonRecords::open(file, json, request.range, limits, cancel)?),
                Columns::of_names(schema, *epoch_unit).map_err(of_type)?,
            ),
        };
        Ok(Self {
            file: name.to_string(),
            records,
            columns,
            schema: Arc::clone(schema),
            batch_rows: request.batch_rows.max(1),
            is_tolerant,
            is_done: false,
            places: Vec::new(),
            is_good: Vec::new(),
            raw: Vec::new(),
            raw_ends: Vec::new(),
            bad: Vec::new(),
        })
    }

    /// The next batch; `None` at the end and behind an error.
    fn batch(&mut self) -> Result<Option<TolerantBatch>> {
        if self.is_done {
            return Ok(None);
        }
        let file = self.file.clone();
        let batch = guarded(&file, || {
            self.read()?;
            self.take()
        });
        self.is_done |= batch.is_err();
        batch
    }

    /// Reads the rows of a batch.
    fn read(&mut self) -> Result<()> {
        let mut bytes = 0;
        while self.columns.rows() < self.batch_rows && bytes < BATCH_BYTES {
            let step = match self.records.next() {
                Ok(step) => step,
                Err(Error::Data(what)) if self.is_tolerant => {
                    self.is_done = true;
                    let bytes = self.records.rest().to_vec();
                    self.reject(bytes, what);
                    break;
                }
                Err(error) => return Err(error),
            };
            bytes += self.records.bytes().len();
            let fault = match step {
                Step::End => {
                    self.is_done = true;
                    break;
                }
                Step::Bad(fault) => fault,
                Step::Record => {
                    let appended = self.records.append(&mut self.columns);
                    self.places.push(self.records.place());
                    self.is_good.push(appended.is_ok());
                    if self.is_tolerant {
                        self.raw.extend_from_slice(self.records.bytes());
                        self.raw_ends.push(self.raw.len());
                    }
                    match appended {
                        Ok(()) => continue,
                        Err(fault) => fault,
                    }
                }
            };
            if !self.is_tolerant {
                return Err(fault.into_error(&self.file));
            }
            let bytes = self.records.bytes().to_vec();
            self.reject(bytes, fault.message(&self.file));
        }
        Ok(())
    }

    /// Hands out what was read last as a bad row.
    fn reject(&mut self, bytes: Vec<u8>, reason: String) {
        let Place { row, line, offset } = self.records.place();
        self.bad.push(BadRow { row, line, offset, bytes, reason });
    }

    /// The batch of what was read; `None` if that is nothing.
    fn take(&mut self) -> Result<Option<TolerantBatch>> {
        let finished = self.columns.finish();
        for misfit in &finished.misfits {
            let Some(place) = self.places.get(misfit.row).copied() else { continue };
            if !std::mem::replace(&mut self.is_good[misfit.row], false) {
                continue;
            }
            let what = format!("{}, {}", self.records.describe(place), misfit.why);
            let fault = Fault::data(what);
            if !self.is_tolerant {
                return Err(fault.into_error(&self.file));
            }
            let start = misfit.row.checked_sub(1).and_then(|row| self.raw_ends.get(row));
            let start = start.copied().unwrap_or(0);
            let end = self.raw_ends.get(misfit.row).copied().unwrap_or(start);
            let bytes = self.raw.get(start..end).unwrap_or_default().to_vec();
            let reason = fault.message(&self.file);
            let Place { row, line, offset } = place;
            self.bad.push(BadRow { row, line, offset, bytes, reason });
        }
        let rows = self.good_rows(finished)?;
        let good =
            self.places.drain(..).zip(self.is_good.drain(..)).filter(|(_, is_good)| *is_good);
        let places = good.map(|(place, _)| (place.row, place.line)).collect();
        self.raw.clear();
        self.raw_ends.clear();
        let mut bad = std::mem::take(&mut self.bad);
        bad.sort_by_key(|bad| bad.row);
        let is_nothing = rows.num_rows() == 0 && bad.is_empty();
        Ok((!is_nothing).then_some(TolerantBatch { rows, places, bad }))
    }

    fn good_rows(&self, finished: Finished) -> Result<RecordBatch> {
        let Finished { mut columns, mut rows, .. } = finished;
        if self.is_good.contains(&false) {
            let mask = BooleanArray::from(self.is_good.clone());
            let kept = columns.iter().map(|column| filter(column, &mask));
            columns = kept.collect::<std::result::Result<Vec<ArrayRef>, _>>().map_err(|error| {
                Error::Data(format!("file '{}': bad rows can't be left out: {error}", self.file))
            })?;
            rows = mask.true_count();
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|error| Error::Data(format!("file '{}': {error}", self.file)))
    }
}
