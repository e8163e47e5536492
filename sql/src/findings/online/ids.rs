//! Ids as bytes, so that a state can name rows of earlier windows by them.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::{cast, interleave};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use crate::SqlError;
use crate::error::arrow_error;
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

/// Turns ids of one type to bytes and back.
#[derive(Debug)]
pub(crate) struct IdBytes {
    data_type: DataType,
    converter: RowConverter,
}

impl IdBytes {
    /// For ids of that type.
    ///
    /// # Errors
    /// When values of that type can't be turned to bytes.
    pub(crate) fn new(data_type: DataType) -> Result<Self, SqlError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())]);
        Ok(Self { data_type, converter: converter.map_err(|error| arrow_error(&error))? })
    }

    /// The ids of all rows of a table, as bytes.
    ///
    /// # Errors
    /// When arrow can't convert them.
    pub(crate) fn of(&self, table: &Table) -> Result<Rows, SqlError> {
        let ids = table.ids(0..table.rows() as u32)?;
        self.converter.convert_columns(&[ids]).map_err(|error| arrow_error(&error))
    }

    /// The ids that bytes stand for.
    ///
    /// # Errors
    /// When arrow can't convert them.
    pub(crate) fn column<'a>(
        &self,
        bytes: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<ArrayRef, SqlError> {
        if bytes.len() == 0 {
            return Ok(new_empty_array(&self.data_type));
        }
        let parser = self.converter.parser();
        let rows: Vec<_> = bytes.map(|bytes| parser.parse(bytes)).collect();
        let columns = self.converter.convert_rows(rows).map_err(|error| arrow_error(&error))?;
        let column = columns.into_iter().next();
        let column = column.ok_or_else(|| SqlError::Bug("ids can't become a column".into()))?;
        // Rows of a dictionary come back as its values.
        cast(&column, &self.data_type).map_err(|error| arrow_error(&error))
    }

    /// Ids of which some are of rows of the window and some of earlier ones: for each place `(0,
    /// row)` that of a row of `here`, for `(1, position)` that of `earlier` at the position.
    ///
    /// # Errors
    /// When arrow can't convert them.
    pub(crate) fn of_both<'a>(
        &self,
        here: &ArrayRef,
        earlier: impl ExactSizeIterator<Item = &'a [u8]>,
        places: &[(usize, usize)],
    ) -> Result<ArrayRef, SqlError> {
        let earlier = self.column(earlier)?;
        interleave(&[here.as_ref(), earlier.as_ref()], places).map_err(|error| arrow_error(&error))
    }

    /// A state with the type of its ids before it.
    pub(crate) fn with_type(&self, state: &[u8]) -> Vec<u8> {
        let data_type = self.data_type.to_string();
        [data_type.as_bytes(), &[0], state].concat()
    }

    /// The state behind the type of its ids.
    ///
    /// # Errors
    /// [`SqlError::Data`] when ids have another type now.
    pub(crate) fn without_type<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], SqlError> {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let (data_type, state) = bytes.split_at(end);
        if data_type != self.data_type.to_string().as_bytes() {
            return Err(SqlError::Data(format!(
                "the ids of the state are {}, but those of the query are {}; cast them, or start over without state",
                String::from_utf8_lossy(data_type.get(..40).unwrap_or(data_type)),
                self.data_type
            )));
        }
        Ok(state.get(1..).unwrap_or_default())
    }
}

/// The ids of a finding that names rows of earlier windows, which row numbers can't.
///
/// # Errors
/// [`SqlError::Statement`] when no column names them.
pub(crate) fn named(input: Option<&InputTypes>) -> Result<Arc<IdBytes>, SqlError> {
    let Some(data_type) = input.and_then(|input| input.roles.id.clone()) else {
        return Err(SqlError::Statement(
            "rows of earlier windows are named by their id, but the input has no column id; name the column with id => …"
                .into(),
        ));
    };
    Ok(Arc::new(IdBytes::new(data_type)?))
}
