//! The rows of a table in order, file after file, from any row on. Never holds more than one batch.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch, StructArray,
    UInt32Array, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchOptions;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::looks::{vector_type, vectors_of};
use super::parquet::{Chunks, Footer, unreadable};
use super::table::{Content, Table, TableFile};
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::text::survey::{Range, Split};
use crate::{Cancel, RowsRequest, Survey};

/// Bytes of a batch, about: long texts make batches of fewer rows.
const BATCH_BYTES_MAX: u64 = 16 << 20;

/// Batches of one file, with the columns that it has of those that are read.
type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// All rows of some columns of a table, from some row on.
pub struct TableRows {
    table: Arc<Table>,
    /// The columns that are read.
    columns: Vec<usize>,
    schema: SchemaRef,
    cancel: Cancel,
    batch_rows: usize,
    /// The file that is opened next.
    next: usize,
    /// Rows that are still to be skipped.
    skip: u64,
    current: Option<Opened>,
}

/// The file that is being read.
struct Opened {
    at: usize,
    batches: Batches,
    /// Rows that it still has to give.
    left: u64,
}

impl TableRows {
    /// The rows of `table` without the first `skip`, in batches of at most `batch_rows` rows, with
    /// the columns of those positions.
    pub fn new(
        table: Arc<Table>,
        columns: Vec<usize>,
        skip: u64,
        batch_rows: usize,
        cancel: Cancel,
    ) -> Self {
        let fields = columns.iter().filter_map(|at| table.schema.fields().get(*at).cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { table, columns, schema, cancel, batch_rows, next: 0, skip, current: None }
    }

    /// The columns of all batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Opens the next file that has rows to give; `None` at the end.
    fn advance(&mut self) -> Result<Option<Opened>> {
        while let Some(file) = self.table.files.get(self.next) {
            let at = self.next;
            self.next += 1;
            let rows = file.rows();
            if self.skip >= rows {
                self.skip -= rows;
                continue;
            }
            let skip = std::mem::take(&mut self.skip);
            let most = BATCH_BYTES_MAX / file.row_bytes().max(1);
            let most = self.batch_rows.min(usize::try_from(most).unwrap_or(usize::MAX)).max(1);
            let batches = self.open(file, skip, most)?;
            return Ok(Some(Opened { at, batches, left: rows - skip }));
        }
        Ok(None)
    }

    fn open(&self, file: &TableFile, skip: u64, batch_rows: usize) -> Result<Batches> {
        let fields = self.columns.iter().zip(self.schema.fields());
        let fields: Fields = fields
            .filter(|(at, _)| !self.table.folder_columns.contains(at))
            .map(|(_, field)| Arc::clone(field))
            .collect();
        match &file.content {
            Content::Empty => Ok(Box::new(std::iter::empty())),
            Content::Parquet(footer) => open_parquet(file, footer, &fields, skip, batch_rows),
            Content::Text(survey) => {
                let schema = Arc::new(Schema::new(fields));
                let request = RowsRequest {
                    batch_rows,
                    cancel: self.cancel.clone(),
                    ..RowsRequest::new(survey.dialect.clone(), schema)
                };
                open_text(file, survey, request, skip)
            }
        }
    }

    /// The next batch.
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let Some(open) = &mut self.current else {
                self.current = self.advance()?;
                if self.current.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let Some(file) = self.table.files.get(open.at) else { return Ok(None) };
            let name = &file.file.name;
            let batches = &mut open.batches;
            match guarded(name, || batches.next().transpose())? {
                Some(batch) if batch.num_rows() as u64 <= open.left => {
                    open.left -= batch.num_rows() as u64;
                    return self.whole(&batch, file).map(Some);
                }
                None if open.left == 0 => self.current = None,
                _ => return Err(Error::Data(format!("file '{name}' changed while it was read"))),
            }
        }
    }

    /// A batch of a file as one of the table.
    fn whole(&self, batch: &RecordBatch, file: &TableFile) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = self.columns.iter().zip(self.schema.fields()).map(|(at, field)| {
            let folder = self.table.folder_columns.iter().position(|folder| folder == at);
            match folder.and_then(|folder| file.folder_values.get(folder)) {
                Some(value) => repeated(value, rows),
                None => column_of(batch, field),
            }
        });
        let columns = columns
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|why| unfit(&file.file.name, why))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|why| unfit(&file.file.name, why))
    }
}

impl Iterator for TableRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.read().transpose();
        if matches!(batch, Some(Err(_))) {
            self.current = None;
            self.next = usize::MAX;
        }
        batch
    }
}

/// A value of a folder for each of some rows.
pub fn repeated(value: &ArrayRef, rows: usize) -> arrow::error::Result<ArrayRef> {
    take(value, &UInt32Array::from(vec![0; rows]), None)
}

fn unfit(name: &str, why: impl std::fmt::Display) -> Error {
    let why = why.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Data(format!("file '{name}': {why}"))
}

/// Leaves whole row groups out undecoded, then skips inside the first one that is read.
fn open_parquet(
    file: &TableFile,
    footer: &Footer,
    fields: &Fields,
    skip: u64,
    batch_rows: usize,
) -> Result<Batches> {
    let mut skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let mut groups = Vec::new();
    for (index, group) in footer.metadata().row_groups().iter().enumerate() {
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        if groups.is_empty() && skip >= rows {
            skip -= rows;
        } else {
            groups.push(index);
        }
    }
    let roots = fields.iter().filter_map(|field| footer.schema().index_of(field.name()).ok());
    let name = file.file.name.clone();
    let chunks = Chunks::of(&file.file);
    let reader = guarded(&name, || {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            chunks.clone(),
            footer.arrow().clone(),
        );
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let builder = builder.with_projection(mask).with_row_groups(groups);
        let builder = builder.with_offset(skip).with_batch_size(batch_rows);
        builder.build().map_err(|error| chunks.explained(error))
    })?;
    Ok(Box::new(reader.map(move |batch| batch.map_err(|error| unreadable(&name, error)))))
}

/// Begins at the last split before the first row that is wanted.
fn open_text(
    file: &TableFile,
    survey: &Survey,
    mut request: RowsRequest,
    skip: u64,
) -> Result<Batches> {
    let before = survey.splits.iter().rfind(|split| split.row <= skip);
    let from: Split = before.copied().unwrap_or_default();
    if from.row > 0 {
        request.range = Some(Range { from, to: None });
    }
    let mut skip = usize::try_from(skip - from.row.min(skip)).unwrap_or(usize::MAX);
    let rows = crate::rows(file.file.open(), request)?;
    Ok(Box::new(rows.filter_map(move |batch| match batch {
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

/// A column of a batch by name, as the field has it; NULL where the batch lacks it.
fn column_of(batch: &RecordBatch, field: &Field) -> arrow::error::Result<ArrayRef> {
    match batch.column_by_name(field.name()) {
        Some(column) => fitted(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    }
}

/// Values as another type: fields of structs by name, texts as the vectors that they say,
/// everything else as Arrow casts it. A value that the type can't hold is an error.
pub fn fitted(values: &ArrayRef, wanted: &DataType) -> arrow::error::Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    match (values.data_type(), wanted) {
        (found, wanted) if found == wanted => Ok(Arc::clone(values)),
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let found = values.as_struct();
            let columns = fields.iter().map(|field| match found.column_by_name(field.name()) {
                Some(column) => fitted(column, field.data_type()),
                None => Ok(new_null_array(field.data_type(), found.len())),
            });
            let columns = columns.collect::<arrow::error::Result<Vec<_>>>()?;
            let nulls = found.nulls().cloned();
            let fitted =
                StructArray::try_new_with_length(fields.clone(), columns, nulls, found.len())?;
            Ok(Arc::new(fitted))
        }
        (DataType::Utf8, wanted) if *wanted == vector_type() => {
            vectors_of(values).map_err(ArrowError::ParseError)
        }
        (DataType::List(_), DataType::List(item)) => fitted_list::<i32>(values, item),
        (DataType::LargeList(_), DataType::LargeList(item)) => fitted_list::<i64>(values, item),
        _ => cast_with_options(values, wanted, &options),
    }
}

fn fitted_list<O: OffsetSizeTrait>(
    values: &ArrayRef,
    item: &Arc<Field>,
) -> arrow::error::Result<ArrayRef> {
    let list = values.as_list::<O>();
    let items = fitted(list.values(), item.data_type())?;
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(GenericListArray::<O>::try_new(Arc::clone(item), offsets, items, nulls)?))
}
