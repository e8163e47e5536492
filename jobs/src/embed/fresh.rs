//! The rows of the inputs that an output does not have yet, told by a key.
//!
//! Keys are compared as text, so that it does not matter in which type each side has them. Of each
//! key 16 bytes are in memory.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::failure::{Failure, Result, one_line};

/// Bytes that are kept of a key's hash.
const KEY_BYTES: usize = 16;

/// The keys that are there.
pub(super) struct Known {
    column: String,
    keys: HashSet<[u8; KEY_BYTES]>,
}

impl Known {
    /// The keys in the column of Parquet files.
    ///
    /// # Errors
    /// When a file can't be read or lacks the column.
    pub(super) fn read(column: &str, files: impl Iterator<Item = PathBuf>) -> Result<Self> {
        let mut known = Self { column: column.to_string(), keys: HashSet::new() };
        for path in files {
            known.add_file(&path)?;
        }
        Ok(known)
    }

    fn add_file(&mut self, path: &Path) -> Result<()> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::user(format!(
                "{} can't be read as Parquet: {}",
                path.display(),
                one_line(error)
            ))
        };
        let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| unreadable(&e))?;
        let Ok(position) = reader.schema().index_of(&self.column) else {
            return Err(Failure::user(format!(
                "{} has no column '{}', so --only-new can't tell what is new",
                path.display(),
                self.column
            )));
        };
        let mask = ProjectionMask::roots(reader.parquet_schema(), [position]);
        for batch in reader.with_projection(mask).build().map_err(|e| unreadable(&e))? {
            let batch = batch.map_err(|error| unreadable(&error))?;
            for keys in batch.columns() {
                self.keys.extend(self.hashes(keys)?.into_iter().flatten());
            }
        }
        Ok(())
    }

    /// The rows of a batch whose keys are new. Of rows with the same key the first one is.
    ///
    /// # Errors
    /// When a row has no key.
    pub(super) fn fresh(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys = batch.column_by_name(&self.column).ok_or_else(|| {
            Failure::user(format!("the input has no column '{}' to keep (--columns)", self.column))
        })?;
        let hashes = self.hashes(keys)?;
        let mut is_fresh = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let Some(hash) = hash else {
                return Err(Failure::user(format!(
                    "a row of the input has no '{}' (NULL), so --only-new can't tell whether it is new",
                    self.column
                )));
            };
            is_fresh.push(self.keys.insert(hash));
        }
        filter_record_batch(batch, &BooleanArray::from(is_fresh))
            .map_err(|error| Failure::other(format!("internal error: {error}")))
    }

    /// Of each key its hash; `None` for a NULL.
    fn hashes(&self, keys: &ArrayRef) -> Result<Vec<Option<[u8; KEY_BYTES]>>> {
        let texts = cast(keys, &DataType::LargeUtf8).map_err(|_| {
            let kind = keys.data_type();
            Failure::user(format!("column '{}' holds {kind}, which can't be a key", self.column))
        })?;
        let hash = |text: &str| {
            let mut bytes = [0; KEY_BYTES];
            bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..KEY_BYTES]);
            bytes
        };
        Ok(texts.as_string::<i64>().iter().map(|text| text.map(hash)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn ids(ids: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).expect("rows")
    }

    #[test]
    fn each_key_is_new_once_whatever_its_type() {
        let mut known = Known::read("id", std::iter::empty()).expect("no files");
        let numbers = ids(Arc::new(Int64Array::from(vec![1, 2, 1])));
        assert_eq!(known.fresh(&numbers).expect("rows").num_rows(), 2);
        let texts = ids(Arc::new(StringArray::from(vec!["2", "3"])));
        assert_eq!(known.fresh(&texts).expect("rows").num_rows(), 1);
        let none = ids(Arc::new(Int64Array::from(vec![None::<i64>])));
        assert!(known.fresh(&none).is_err());
    }
}
