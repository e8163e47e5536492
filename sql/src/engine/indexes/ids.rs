//! The key of each id of an index.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};

use crate::SqlError;
use crate::error::arrow_error;

/// Which key each id has. Ids are of one type; others are cast to it.
pub(crate) struct IndexIds {
    data_type: DataType,
    converter: RowConverter,
    keys: HashMap<OwnedRow, u64>,
}

impl IndexIds {
    /// No ids, of that type.
    ///
    /// # Errors
    /// When values of the type can't be compared.
    pub(crate) fn new(data_type: &DataType) -> Result<Self, SqlError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])
            .map_err(|error| arrow_error(&error))?;
        Ok(Self { data_type: data_type.clone(), converter, keys: HashMap::new() })
    }

    /// Notes ids with their keys.
    ///
    /// # Errors
    /// Ids that can't be cast.
    pub(crate) fn insert(&mut self, ids: &ArrayRef, keys: &[u64]) -> Result<(), SqlError> {
        let rows = self.rows(ids)?;
        self.keys.extend(rows.iter().map(|id| id.owned()).zip(keys.iter().copied()));
        Ok(())
    }

    /// The key of each id; `None` for one that does not exist.
    ///
    /// # Errors
    /// Ids that can't be cast.
    pub(crate) fn find(&self, ids: &ArrayRef) -> Result<Vec<Option<u64>>, SqlError> {
        let rows = self.rows(ids)?;
        Ok(rows.iter().map(|id| self.keys.get(&id.owned()).copied()).collect())
    }

    /// Forgets ids, and gives the keys of those that were there.
    ///
    /// # Errors
    /// Ids that can't be cast.
    pub(crate) fn remove(&mut self, ids: &ArrayRef) -> Result<Vec<u64>, SqlError> {
        let rows = self.rows(ids)?;
        Ok(rows.iter().filter_map(|id| self.keys.remove(&id.owned())).collect())
    }

    fn rows(&self, ids: &ArrayRef) -> Result<Rows, SqlError> {
        let same = match ids.data_type() == &self.data_type {
            true => ids.clone(),
            false => cast(ids, &self.data_type).map_err(|error| arrow_error(&error))?,
        };
        self.converter.convert_columns(&[same]).map_err(|error| arrow_error(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, Int64Array};

    use super::*;

    #[test]
    fn ids_are_found_whatever_their_width() {
        let mut ids = IndexIds::new(&DataType::Int64).expect("numbers");
        let first: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9]));
        ids.insert(&first, &[0, 1, 2]).expect("ids");
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![9, 10, 7]));
        assert_eq!(ids.find(&narrow).expect("ids"), [Some(2), None, Some(0)]);
        assert_eq!(ids.remove(&narrow).expect("ids"), [2, 0]);
        assert_eq!(ids.find(&first).expect("ids"), [None, Some(1), None]);
    }
}
