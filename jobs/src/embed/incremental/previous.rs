//! The output of the last run: which keys and texts it has, and its vectors, read when they are
//! wanted.
//!
//! Of each row some 70 bytes are in memory; vectors stay in the file.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{Float32Type, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::PageIndexPolicy;

use super::{HASH, Hash, Seen, hashes, keys};
use crate::failure::{Failure, Result, one_line};

/// Rows that are read at a time.
const BATCH_ROWS: usize = 8192;

/// The output of the last run.
pub(in crate::embed) struct Previous {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// The column of vectors.
    vectors: String,
    dimension: usize,
    /// Of each key the text's hash; `None` for NULL.
    contents: HashMap<Hash, Option<Hash>>,
    /// Of each text a row that has its vector.
    rows: HashMap<Hash, u32>,
    /// Why an image has no vector.
    problems: HashMap<Hash, String>,
    /// The first row of each group of rows, and how many there are in all.
    groups: Vec<usize>,
}

impl Previous {
    /// Reads keys and hashes of a Parquet file, and from the column `errors` why rows have no
    /// vector.
    ///
    /// # Errors
    /// A file that can't be read or is no output of such a run.
    pub(in crate::embed) fn read(
        path: &Path,
        (key, vectors, errors): (&str, &str, Option<&str>),
        dimension: usize,
    ) -> Result<Self> {
        let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata =
            ArrowReaderMetadata::load(&file, options).map_err(|e| unreadable(path, &e))?;
        let schema = metadata.schema();
        if let Some(missing) =
            [key, HASH, vectors].iter().find(|name| schema.index_of(name).is_err())
        {
            return Err(Failure::user(format!(
                "{} has no column '{missing}', so --incremental can't tell what changed; --overwrite embeds all rows again",
                path.display()
            )));
        }
        let groups = metadata.metadata().row_groups().iter().scan(0, |next, group| {
            let start = *next;
            *next += usize::try_from(group.num_rows()).unwrap_or_default();
            Some(start)
        });
        let groups = groups.collect();
        let mut previous = Self {
            path: path.to_path_buf(),
            metadata,
            vectors: vectors.to_string(),
            dimension,
            contents: HashMap::new(),
            rows: HashMap::new(),
            problems: HashMap::new(),
            groups,
        };
        previous.note(key, errors)?;
        Ok(previous)
    }

    fn note(&mut self, key: &str, errors: Option<&str>) -> Result<()> {
        let mut row = 0;
        let columns: Vec<&str> = [key, HASH, "chunk_index"].into_iter().chain(errors).collect();
        for batch in self.columns(&columns)? {
            let batch = batch?;
            let errors = errors.and_then(|name| batch.column_by_name(name));
            let errors = errors.and_then(|column| column.as_string_opt::<i32>());
            let column = batch.column_by_name(HASH).cloned();
            let contents = column.as_ref().map(hashes).unwrap_or_default();
            for (at, (key, content)) in keys(&batch, key)?.into_iter().zip(contents).enumerate() {
                // Earlier versions of a row come behind it.
                self.contents.entry(key).or_insert(content);
                let problem = errors.filter(|errors| errors.is_valid(at));
                match (content, problem) {
                    (Some(content), Some(problem)) => {
                        self.problems.insert(content, problem.value(at).to_string());
                    }
                    (Some(content), None) => {
                        self.rows.entry(content).or_insert(row);
                    }
                    (None, _) => {}
                }
                row += 1;
            }
        }
        Ok(())
    }

    /// Rows with those of some columns that there are.
    fn columns(
        &self,
        names: &[&str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let file = File::open(&self.path).map_err(|error| Failure::file(&self.path, &error))?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let wanted = names.iter().filter_map(|name| builder.schema().index_of(name).ok());
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.collect::<Vec<_>>());
        let path = self.path.clone();
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let batches = batches.map_err(|error| unreadable(&self.path, &error))?;
        Ok(batches.map(move |batch| batch.map_err(|error| unreadable(&path, &error))))
    }

    /// What the text of a key was; the inner `None` is NULL.
    pub(super) fn content(&self, key: &Hash) -> Option<Option<Hash>> {
        self.contents.get(key).copied()
    }

    /// All keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Hash> {
        self.contents.keys()
    }

    /// The row that has the vector of a text.
    pub(in crate::embed) fn row(&self, content: &Hash) -> Option<u32> {
        self.rows.get(content).copied()
    }

    /// Why an image has no vector.
    pub(in crate::embed) fn problem(&self, content: &Hash) -> Option<&str> {
        self.problems.get(content).map(String::as_str)
    }

    /// The vectors of rows, which ascend.
    ///
    /// # Errors
    /// When the file can't be read, or has others than it should.
    pub(in crate::embed) fn vectors(&self, rows: &[u32]) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(rows.len() * self.dimension);
        let group = |row: &u32| self.groups.partition_point(|start| *start <= *row as usize);
        for of_group in rows.chunk_by(|a, b| group(a) == group(b)) {
            let number = of_group.first().map_or(0, &group).saturating_sub(1);
            let start = self.groups.get(number).copied().unwrap_or_default();
            self.of_group(number, start, of_group, &mut values)?;
        }
        if values.len() != rows.len() * self.dimension {
            return Err(unreadable(&self.path, &"it has other vectors than its hashes say"));
        }
        Ok(values)
    }

    fn of_group(
        &self,
        group: usize,
        start: usize,
        rows: &[u32],
        values: &mut Vec<f32>,
    ) -> Result<()> {
        let fail = |error: &dyn std::fmt::Display| unreadable(&self.path, error);
        let total = self.metadata.metadata().row_group(group).num_rows();
        let ranges = rows
            .chunk_by(|a, b| a.saturating_add(1) == *b)
            .map(|run| {
                let first = run.first().map_or(0, |row| *row as usize - start);
                first..first + run.len()
            })
            .collect::<Vec<_>>();
        let total = usize::try_from(total).unwrap_or_default();
        let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), total);
        let file = File::open(&self.path).map_err(|error| Failure::file(&self.path, &error))?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let column = builder.schema().index_of(&self.vectors).map_err(|error| fail(&error))?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), [column]);
        let batches = builder
            .with_projection(mask)
            .with_row_groups(vec![group])
            .with_row_selection(selection)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| fail(&error))?;
        for batch in batches {
            let batch = batch.map_err(|error| fail(&error))?;
            let lists = batch.column(0).as_fixed_size_list_opt();
            let lists = lists.ok_or_else(|| fail(&"its vectors have no fixed size"))?;
            for row in 0..lists.len() {
                let vector = lists.value(row);
                let vector = vector.as_primitive_opt::<Float32Type>();
                values.extend_from_slice(vector.map_or(&[][..], |vector| vector.values()));
            }
        }
        Ok(())
    }

    /// The rows whose keys are none of `seen`, and with `keeps_versions` those whose text was
    /// another. Columns that are not kept are NULL.
    ///
    /// # Errors
    /// A column that is kept and not there, and an unreadable file.
    pub(super) fn rows_but(
        &self,
        seen: Seen,
        keeps_versions: bool,
        key: &str,
        schema: SchemaRef,
        kept: Vec<bool>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let own = self.metadata.schema();
        let is_there = |name: &str| own.index_of(name).is_ok();
        let needed = names.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(name, _)| *name);
        if let Some(missing) = needed.clone().find(|name| !is_there(name)) {
            return Err(Failure::user(format!(
                "{} has no column '{missing}', which rows that stay need; choose those to keep with --columns, or --cleanup full",
                self.path.display()
            )));
        }
        let wanted: Vec<&str> = needed.chain([key, HASH, "chunk_index"]).collect();
        let batches = self.columns(&wanted)?;
        let (key, path) = (key.to_string(), self.path.clone());
        Ok(batches.map(move |batch| {
            let batch = batch?;
            let contents = batch.column_by_name(HASH).map(hashes).unwrap_or_default();
            let stays = keys(&batch, &key)?.into_iter().zip(contents).map(|(key, content)| {
                seen.get(&key).is_none_or(|now| keeps_versions && *now != content)
            });
            let stays = BooleanArray::from(stays.collect::<Vec<_>>());
            let batch = filter_record_batch(&batch, &stays).map_err(|e| unreadable(&path, &e))?;
            let column =
                |(field, kept): (&Arc<arrow::datatypes::Field>, &bool)| -> Result<ArrayRef> {
                    match batch.column_by_name(field.name()).filter(|_| *kept) {
                        Some(column) => {
                            cast(column, field.data_type()).map_err(|e| unreadable(&path, &e))
                        }
                        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
                    }
                };
            let columns = schema.fields().iter().zip(&kept).map(column).collect::<Result<_>>()?;
            RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|e| unreadable(&path, &e))
        }))
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::user(format!("{} can't be read as Parquet: {}", path.display(), one_line(error)))
}
