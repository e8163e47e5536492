//! The indexes that a session knows: vectors in an approximate index, and the rows that they belong
//! to, both in memory and in two files.
//!
//! `x.index` holds the graph and the vectors, `x.index.rows.parquet` the ids and the other columns,
//! row by row in the order of the index's keys. Rows without a vector are in neither. Each file is
//! replaced as a whole, the rows first: after a kill between the two there are rows too many at the
//! end, which are left out when the index is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use sembla_operators::approximate::{ApproximateIndex, ApproximateOptions};
use sembla_operators::{Host, UnitVectors};

use super::index_rows::VECTORS_COLUMN;
use super::keys::Keys;
use crate::SqlError;
use crate::error::arrow_error;
use crate::functions::Vectors;

/// The key of the schema's metadata that names the model.
const MODEL: &str = "sembla.model";

/// Indexes by name; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes(Arc<RwLock<BTreeMap<String, Arc<Index>>>>);

impl Indexes {
    /// The index of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Index>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Adds an index, in place of one that had its name.
    pub(crate) fn add(&self, name: &str, index: Index) {
        let mut indexes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        indexes.insert(name.to_string(), Arc::new(index));
    }

    /// Forgets an index; its files stay. Tells whether there was one.
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    /// All, by name.
    pub(crate) fn list(&self) -> Vec<(String, Arc<Index>)> {
        let indexes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        indexes.iter().map(|(name, index)| (name.clone(), Arc::clone(index))).collect()
    }
}

/// An index that is open.
#[derive(Debug)]
pub(crate) struct Index {
    /// Its file.
    pub(crate) path: PathBuf,
    /// The columns of its rows, ids first.
    pub(crate) schema: SchemaRef,
    contents: RwLock<Contents>,
}

/// What an index holds.
pub(crate) struct Contents {
    pub(crate) vectors: ApproximateIndex,
    /// The rows, in the order of their keys.
    pub(crate) rows: Vec<RecordBatch>,
    reservation: MemoryReservation,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents").field("rows", &self.len()).finish_non_exhaustive()
    }
}

impl Contents {
    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows of some keys.
    ///
    /// # Errors
    /// When arrow can't put them together.
    pub(crate) fn gather(&self, schema: &SchemaRef, keys: &[u64]) -> Result<RecordBatch, SqlError> {
        if keys.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(schema)));
        }
        let starts = self.rows.iter().scan(0, |next, batch| {
            let start = *next;
            *next += batch.num_rows();
            Some(start)
        });
        let starts: Vec<usize> = starts.collect();
        let place = |key: &u64| {
            let key = usize::try_from(*key).unwrap_or(usize::MAX);
            let batch = starts.partition_point(|start| *start <= key).saturating_sub(1);
            (batch, key - starts.get(batch).copied().unwrap_or_default())
        };
        let places: Vec<(usize, usize)> = keys.iter().map(place).collect();
        let batches: Vec<&RecordBatch> = self.rows.iter().collect();
        interleave_record_batch(&batches, &places).map_err(|error| arrow_error(&error))
    }

    fn account(&self) -> Result<(), SqlError> {
        let rows: usize = self.rows.iter().map(RecordBatch::get_array_memory_size).sum();
        Ok(self.reservation.try_resize(self.vectors.bytes() + rows)?)
    }
}

impl Index {
    /// Builds an index of rows as `index_rows` gives them, and writes it.
    ///
    /// # Errors
    /// Options out of range, what the host or the disk says.
    pub(crate) fn build(
        path: &Path,
        batches: &[RecordBatch],
        schema: &SchemaRef,
        model: Option<&str>,
        options: &ApproximateOptions,
        (pool, host): (&Arc<dyn MemoryPool>, &dyn Host),
    ) -> Result<Self, SqlError> {
        let dimension = dimension(schema)?;
        let mut kept = rows_schema(schema);
        if let Some(model) = model {
            kept.metadata.insert(MODEL.into(), model.into());
        }
        let contents = Contents {
            vectors: ApproximateIndex::new(dimension, options)?,
            rows: Vec::new(),
            reservation: MemoryConsumer::new("index").register(pool),
        };
        let schema = Arc::new(kept);
        let index = Self { path: path.to_path_buf(), schema, contents: RwLock::new(contents) };
        index.append(batches, host)?;
        Ok(index)
    }

    /// Opens an index whose rows have been read from its second file.
    ///
    /// # Errors
    /// A file that is no index, is damaged, or has more rows than the second file.
    pub(crate) fn open(
        path: &Path,
        rows: Vec<RecordBatch>,
        schema: SchemaRef,
        (pool, host): (&Arc<dyn MemoryPool>, &dyn Host),
    ) -> Result<Self, SqlError> {
        let vectors = ApproximateIndex::open(path, host)?;
        let mut left = vectors.rows();
        let rows = rows.into_iter().map(|batch| {
            let kept = batch.num_rows().min(left);
            left -= kept;
            batch.slice(0, kept)
        });
        let contents = Contents {
            rows: rows.collect(),
            vectors,
            reservation: MemoryConsumer::new("index").register(pool),
        };
        if contents.vectors.rows() > contents.len() {
            return Err(SqlError::Data(format!(
                "'{}' has {} vectors and {} rows beside it; build the index anew",
                path.display(),
                contents.vectors.rows(),
                contents.len()
            )));
        }
        contents.account()?;
        Ok(Self { path: path.to_path_buf(), schema, contents: RwLock::new(contents) })
    }

    /// The file of the rows of an index.
    pub(crate) fn rows_path(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".rows.parquet");
        name.into()
    }

    /// The model that embedded the rows, if one did.
    pub(crate) fn model(&self) -> Option<&str> {
        self.schema.metadata().get(MODEL).map(String::as_str)
    }

    /// What the index holds now.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends rows as `index_rows` gives them. Files are the caller's.
    ///
    /// # Errors
    /// Ids that are there already, another dimension, what the host says.
    pub(crate) fn append(&self, batches: &[RecordBatch], host: &dyn Host) -> Result<(), SqlError> {
        let mut contents = self.write();
        self.check_ids(&contents, batches)?;
        for batch in batches {
            let Some(vectors) = batch.column_by_name(VECTORS_COLUMN) else { continue };
            let vectors = unit_vectors(vectors)?;
            let found: Vec<u32> = (0..vectors.rows())
                .filter(|row| vectors.has_direction(*row))
                .map(|row| row as u32)
                .collect();
            let batch = take_record_batch(batch, &UInt32Array::from(found.clone()))
                .map_err(|error| arrow_error(&error))?;
            let start = contents.len() as u64;
            let keys: Vec<u64> = (start..start + found.len() as u64).collect();
            contents.vectors.add(&keys, &vectors.select(&found), host)?;
            let columns = self.schema.fields().iter().map(|field| {
                batch.column_by_name(field.name()).cloned().ok_or_else(|| {
                    SqlError::Statement(format!(
                        "the index has a column '{}', and the rows don't",
                        field.name()
                    ))
                })
            });
            let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
            let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns);
            contents.rows.push(rows.map_err(|error| arrow_error(&error))?);
            contents.account()?;
        }
        Ok(())
    }

    fn check_ids(&self, contents: &Contents, batches: &[RecordBatch]) -> Result<(), SqlError> {
        let mut known = Keys::default();
        for batch in &contents.rows {
            known.of(batch.column(0))?;
        }
        for batch in batches.iter().filter(|_| !contents.rows.is_empty()) {
            let Some(ids) = batch.column_by_name("id") else { continue };
            if ids.data_type() != self.schema.field(0).data_type() {
                return Err(SqlError::Statement(format!(
                    "ids of the index are {} and those of the rows {}; cast them",
                    self.schema.field(0).data_type(),
                    ids.data_type()
                )));
            }
            if let Some(row) = known.find(ids)?.iter().position(Option::is_some) {
                return Err(SqlError::Data(format!(
                    "id {} is in the index already",
                    super::ids::shown(ids, row)?
                )));
            }
        }
        Ok(())
    }
}

fn rows_schema(schema: &SchemaRef) -> Schema {
    let fields = schema.fields().iter().filter(|field| field.name() != VECTORS_COLUMN);
    Schema::new(fields.cloned().collect::<Vec<_>>())
}

fn dimension(schema: &SchemaRef) -> Result<usize, SqlError> {
    use arrow::datatypes::DataType;
    match schema.field_with_name(VECTORS_COLUMN).map(|field| field.data_type()) {
        Ok(DataType::FixedSizeList(_, size)) => Ok(usize::try_from(*size).unwrap_or_default()),
        _ => Err(SqlError::Bug("rows of an index have no vectors".into())),
    }
}

fn unit_vectors(array: &ArrayRef) -> Result<UnitVectors, SqlError> {
    let vectors = Vectors::from_array(array, false)?;
    let mut values = Vec::new();
    for row in 0..array.len() {
        values.extend_from_slice(vectors.row(row).unwrap_or_default());
    }
    let dimension = values.len().checked_div(array.len()).unwrap_or(1);
    Ok(UnitVectors::new(dimension.max(1), values)?)
}
