//! Reads the rows of a plan, file after file, from any row on. Never holds more than one batch.

use std::fs::File;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::csv::ReaderBuilder as CsvReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder as JsonReaderBuilder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::files::FileFormat;
use super::plan::{Plan, PlannedFile, open_text, unreadable};
use crate::failure::{Failure, Result};

/// Bytes of a batch, about: long texts make batches of fewer rows.
const BATCH_BYTES_MAX: u64 = 16 << 20;

/// Batches of one file.
type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// All rows of a plan from some row on, as batches with the plan's schema.
pub(crate) struct Rows<'a> {
    plan: &'a Plan,
    /// The file that is opened next.
    next: usize,
    /// Rows that are still to be skipped.
    skip: u64,
    batch_rows: usize,
    current: Option<Open<'a>>,
}

/// The file that is being read.
struct Open<'a> {
    file: &'a PlannedFile,
    batches: Batches,
    /// Rows that it still has to give.
    left: u64,
}

impl<'a> Rows<'a> {
    /// The rows of `plan` without the first `skip`, in batches of at most `batch_rows` rows.
    pub(crate) fn new(plan: &'a Plan, skip: u64, batch_rows: usize) -> Self {
        Self { plan, next: 0, skip, batch_rows, current: None }
    }

    /// Opens the next file that has rows to give; `None` at the end.
    fn advance(&mut self) -> Result<Option<Open<'a>>> {
        while let Some(file) = self.plan.files.get(self.next) {
            self.next += 1;
            if self.skip >= file.rows {
                self.skip -= file.rows;
                continue;
            }
            let skip = std::mem::take(&mut self.skip);
            let rows = BATCH_BYTES_MAX / file.row_bytes.max(1);
            let rows = self.batch_rows.min(usize::try_from(rows).unwrap_or(usize::MAX)).max(1);
            let batches = open(file, &self.plan.schema, skip, rows)?;
            return Ok(Some(Open { file, batches, left: file.rows - skip }));
        }
        Ok(None)
    }

    /// The next batch.
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(open) = &mut self.current else {
                self.current = self.advance()?;
                if self.current.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let path = &open.file.input.path;
            match open.batches.next().transpose() {
                Err(error) => return Err(unreadable(path, name(open.file.input.format), error)),
                Ok(Some(batch)) if batch.num_rows() as u64 <= open.left => {
                    open.left -= batch.num_rows() as u64;
                    return conform(&batch, &self.plan.schema)
                        .map(Some)
                        .map_err(|error| unreadable(path, name(open.file.input.format), error));
                }
                Ok(None) if open.left == 0 => self.current = None,
                _ => {
                    return Err(Failure::user(format!(
                        "{} changed while it was read",
                        path.display()
                    )));
                }
            }
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// A format's name for messages.
fn name(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Parquet => "Parquet",
        FileFormat::Csv => "CSV",
        FileFormat::Json => "JSON lines",
    }
}

/// Opens one file after its first `skip` rows.
fn open(file: &PlannedFile, schema: &SchemaRef, skip: u64, batch_rows: usize) -> Result<Batches> {
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    match file.input.format {
        FileFormat::Parquet => open_parquet(file, schema, skip, batch_rows),
        FileFormat::Csv => open_csv(file, schema, skip, batch_rows),
        FileFormat::Json => open_json(file, schema, skip, batch_rows),
    }
}

/// Leaves whole row groups out undecoded, then skips inside the first one that is read.
fn open_parquet(
    file: &PlannedFile,
    schema: &SchemaRef,
    mut skip: usize,
    batch_rows: usize,
) -> Result<Batches> {
    let path = &file.input.path;
    let opened = File::open(path).map_err(|error| Failure::file(path, &error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(opened)
        .map_err(|error| unreadable(path, "Parquet", error))?;
    let mut groups = Vec::new();
    for (index, group) in builder.metadata().row_groups().iter().enumerate() {
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        if groups.is_empty() && skip >= rows {
            skip -= rows;
        } else {
            groups.push(index);
        }
    }
    let roots =
        schema.fields().iter().filter_map(|field| builder.schema().index_of(field.name()).ok());
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder
        .with_projection(mask)
        .with_row_groups(groups)
        .with_offset(skip)
        .with_batch_size(batch_rows)
        .build()
        .map_err(|error| unreadable(path, "Parquet", error))?;
    Ok(Box::new(reader))
}

/// CSV rows are split to be skipped, but not converted.
fn open_csv(
    file: &PlannedFile,
    schema: &SchemaRef,
    skip: usize,
    batch_rows: usize,
) -> Result<Batches> {
    let fields: Vec<_> = file
        .schema
        .fields()
        .iter()
        .map(|field| match schema.field_with_name(field.name()) {
            Ok(wanted) => wanted.clone(),
            Err(_) => Field::new(field.name(), DataType::Utf8, true),
        })
        .collect();
    let projection =
        schema.fields().iter().filter_map(|field| file.schema.index_of(field.name()).ok());
    let reader = CsvReaderBuilder::new(Arc::new(Schema::new(fields)))
        .with_header(true)
        .with_bounds(skip, usize::MAX - 1)
        .with_projection(projection.collect())
        .with_batch_size(batch_rows)
        .build_buffered(open_text(&file.input)?)
        .map_err(|error| unreadable(&file.input.path, "CSV", error))?;
    Ok(Box::new(reader))
}

/// JSON rows are decoded to be skipped.
fn open_json(
    file: &PlannedFile,
    schema: &SchemaRef,
    mut skip: usize,
    batch_rows: usize,
) -> Result<Batches> {
    let reader = JsonReaderBuilder::new(Arc::clone(schema))
        .with_coerce_primitive(true)
        .with_batch_size(batch_rows)
        .build(open_text(&file.input)?)
        .map_err(|error| unreadable(&file.input.path, "JSON lines", error))?;
    Ok(Box::new(reader.filter_map(move |batch| match batch {
        Ok(batch) if skip >= batch.num_rows() => {
            skip -= batch.num_rows();
            None
        }
        Ok(batch) => {
            let offset = std::mem::take(&mut skip);
            Some(Ok(batch.slice(offset, batch.num_rows() - offset)))
        }
        error => Some(error),
    })))
}

/// The batch with exactly the plan's columns, order and types.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch.column(batch.schema().index_of(field.name())?);
            cast(column, field.data_type())
        })
        .collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
}
