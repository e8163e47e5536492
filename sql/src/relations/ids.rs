//! Ids name rows, so they are there and differ. In different groups the same row may come again,
//! as it does in windows that overlap.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef};
use arrow::row::{RowConverter, SortField};
use sembla_operators::{Host, Loan, host};

use super::table::Column;
use crate::SqlError;
use crate::columns::shown;
use crate::error::arrow_error;

/// Checks that no id is NULL and none is there twice in one group.
///
/// # Errors
/// [`SqlError::Data`] with the first id that is, what the host says.
pub(crate) fn check(
    input: &str,
    ids: &Column,
    groups: &[Column],
    host: &dyn Host,
) -> Result<(), SqlError> {
    let columns = || std::iter::once(ids).chain(groups);
    let fields = columns().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(|error| arrow_error(&error))?;
    let mut converted = Vec::with_capacity(ids.pieces().len());
    let mut loan = Loan::new(host, 0)?;
    let mut bytes = ids.len() * 2 * size_of::<&[u8]>();
    let mut row = 0;
    for (number, piece) in ids.pieces().iter().enumerate() {
        host::check(host)?;
        if let Some(null) = (0..piece.len()).find(|row| piece.is_null(*row)) {
            return Err(SqlError::Data(format!(
                "row {} of the {input} has no id (NULL); leave such rows out, or name another column with id => …",
                row + null
            )));
        }
        row += piece.len();
        let pieces: Vec<ArrayRef> =
            columns().filter_map(|column| column.pieces().get(number).cloned()).collect();
        let rows = converter.convert_columns(&pieces).map_err(|error| arrow_error(&error))?;
        bytes += rows.size();
        loan.resize(bytes)?;
        converted.push(rows);
    }
    let mut seen: HashSet<&[u8]> = HashSet::with_capacity(ids.len());
    for (rows, piece) in converted.iter().zip(ids.pieces()) {
        host::check(host)?;
        for (row, id) in rows.iter().enumerate() {
            if !seen.insert(id.data()) {
                return Err(SqlError::Data(format!(
                    "id {} is in the {input} twice, but ids must be unique; name another column with id => …, or keep one row of each",
                    shown(piece, row)?
                )));
            }
        }
    }
    Ok(())
}
