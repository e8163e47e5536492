//! `read_images('photos/**')` in `FROM`: one row for each image file, with its bytes and what its
//! header says.
//!
//! Files are read when the query runs, a group at a time, bounded by bytes. A file that is no
//! image, or is damaged, is a row whose `error` says so; its other columns beside the path are
//! NULL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use sembla_models::images::{ImageInfo, describe, has_image_name};
use sembla_readers::Open;
use sembla_readers::files::blobs;

use crate::SqlError;
use crate::columns::images::read_file;
use crate::columns::{TIME_TYPE, constant};

/// The name of the function.
const NAME: &str = "read_images";

/// Bytes of files in one batch of rows; one file may be larger.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// Rows in one batch.
const BATCH_ROWS_MAX: usize = 256;

/// Registers the function with a session.
pub(crate) fn register(context: &SessionContext) {
    context.register_udtf(NAME, Arc::new(ReadImages));
}

#[derive(Debug)]
struct ReadImages;

impl TableFunctionImpl for ReadImages {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let bad = || {
            SqlError::Statement(format!(
                "{NAME} takes one text in quotes: an image file, a folder, a pattern or an address, as in {NAME}('photos/**')"
            ))
        };
        let [name] = args.exprs() else { return Err(bad().into()) };
        let name = constant(name.clone())?.ok_or_else(bad)?;
        let name = name.try_as_str().flatten().ok_or_else(bad)?;
        let files = blobs(name, &has_image_name)
            .map_err(|error| SqlError::Statement(format!("{NAME}: {error}")))?;
        let table = StreamingTable::try_new(schema(), vec![Arc::new(ImageFiles::new(files))])?;
        Ok(Arc::new(table))
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, name != "path");
    Arc::new(Schema::new(vec![
        field("path", DataType::Utf8),
        field("bytes", DataType::Binary),
        field("width", DataType::Int64),
        field("height", DataType::Int64),
        field("format", DataType::Utf8),
        field("taken_at", TIME_TYPE),
        field("latitude", DataType::Float64),
        field("longitude", DataType::Float64),
        field("error", DataType::Utf8),
    ]))
}

/// The files of a call.
#[derive(Debug)]
struct ImageFiles {
    files: Arc<[Arc<dyn Open>]>,
    schema: SchemaRef,
}

impl ImageFiles {
    fn new(files: Vec<Arc<dyn Open>>) -> Self {
        Self { files: files.into(), schema: schema() }
    }
}

impl PartitionStream for ImageFiles {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (files, schema) = (Arc::clone(&self.files), Arc::clone(&self.schema));
        let batches = futures::stream::try_unfold(0, move |first| {
            let (files, schema) = (Arc::clone(&files), Arc::clone(&schema));
            async move {
                if first >= files.len() {
                    return Ok(None);
                }
                let step = tokio::task::spawn_blocking(move || batch(&files, first, schema));
                let step = step.await.map_err(|error| DataFusionError::ExecutionJoin(error.into()));
                step?.map(Some)
            }
        });
        let schema = Arc::clone(&self.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, batches.into_stream()))
    }
}

/// A file as a row.
struct Row {
    path: String,
    /// Its bytes and its header, or what is wrong.
    read: Result<(Vec<u8>, ImageInfo), String>,
}

impl Row {
    fn of(file: &dyn Open) -> Self {
        let path = file.name().to_string();
        let read = read_file(file).map_err(|unusable| unusable.problem).and_then(|bytes| {
            describe(&bytes).map(|info| (bytes, info)).map_err(|error| error.to_string())
        });
        Self { path, read }
    }

    fn info(&self) -> Option<&ImageInfo> {
        self.read.as_ref().ok().map(|(_, info)| info)
    }

    fn bytes(&self) -> Option<&[u8]> {
        self.read.as_ref().ok().map(|(bytes, _)| bytes.as_slice())
    }

    /// Microseconds since 1970 of the time that the camera wrote, as if that were UTC.
    fn taken_at(&self) -> Option<i64> {
        let [year, month, day, hour, minute, second] = self.info()?.taken.time?.map(u32::from);
        let day = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
        Some(day.and_hms_opt(hour, minute, second)?.and_utc().timestamp_micros())
    }
}

/// The rows of image files from the one with the number `first` on that fit into a batch, as
/// `read_images` gives them, and the number of the file after those. Reads block.
///
/// # Errors
/// None of a file: one that can't be used is a row whose `error` says why.
pub fn image_rows(files: &[Arc<dyn Open>], first: usize) -> Result<(RecordBatch, usize)> {
    batch(files, first, schema())
}

/// The same with the schema at hand.
fn batch(files: &[Arc<dyn Open>], first: usize, schema: SchemaRef) -> Result<(RecordBatch, usize)> {
    let (mut rows, mut held) = (Vec::new(), 0);
    for file in files.iter().skip(first).take(BATCH_ROWS_MAX) {
        let row = Row::of(file.as_ref());
        held += row.bytes().map_or(0, <[u8]>::len);
        rows.push(row);
        if held >= BATCH_BYTES_MAX {
            break;
        }
    }
    let side = |side: fn(&ImageInfo) -> u32| -> ArrayRef {
        let sides = rows.iter().map(|row| row.info().map(|info| i64::from(side(info))));
        Arc::new(sides.collect::<Int64Array>())
    };
    let place = |part: fn(&ImageInfo) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row.info().and_then(part)).collect::<Float64Array>())
    };
    let formats = rows.iter().map(|row| row.info().map(|info| info.format));
    let errors = rows.iter().map(|row| row.read.as_ref().err().map(String::as_str));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.path.as_str())).collect::<StringArray>()),
        Arc::new(rows.iter().map(Row::bytes).collect::<BinaryArray>()),
        side(|info| info.width),
        side(|info| info.height),
        Arc::new(formats.collect::<StringArray>()),
        Arc::new(rows.iter().map(Row::taken_at).collect::<TimestampMicrosecondArray>()),
        place(|info| info.taken.latitude),
        place(|info| info.taken.longitude),
        Arc::new(errors.collect::<StringArray>()),
    ];
    Ok((RecordBatch::try_new(schema, columns)?, first + rows.len()))
}
