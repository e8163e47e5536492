//! Parquet files in a plan: DataFusion's reader, with the readers' footers and their way to the
//! bytes, so that any name works and nothing is read twice.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use bytes::Bytes;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::path::Path as StorePath;
use datafusion::object_store::{ObjectMeta, ObjectStore};
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::parquet::file::reader::ChunkReader;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use sembla_readers::files::parquet::{Chunks, Footer};
use sembla_readers::files::store::io_error;
use sembla_readers::files::{Content, Place, TableFile};

use super::guarded::GuardedSource;
use super::provider::Scan;

/// A file of the scan, for whoever reads it.
#[derive(Clone, Debug)]
pub(super) struct Read {
    /// What messages call it.
    pub(super) name: Arc<str>,
    place: Place,
    chunks: Chunks,
    footer: Footer,
}

/// Plans the reading of files, in at most so many partitions, in order.
pub(super) fn plan(
    scan: &Scan<'_>,
    files: &[usize],
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let table = scan.table;
    let folder = |at: &usize| table.folder_columns.iter().position(|folder| folder == at);
    let all: Vec<usize> = (0..table.schema.fields().len()).collect();
    let own: Vec<usize> = all.iter().copied().filter(|at| folder(at).is_none()).collect();
    let field = |at: &usize| table.schema.fields().get(*at).cloned();
    let in_files: SchemaRef =
        Arc::new(Schema::new(own.iter().filter_map(field).collect::<Vec<_>>()));
    let by_folder: Vec<FieldRef> = table.folder_columns.iter().filter_map(field).collect();
    let schema =
        TableSchema::builder(Arc::clone(&in_files)).with_table_partition_cols(by_folder).build();
    let columns = scan.columns.iter().filter_map(|at| match folder(at) {
        Some(folder) => Some(own.len() + folder),
        None => own.iter().position(|own| own == at),
    });
    let columns: Vec<usize> = columns.collect();
    let mut planned = Vec::with_capacity(files.len());
    for file in files.iter().filter_map(|at| table.files.get(*at)) {
        if let Content::Parquet(footer) = &file.content {
            planned.push(planned_file(file, footer, &in_files)?);
        }
    }
    let known = planned.iter().filter_map(|file| file.statistics.as_deref());
    let statistics = Statistics::try_merge_iter(known, schema.table_schema())?;
    let options = scan.session.default_table_options().parquet;
    let source = ParquetSource::new(schema)
        .with_table_parquet_options(options)
        .with_parquet_file_reader_factory(Arc::new(Readers));
    let builder = FileScanConfigBuilder::new(
        // The files are reached without it, but a scan must name one.
        ObjectStoreUrl::local_filesystem(),
        Arc::new(GuardedSource::new(Arc::new(source))),
    );
    let config = builder
        .with_file_groups(groups(planned, partitions))
        .with_statistics(statistics)
        .with_limit(scan.limit)
        .with_projection_indices(Some(columns))?
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

/// A file as DataFusion plans it.
fn planned_file(
    file: &TableFile,
    footer: &Footer,
    in_files: &SchemaRef,
) -> Result<PartitionedFile> {
    let meta = ObjectMeta {
        // A name for plans and metrics; the bytes are found by `Read`.
        location: StorePath::from(file.file.name.as_str()),
        last_modified: chrono::DateTime::from_timestamp_nanos(
            i64::try_from(file.file.modified_ns).unwrap_or_default(),
        ),
        size: file.file.bytes,
        e_tag: None,
        version: None,
    };
    let values = file.folder_values.iter().map(|value| ScalarValue::try_from_array(value, 0));
    let read = Read {
        name: file.file.name.as_str().into(),
        place: file.file.place.clone(),
        chunks: Chunks::of(&file.file),
        footer: footer.clone(),
    };
    Ok(PartitionedFile::new_from_meta(meta)
        .with_partition_values(values.collect::<Result<Vec<_>>>()?)
        .with_arrow_schema(Arc::clone(footer.schema()))
        .with_extension(read)
        .with_statistics(Arc::new(statistics(footer, in_files)?)))
}

/// What the footer says of the columns. Of one that the file has as another type nothing is said.
fn statistics(footer: &Footer, in_files: &SchemaRef) -> Result<Statistics> {
    let mut found =
        DFParquetMetadata::statistics_from_parquet_metadata(footer.metadata(), in_files)?;
    for (column, field) in found.column_statistics.iter_mut().zip(in_files.fields()) {
        let own = footer.schema().field_with_name(field.name()).map(Field::data_type);
        let is_string =
            |own: &arrow::datatypes::DataType| own.is_string() && field.data_type().is_string();
        if own.is_ok_and(|own| own != field.data_type() && !is_string(own)) {
            *column = ColumnStatistics::new_unknown();
        }
    }
    if found.column_statistics.len() != in_files.fields().len() {
        found = Statistics::new_unknown(in_files);
    }
    found.num_rows = Precision::Exact(usize::try_from(footer.rows()).unwrap_or(usize::MAX));
    Ok(found)
}

/// The files dealt to partitions, neighbours together, each about as many bytes as the others.
fn groups(files: Vec<PartitionedFile>, partitions: usize) -> Vec<FileGroup> {
    let bytes: u64 = files.iter().map(PartitionedFile::effective_size).sum();
    let partitions = partitions.min(files.len()).max(1);
    let share = bytes.div_ceil(partitions as u64).max(1);
    let (mut groups, mut group, mut taken) = (Vec::new(), Vec::new(), 0);
    for file in files {
        taken += file.effective_size();
        group.push(file);
        if taken >= share * (groups.len() as u64 + 1) {
            groups.push(FileGroup::new(std::mem::take(&mut group)));
        }
    }
    if !group.is_empty() {
        groups.push(FileGroup::new(group));
    }
    groups
}

/// Makes the readers of files.
#[derive(Debug)]
struct Readers;

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let read = file.extension::<Read>().cloned();
        let read = read.ok_or_else(|| {
            datafusion::error::DataFusionError::Internal("a file of a scan is unknown".into())
        })?;
        Ok(Box::new(read))
    }
}

impl AsyncFileReader for Read {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            let mut read = self.get_byte_ranges(vec![range]).await?;
            read.pop().ok_or_else(|| ParquetError::General("no bytes were read".into()))
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        match self.place.clone() {
            Place::Local(_) => {
                let chunks = self.chunks.clone();
                let read = tokio::task::spawn_blocking(move || {
                    let bytes = |range: Range<u64>| {
                        let length = range.end.saturating_sub(range.start);
                        chunks.get_bytes(range.start, usize::try_from(length).unwrap_or(usize::MAX))
                    };
                    ranges.into_iter().map(bytes).collect()
                });
                async move { read.await.map_err(|error| ParquetError::External(Box::new(error)))? }
                    .boxed()
            }
            Place::Stored { store, path } => async move {
                let read = store.get_ranges(&path, &ranges).await;
                read.map_err(|error| ParquetError::External(Box::new(io_error(&error))))
            }
            .boxed(),
        }
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        std::future::ready(Ok(Arc::clone(self.footer.metadata()))).boxed()
    }
}
