//! A file that is being written, in memory: Parquet or JSON lines.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use sembla_runtime::{Error, Result};

use crate::formats::json_lines;

/// Bytes of vectors in a row group of Parquet.
const GROUP_BYTES: usize = 64 << 20;

/// What the files of a place are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFormat {
    Parquet,
    JsonLines,
}

impl FileFormat {
    /// How names of such files end.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::JsonLines => "jsonl",
        }
    }
}

/// Rows as a file takes them. What can be wrong with them is found when it is made.
pub(super) enum Piece {
    /// For Parquet.
    Rows(RecordBatch),
    /// For JSON lines.
    Lines { bytes: Bytes, rows: u64 },
}

impl Piece {
    /// Rows for a file of that format.
    ///
    /// # Errors
    /// [`Error::Data`] for rows that the format can't hold.
    pub(super) fn new(format: FileFormat, rows: RecordBatch) -> Result<Self> {
        Ok(match format {
            FileFormat::Parquet => Self::Rows(rows),
            FileFormat::JsonLines => {
                Self::Lines { bytes: json_lines(&rows)?, rows: rows.num_rows() as u64 }
            }
        })
    }
}

/// An open file.
pub(super) struct FileWriter {
    form: Form,
    rows: u64,
}

enum Form {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    JsonLines(Vec<u8>),
}

impl FileWriter {
    /// An empty file for rows of a schema.
    ///
    /// # Errors
    /// [`Error::Option`] for a type that the format doesn't have.
    pub(super) fn new(format: FileFormat, schema: &SchemaRef) -> Result<Self> {
        let form = match format {
            FileFormat::JsonLines => Form::JsonLines(Vec::new()),
            FileFormat::Parquet => {
                let properties = Some(properties(schema));
                let writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), properties)
                    .map_err(|error| {
                        Error::Option(format!("rows can't be written as Parquet: {error}"))
                    })?;
                Form::Parquet(Box::new(writer))
            }
        };
        Ok(Self { form, rows: 0 })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`Error::Bug`] for rows of another schema or format.
    pub(super) fn write(&mut self, piece: &Piece) -> Result<()> {
        match (&mut self.form, piece) {
            (Form::JsonLines(all), Piece::Lines { bytes, rows }) => {
                all.extend_from_slice(bytes);
                self.rows += rows;
            }
            (Form::Parquet(writer), Piece::Rows(rows)) => {
                writer.write(rows).map_err(broken)?;
                self.rows += rows.num_rows() as u64;
            }
            _ => return Err(Error::Bug("rows for a file of another format".into())),
        }
        Ok(())
    }

    /// Bytes that the file would have if it were closed now, about.
    pub(super) fn file_bytes(&self) -> usize {
        match &self.form {
            Form::JsonLines(bytes) => bytes.len(),
            Form::Parquet(writer) => writer.bytes_written() + writer.in_progress_size(),
        }
    }

    /// Bytes that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.form {
            Form::JsonLines(bytes) => bytes.capacity(),
            Form::Parquet(writer) => writer.inner().capacity() + writer.memory_size(),
        }
    }

    /// The whole file, and how many rows it has.
    ///
    /// # Errors
    /// [`Error::Bug`] when it can't be finished.
    pub(super) fn close(self) -> Result<(Bytes, u64)> {
        let bytes = match self.form {
            Form::JsonLines(bytes) => bytes,
            Form::Parquet(writer) => writer.into_inner().map_err(broken)?,
        };
        Ok((bytes.into(), self.rows))
    }
}

/// In memory, and with a schema that was accepted, there is nothing that could go wrong.
fn broken(error: parquet::errors::ParquetError) -> Error {
    Error::Bug(format!("rows can't be written as Parquet: {error}"))
}

/// Vectors are plain: no dictionary, no compression, no statistics of components. General
/// compression saves little on the bits of floats and costs time.
fn properties(schema: &SchemaRef) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("sembla {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()));
    let mut row_bytes = 0;
    for field in schema.fields() {
        let (component, dimension) = match field.data_type() {
            DataType::FixedSizeList(item, dimension) => {
                (item, usize::try_from(*dimension).unwrap_or(0))
            }
            DataType::List(item) | DataType::LargeList(item) => (item, 0),
            _ => continue,
        };
        let Some(width) =
            component.data_type().primitive_width().filter(|_| component.data_type().is_floating())
        else {
            continue;
        };
        row_bytes += width * dimension;
        let path = vec![field.name().clone(), "list".into(), component.name().clone()];
        let values = ColumnPath::new(path);
        properties = properties
            .set_column_compression(values.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(values.clone(), false)
            .set_column_statistics_enabled(values, EnabledStatistics::None);
    }
    // Without vectors the library's own number of rows is fine.
    if let Some(rows) = GROUP_BYTES.checked_div(row_bytes) {
        properties = properties.set_max_row_group_row_count(Some(rows.max(1)));
    }
    properties.build()
}
