//! Numbers for values, so that what works on numbers works on columns of any type.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef};
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::SqlError;
use crate::error::arrow_error;

/// Values that have been seen, numbered from 0 in the order of their first appearance.
#[derive(Default)]
pub(crate) struct Keys {
    converter: Option<RowConverter>,
    numbers: HashMap<OwnedRow, u32>,
}

impl Keys {
    /// The number of each value of a column; `None` for NULL. All columns must have one type.
    ///
    /// # Errors
    /// When values can't be compared.
    pub(crate) fn of(&mut self, column: &ArrayRef) -> Result<Vec<Option<u32>>, SqlError> {
        let rows = self.rows(column)?;
        let number = |(row, value): (usize, OwnedRow)| {
            let next = self.numbers.len() as u32;
            column.is_valid(row).then(|| *self.numbers.entry(value).or_insert(next))
        };
        Ok(rows.into_iter().enumerate().map(number).collect())
    }

    /// The number of each value that has been seen; `None` for others and for NULL.
    ///
    /// # Errors
    /// When values can't be compared.
    pub(crate) fn find(&mut self, column: &ArrayRef) -> Result<Vec<Option<u32>>, SqlError> {
        let rows = self.rows(column)?;
        Ok(rows.iter().map(|value| self.numbers.get(value).copied()).collect())
    }

    fn rows(&mut self, column: &ArrayRef) -> Result<Vec<OwnedRow>, SqlError> {
        let converter = match &mut self.converter {
            Some(converter) => converter,
            empty => {
                let field = SortField::new(column.data_type().clone());
                let new = RowConverter::new(vec![field]).map_err(|error| arrow_error(&error))?;
                empty.insert(new)
            }
        };
        let rows = converter.convert_columns(std::slice::from_ref(column));
        Ok(rows.map_err(|error| arrow_error(&error))?.iter().map(|row| row.owned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn values_keep_their_number() {
        let mut keys = Keys::default();
        let column =
            |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let first = keys.of(&column(vec![Some("a"), None, Some("b"), Some("a")]));
        assert_eq!(first.expect("strings"), [Some(0), None, Some(1), Some(0)]);
        let found = keys.find(&column(vec![Some("b"), Some("c"), None]));
        assert_eq!(found.expect("strings"), [Some(1), None, None]);
    }
}
