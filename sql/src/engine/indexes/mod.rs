//! The indexes that are known: vectors in an approximate index, and the rows that they belong
//! to.
//!
//! The graph numbers vectors by keys from 0 and never forgets one; which keys have a row is said by
//! the rows alone. So a row goes by leaving the list of rows, and searches pass over keys without
//! one. When most keys are without, the graph is rebuilt. Files are `statements::indexes`' work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, interleave, interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use sembla_models::provenance::PROMPT;
use sembla_operators::approximate::{ApproximateIndex, ApproximateOptions};
use sembla_operators::{Host, UnitVectors};

use crate::SqlError;
use crate::columns::provenance::{self, Metadata};
use crate::columns::{VECTORS_COLUMN, shown};
use crate::error::arrow_error;
use conform::conform;
pub(crate) use given::provenance_of;
use given::{dimension, rows_schema, unit_vectors};
use ids::IndexIds;

mod conform;
mod given;
mod ids;
pub(crate) mod stored_vectors;
pub(crate) mod table;
pub(crate) mod tables;

/// What the keys of the schema's metadata begin with that tell how rows are read: `sembla.model`,
/// `sembla.text` and so on.
const READING: &str = "sembla.";

/// How the options of reading are called.
pub(crate) const READING_OPTIONS: &[&str] = &["model", "prompt", "id", "text", "vector"];

/// The graph is rebuilt when it has so many times the keys that have rows.
const KEYS_PER_ROW_MAX: usize = 2;

/// A smaller graph is left as it is.
const COMPACTED_KEYS_MIN: usize = 256;

/// Bytes of a row's id in the table that finds it, beside the id's own.
const LOOKUP_BYTES: usize = 64;

/// Indexes by name; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    by_name: BTreeMap<String, Arc<Index>>,
    /// Counts the changes of which indexes there are.
    change: u64,
}

impl Indexes {
    /// The index of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Index>> {
        self.known().by_name.get(name).cloned()
    }

    /// Adds an index, in place of one that had its name.
    pub(crate) fn add(&self, name: &str, index: Index) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.by_name.insert(name.to_string(), Arc::new(index));
        known.change += 1;
    }

    /// Forgets an index; its files stay. Tells whether there was one.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.change += 1;
        known.by_name.remove(name).is_some()
    }

    /// All, by name.
    pub(crate) fn list(&self) -> Vec<(String, Arc<Index>)> {
        self.all().1
    }

    /// Counts the changes of which indexes there are.
    pub(crate) fn change(&self) -> u64 {
        self.known().change
    }

    /// All, by name, and the change that they are after.
    pub(crate) fn all(&self) -> (u64, Vec<(String, Arc<Index>)>) {
        let known = self.known();
        let all = known.by_name.iter().map(|(name, index)| (name.clone(), Arc::clone(index)));
        (known.change, all.collect())
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
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
    /// The graph: the vectors of all keys that there have been.
    pub(crate) vectors: ApproximateIndex,
    /// The rows, in the order of their keys.
    pub(crate) rows: Vec<RecordBatch>,
    /// The key of each row, ascending.
    pub(crate) keys: Vec<u64>,
    /// The state of the files that these contents are, if they are in files.
    pub(crate) saved: Option<Saved>,
    /// The key of each id.
    ids: IndexIds,
    reservation: MemoryReservation,
}

/// Which state of the files an index was read from or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// What tells the graph from others.
    pub(crate) identity: u64,
    /// Counts the changes of the rows.
    pub(crate) change: u64,
}

/// What a statement does to an index: the rows with some ids go, then others come.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Ids of rows that go. One that does not exist is passed over.
    pub(crate) gone: Vec<ArrayRef>,
    /// Rows as `index_rows` gives them.
    pub(crate) come: Vec<RecordBatch>,
    /// Whether a column that rows lack is NULL in them.
    pub(crate) may_lack_columns: bool,
}

/// How many rows a change has touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) gone: usize,
    pub(crate) come: usize,
    /// Rows that would have come, and have no vector.
    pub(crate) left_out: usize,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents").field("rows", &self.len()).finish_non_exhaustive()
    }
}

impl Contents {
    /// The contents of an index that has been read.
    ///
    /// # Errors
    /// More or fewer keys than rows, ids that can't be told apart, [`SqlError::Resources`].
    pub(crate) fn new(
        schema: &SchemaRef,
        vectors: ApproximateIndex,
        (rows, keys): (Vec<RecordBatch>, Vec<u64>),
        saved: Option<Saved>,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Self, SqlError> {
        let reservation = MemoryConsumer::new("index").register(pool);
        let Some(id) = schema.fields().first() else {
            return Err(SqlError::Data("its rows have no columns; build the index again".into()));
        };
        let ids = IndexIds::new(id.data_type())?;
        let mut contents = Self { vectors, rows, keys, saved, ids, reservation };
        let sorted = contents.keys.is_sorted_by(|a, b| a < b);
        let known = contents.keys.last().is_none_or(|last| *last < contents.next_key());
        if !sorted || !known || contents.keys.len() != contents.len() {
            return Err(SqlError::Data(
                "its rows don't fit its vectors; build the index again".into(),
            ));
        }
        contents.note_ids()?;
        contents.account()?;
        Ok(contents)
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }

    /// The first key that no vector has had.
    fn next_key(&self) -> u64 {
        self.vectors.rows() as u64
    }

    /// Whether a key has a row; `None` where all have.
    pub(crate) fn is_row(&self) -> Option<impl Fn(u64) -> bool + Sync + '_> {
        let all = self.keys.len() == self.vectors.rows();
        (!all).then_some(|key: u64| self.keys.binary_search(&key).is_ok())
    }

    /// The rows of some keys.
    ///
    /// # Errors
    /// When arrow can't put them together.
    pub(crate) fn gather(&self, schema: &SchemaRef, keys: &[u64]) -> Result<RecordBatch, SqlError> {
        if keys.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(schema)));
        }
        let batches: Vec<&RecordBatch> = self.rows.iter().collect();
        interleave_record_batch(&batches, &self.places(keys)).map_err(|error| arrow_error(&error))
    }

    /// One column of the rows of some keys, of which there is at least one.
    ///
    /// # Errors
    /// When arrow can't put the values together.
    pub(crate) fn gather_column(&self, column: usize, keys: &[u64]) -> Result<ArrayRef, SqlError> {
        let pieces: Vec<&dyn Array> =
            self.rows.iter().map(|batch| batch.column(column).as_ref()).collect();
        interleave(&pieces, &self.places(keys)).map_err(|error| arrow_error(&error))
    }

    /// The batch and the place in it of the rows of some keys.
    fn places(&self, keys: &[u64]) -> Vec<(usize, usize)> {
        let starts = self.rows.iter().scan(0, |next, batch| {
            let start = *next;
            *next += batch.num_rows();
            Some(start)
        });
        let starts: Vec<usize> = starts.collect();
        let place = |key: &u64| {
            let row = self.keys.binary_search(key).unwrap_or(usize::MAX);
            let batch = starts.partition_point(|start| *start <= row).saturating_sub(1);
            (batch, row - starts.get(batch).copied().unwrap_or_default())
        };
        keys.iter().map(place).collect()
    }

    /// The stored vectors of the rows with some ids; rows that do not exist have none.
    ///
    /// # Errors
    /// Ids of another type, what the host says.
    pub(crate) fn vectors_of(
        &self,
        ids: &ArrayRef,
        host: &dyn Host,
    ) -> Result<(UnitVectors, Vec<bool>), SqlError> {
        let keys = self.ids.find(ids)?;
        let found: Vec<u64> = keys.iter().flatten().copied().collect();
        let vectors = self.vectors.vectors_of(&found, host)?;
        Ok((vectors, keys.iter().map(Option::is_some).collect()))
    }

    fn account(&self) -> Result<(), SqlError> {
        let rows: usize = self.rows.iter().map(RecordBatch::get_array_memory_size).sum();
        let lookup = self.keys.len() * (size_of::<u64>() + LOOKUP_BYTES);
        Ok(self.reservation.try_resize(self.vectors.bytes() + rows + lookup)?)
    }

    /// Takes rows out.
    fn take_out(&mut self, ids: &[ArrayRef]) -> Result<usize, SqlError> {
        let mut gone = Vec::new();
        for ids in ids {
            gone.extend(self.ids.remove(ids)?);
        }
        if gone.is_empty() {
            return Ok(0);
        }
        gone.sort_unstable();
        let stays = |key: &u64| gone.binary_search(key).is_err();
        let mut start = 0;
        for batch in &mut self.rows {
            let end = start + batch.num_rows();
            let keys = self.keys.get(start..end).unwrap_or_default();
            let mask: BooleanArray = keys.iter().map(|key| Some(stays(key))).collect();
            start = end;
            if mask.true_count() < mask.len() {
                *batch = filter_record_batch(batch, &mask).map_err(|error| arrow_error(&error))?;
            }
        }
        self.rows.retain(|batch| batch.num_rows() > 0);
        self.keys.retain(stays);
        Ok(gone.len())
    }

    /// Puts rows in; they have the columns of the index and a vector each.
    fn put_in(
        &mut self,
        rows: RecordBatch,
        vectors: &UnitVectors,
        host: &dyn Host,
    ) -> Result<(), SqlError> {
        let start = self.next_key();
        let keys: Vec<u64> = (start..start + rows.num_rows() as u64).collect();
        self.vectors.add(&keys, vectors, host)?;
        self.ids.insert(rows.column(0), &keys)?;
        self.keys.extend(keys);
        self.rows.push(rows);
        self.account()
    }

    /// Rebuilds the graph if most of its keys have no row.
    fn compact(&mut self, host: &dyn Host) -> Result<(), SqlError> {
        let (keys, rows) = (self.vectors.rows(), self.keys.len());
        if keys < COMPACTED_KEYS_MIN || keys <= rows.saturating_mul(KEYS_PER_ROW_MAX) {
            return Ok(());
        }
        let vectors = self.vectors.vectors_of(&self.keys, host)?;
        let options = *self.vectors.options();
        let mut compact = ApproximateIndex::new(self.vectors.dimension(), &options)?;
        let keys: Vec<u64> = (0..rows as u64).collect();
        compact.add(&keys, &vectors, host)?;
        (self.vectors, self.keys) = (compact, keys);
        self.note_ids()?;
        self.account()
    }

    /// Notes the key of each id.
    fn note_ids(&mut self) -> Result<(), SqlError> {
        let mut start = 0;
        for batch in &self.rows {
            let end = start + batch.num_rows();
            self.ids.insert(batch.column(0), self.keys.get(start..end).unwrap_or_default())?;
            start = end;
        }
        Ok(())
    }
}

impl Index {
    /// Builds an index of rows as `index_rows` gives them. `reading` is how they were read.
    ///
    /// # Errors
    /// Options out of range, what the host says.
    pub(crate) fn build(
        path: &Path,
        batches: Vec<RecordBatch>,
        schema: &SchemaRef,
        reading: &[(String, String)],
        options: &ApproximateOptions,
        (pool, host): (&Arc<dyn MemoryPool>, &dyn Host),
    ) -> Result<(Self, Changed), SqlError> {
        let dimension = dimension(schema)?;
        let mut kept = rows_schema(schema);
        kept.metadata.extend(provenance_of(schema)?);
        for (name, value) in reading {
            kept.metadata.insert(format!("{READING}{name}"), value.clone());
        }
        let vectors = ApproximateIndex::new(dimension, options)?;
        let schema = Arc::new(kept);
        let contents = Contents::new(&schema, vectors, Default::default(), None, pool)?;
        let index = Self::new(path, schema, contents);
        let changed = index.change(Change { come: batches, ..Change::default() }, host)?;
        Ok((index, changed))
    }

    /// An index of contents.
    pub(crate) fn new(path: &Path, schema: SchemaRef, contents: Contents) -> Self {
        Self { path: path.to_path_buf(), schema, contents: RwLock::new(contents) }
    }

    /// The model that embedded the rows, if it is known.
    pub(crate) fn model(&self) -> Option<&str> {
        self.reading("model")
    }

    /// What is known of where its vectors come from.
    pub(crate) fn provenance(&self) -> Metadata {
        let mut provenance = provenance::said(self.schema.metadata());
        // Here it is an option of how rows are read.
        provenance.remove(PROMPT);
        provenance
    }

    /// An option of how rows are read, if it was given when the index was built.
    pub(crate) fn reading(&self, option: &str) -> Option<&str> {
        self.schema.metadata().get(&format!("{READING}{option}")).map(String::as_str)
    }

    /// The column whose texts were embedded: the one that was named, else the one that is meant
    /// where none is.
    pub(crate) fn text_column(&self) -> Option<&str> {
        if let Some(named) = self.reading("text") {
            return Some(named);
        }
        let texts = self.schema.fields().iter().skip(1);
        let texts: Vec<&str> = texts
            .filter(|field| crate::columns::by_name::is_text(field.data_type()))
            .map(|field| field.name().as_str())
            .collect();
        match texts.as_slice() {
            [only] => Some(*only),
            several => several.iter().find(|name| **name == "text").copied(),
        }
    }

    /// What the index holds now.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same to write to.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the rows in memory; files are the caller's. After an error that is not about the
    /// rows themselves, the index must be read again.
    ///
    /// # Errors
    /// Ids that are there already, columns that are not, another dimension, what the host says.
    pub(crate) fn change(&self, change: Change, host: &dyn Host) -> Result<Changed, SqlError> {
        let mut contents = self.write();
        let mut changed = Changed::default();
        let mut come = Vec::with_capacity(change.come.len());
        for batch in &change.come {
            let (rows, vectors) = self.with_vectors(batch, change.may_lack_columns)?;
            changed.left_out += batch.num_rows() - rows.num_rows();
            changed.come += rows.num_rows();
            come.push((rows, vectors));
        }
        check_ids(&contents, &change.gone, &come)?;
        changed.gone = contents.take_out(&change.gone)?;
        for (rows, vectors) in come {
            if rows.num_rows() > 0 {
                contents.put_in(rows, &vectors, host)?;
            }
        }
        contents.compact(host)?;
        Ok(changed)
    }

    /// The rows of a batch that have a vector, with the columns of the index, and the vectors.
    fn with_vectors(
        &self,
        batch: &RecordBatch,
        may_lack_columns: bool,
    ) -> Result<(RecordBatch, UnitVectors), SqlError> {
        let lost = || SqlError::Bug("rows of an index have no vectors".into());
        let vectors = unit_vectors(batch.column_by_name(VECTORS_COLUMN).ok_or_else(lost)?)?;
        let found: Vec<u32> = (0..vectors.rows())
            .filter(|row| vectors.has_direction(*row))
            .map(|row| row as u32)
            .collect();
        let rows = take_record_batch(batch, &UInt32Array::from(found.clone()))
            .map_err(|error| arrow_error(&error))?;
        Ok((conform(&rows, &self.schema, may_lack_columns)?, vectors.select(&found)))
    }
}

/// Checks that no id that comes is there, apart from those that go.
fn check_ids(
    contents: &Contents,
    gone: &[ArrayRef],
    come: &[(RecordBatch, UnitVectors)],
) -> Result<(), SqlError> {
    let mut leaving = Vec::new();
    for ids in gone {
        leaving.extend(contents.ids.find(ids)?.into_iter().flatten());
    }
    leaving.sort_unstable();
    for (rows, _) in come.iter().filter(|(rows, _)| rows.num_rows() > 0) {
        let ids = rows.column(0);
        let stays = |key: &Option<u64>| key.is_some_and(|key| leaving.binary_search(&key).is_err());
        if let Some(row) = contents.ids.find(ids)?.iter().position(stays) {
            return Err(SqlError::Data(format!(
                "id {} already exists in the index",
                shown(ids, row)?
            )));
        }
    }
    Ok(())
}
