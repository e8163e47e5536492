//! Writes the output as parts, and joins the parts of a Parquet output without decoding them.
//!
//! A part is closed by rows or by time, whichever comes first, so that a kill loses little and
//! files do not become tiny. Vectors are written plain: dictionaries and statistics of single
//! components cost time and help nobody.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::manifest::Manifest;
use super::reached;
use super::work::Work;
use crate::failure::{Failure, Result, one_line};
use crate::whole_file::{finish, unfinished, write_whole_in_work};

/// Bytes of vectors in a row group: what the writer holds in memory.
const GROUP_BYTES: usize = 64 << 20;
/// Bytes of vectors in a part.
const PART_BYTES: usize = 256 << 20;
/// A part ends after this time.
const PART_TIME: Duration = Duration::from_secs(30);

/// The name of a vector's component in the schema.
pub(crate) const COMPONENT: &str = "item";

/// How parts are written.
pub(crate) struct Layout {
    /// The columns.
    pub schema: SchemaRef,
    properties: WriterProperties,
    part_rows: u64,
}

impl Layout {
    /// The layout of a run whose vectors have `dimension` components.
    pub(crate) fn new(
        schema: SchemaRef,
        manifest: &Manifest,
        vectors: &str,
        dimension: usize,
        part_rows: Option<usize>,
    ) -> Self {
        let vector_bytes = dimension.max(1) * size_of::<f32>();
        let rows = |bytes: usize| (bytes / vector_bytes).max(1);
        let metadata =
            manifest.metadata().into_iter().map(|(key, value)| KeyValue::new(key, Some(value)));
        let level = ZstdLevel::try_new(1).unwrap_or_default();
        // The components of a list column lie under these names in Parquet.
        let values = ColumnPath::new(vec![vectors.into(), "list".into(), COMPONENT.into()]);
        let properties = WriterProperties::builder()
            .set_created_by(format!("sembla {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(metadata.collect()))
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(rows(GROUP_BYTES)))
            .set_column_compression(values.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(values.clone(), false)
            .set_column_statistics_enabled(values, EnabledStatistics::None)
            .build();
        Self { schema, properties, part_rows: part_rows.unwrap_or(rows(PART_BYTES)) as u64 }
    }
}

/// Writes batches into parts.
pub(crate) struct PartWriter<'a> {
    work: &'a mut Work,
    layout: &'a Layout,
    current: Option<Part>,
}

/// The part that is being written.
struct Part {
    writer: ArrowWriter<File>,
    rows: u64,
    begun: Instant,
}

impl<'a> PartWriter<'a> {
    /// Writes after the finished parts of `work`.
    pub(crate) fn new(work: &'a mut Work, layout: &'a Layout) -> Self {
        Self { work, layout, current: None }
    }

    /// Writes batches until there are no more, as a thread does. When they end early, what has come
    /// is kept all the same: it is a prefix of the output.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn write_all(mut self, batches: &Receiver<RecordBatch>) -> Result<()> {
        for batch in batches {
            self.write(&batch)?;
        }
        self.finish()
    }

    /// Writes a batch; closes parts that are full.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut offset = 0;
        while offset < batch.num_rows() {
            let mut part = match self.current.take() {
                Some(part) => part,
                None => self.open()?,
            };
            let room = self.layout.part_rows.saturating_sub(part.rows).max(1);
            let rows = usize::try_from(room).unwrap_or(usize::MAX).min(batch.num_rows() - offset);
            let written = part.writer.write(&batch.slice(offset, rows));
            written.map_err(|error| self.failed(error))?;
            part.rows += rows as u64;
            offset += rows;
            if part.rows >= self.layout.part_rows || part.begun.elapsed() >= PART_TIME {
                self.close(part)?;
            } else {
                self.current = Some(part);
            }
        }
        Ok(())
    }

    /// Closes the part that is being written. A run without rows gets one empty part, unless there
    /// are others already.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn finish(mut self) -> Result<()> {
        match self.current.take() {
            Some(part) => self.close(part),
            None if self.work.parts == 0 && !self.work.grows => {
                let part = self.open()?;
                self.close(part)
            }
            None => Ok(()),
        }
    }

    fn open(&self) -> Result<Part> {
        let path = self.work.part(self.work.parts);
        let file = File::create(unfinished(&path)).map_err(|error| Failure::file(&path, &error))?;
        let schema = Arc::clone(&self.layout.schema);
        let properties = self.layout.properties.clone();
        let writer = ArrowWriter::try_new(file, schema, Some(properties));
        let writer = writer.map_err(|error| self.failed(error))?;
        Ok(Part { writer, rows: 0, begun: Instant::now() })
    }

    /// The failure of a write, with the file that could not be written.
    fn failed(&self, error: ParquetError) -> Failure {
        Failure::from(error).context(self.work.part(self.work.parts).display())
    }

    fn close(&mut self, part: Part) -> Result<()> {
        let path = self.work.part(self.work.parts);
        let file = part.writer.into_inner().map_err(|error| self.failed(error))?;
        finish(&file, &path)?;
        reached("embed.part")?;
        self.work.parts += 1;
        self.work.rows += part.rows;
        Ok(())
    }
}

/// Joins the parts into one file by copying their column chunks as they are, behind those of an
/// `earlier` file if there is one.
///
/// # Errors
/// When a part can't be read back, or the disk fails.
pub(crate) fn join(work: &Work, earlier: Option<&PathBuf>) -> Result<()> {
    let Some(first) = work.part_paths().next().or_else(|| earlier.cloned()) else {
        return Err(Failure::other("internal error: there is no part to join"));
    };
    let metadata = read_metadata(&open(&first)?, &first)?;
    let file_metadata = metadata.file_metadata();
    let properties = WriterProperties::builder()
        .set_created_by(format!("sembla {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(file_metadata.key_value_metadata().cloned())
        .build();
    let joined = work.joined();
    let failed = |failure: Failure| failure.context(joined.display());
    write_whole_in_work(&joined, |file| {
        let schema = file_metadata.schema_descr().root_schema_ptr();
        if let Some(path) = earlier {
            refuse_other_columns(&read_metadata(&open(path)?, path)?, &metadata, path)?;
        }
        let buffered = std::io::BufWriter::with_capacity(1 << 20, &*file);
        let mut writer = SerializedFileWriter::new(buffered, schema, Arc::new(properties))
            .map_err(|error| failed(error.into()))?;
        for path in earlier.cloned().into_iter().chain(work.part_paths()) {
            let part = open(&path)?;
            append(&mut writer, &part, &read_metadata(&part, &path)?).map_err(failed)?;
        }
        writer.close().map(|_| ()).map_err(|error| failed(error.into()))
    })
}

/// Rejects to put rows behind those of a file that has other columns.
fn refuse_other_columns(
    earlier: &ParquetMetaData,
    parts: &ParquetMetaData,
    path: &Path,
) -> Result<()> {
    let columns = |metadata: &ParquetMetaData| {
        let columns = metadata.file_metadata().schema_descr().columns().iter();
        let shown = columns.map(|column| format!("{} {}", column.path(), column.physical_type()));
        shown.collect::<Vec<_>>()
    };
    let (before, now) = (columns(earlier), columns(parts));
    match before.iter().zip(&now).find(|(before, now)| before != now) {
        None if before.len() == now.len() => Ok(()),
        None => Err(Failure::user(format!(
            "{} has {} columns, but the new rows have {}; choose those to keep with --columns",
            path.display(),
            before.len(),
            now.len()
        ))),
        Some((before, now)) => Err(Failure::user(format!(
            "{} has the column {before} where the new rows have {now}; choose the columns to keep with --columns",
            path.display()
        ))),
    }
}

/// Copies the row groups of a part.
fn append<W: std::io::Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    part: &File,
    metadata: &ParquetMetaData,
) -> Result<()> {
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let column_indexes = metadata.column_index().and_then(|all| all.get(index));
        let offset_indexes = metadata.offset_index().and_then(|all| all.get(index));
        let mut target = writer.next_row_group()?;
        for (column, chunk) in group.columns().iter().enumerate() {
            let close = ColumnCloseResult {
                bytes_written: u64::try_from(chunk.compressed_size()).unwrap_or_default(),
                rows_written: u64::try_from(group.num_rows()).unwrap_or_default(),
                metadata: chunk.clone(),
                bloom_filter: None,
                column_index: column_indexes.and_then(|all| all.get(column)).cloned(),
                offset_index: offset_indexes.and_then(|all| all.get(column)).cloned(),
            };
            target.append_column(part, close)?;
        }
        target.close()?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Failure::file(path, &error))
}

fn read_metadata(file: &File, path: &Path) -> Result<ParquetMetaData> {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Optional)
        .parse_and_finish(file)
        .map_err(|error| damaged(path, error))
}

/// The failure for a part that can't be read back.
pub(super) fn damaged(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::other(format!(
        "the part {} is damaged ({}); --restart embeds from the beginning",
        path.display(),
        one_line(error)
    ))
}
