//! A collected input: ids, texts, vectors and the columns that go along, row by row.
//!
//! Columns stay in the pieces that they came in. What is found is gathered from them, so a column
//! of texts is never copied as a whole.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use sembla_operators::UnitVectors;

use super::roles::Roles;
use crate::SqlError;
use crate::error::arrow_error;

/// A column in pieces.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    data_type: DataType,
    pieces: Arc<[ArrayRef]>,
    /// The row each piece begins with.
    starts: Arc<[usize]>,
}

impl Column {
    /// A column of pieces of that type.
    pub(crate) fn new(data_type: DataType, pieces: Vec<ArrayRef>) -> Self {
        let pieces: Vec<ArrayRef> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let starts = pieces.iter().scan(0, |next, piece| {
            let start = *next;
            *next += piece.len();
            Some(start)
        });
        Self { data_type, starts: starts.collect(), pieces: pieces.into() }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        match (self.starts.last(), self.pieces.last()) {
            (Some(start), Some(piece)) => start + piece.len(),
            _ => 0,
        }
    }

    /// The type of its values.
    pub(crate) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// The pieces.
    pub(crate) fn pieces(&self) -> &[ArrayRef] {
        &self.pieces
    }

    /// The piece and the place in it where a row lies.
    fn place(&self, row: usize) -> (usize, usize) {
        let piece = self.starts.partition_point(|start| *start <= row).saturating_sub(1);
        (piece, row - self.starts.get(piece).copied().unwrap_or_default())
    }

    /// The values of some rows, in the order given.
    ///
    /// # Errors
    /// When arrow can't put them into one array.
    pub(crate) fn gather(&self, rows: impl Iterator<Item = u32>) -> Result<ArrayRef, SqlError> {
        let places: Vec<(usize, usize)> = rows.map(|row| self.place(row as usize)).collect();
        if places.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        let pieces: Vec<&dyn Array> = self.pieces.iter().map(AsRef::as_ref).collect();
        interleave(&pieces, &places).map_err(|error| arrow_error(&error))
    }

    /// The text of a row of a column of strings; `None` for NULL.
    pub(crate) fn text(&self, row: usize) -> Option<&str> {
        let (piece, place) = self.place(row);
        let piece = self.pieces.get(piece)?;
        if piece.is_null(place) {
            return None;
        }
        match piece.data_type() {
            DataType::Utf8 => Some(piece.as_string::<i32>().value(place)),
            DataType::LargeUtf8 => Some(piece.as_string::<i64>().value(place)),
            DataType::Utf8View => Some(piece.as_string_view().value(place)),
            _ => None,
        }
    }
}

/// A collected input, or the rows of it that belong to one group.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Which rows of the columns these are; `None` is all.
    rows: Option<Arc<[u32]>>,
    /// The columns that have a role, but for vectors. Ids are always there.
    pub(crate) roles: Roles<Column>,
    /// The vectors of these rows; without rows where the input has none.
    vectors: UnitVectors,
    /// The columns that go along.
    pub(crate) carried: Vec<Column>,
    ids: Column,
}

impl Table {
    /// A table of all rows.
    pub(crate) fn new(
        ids: Column,
        roles: Roles<Column>,
        vectors: UnitVectors,
        carried: Vec<Column>,
    ) -> Self {
        Self { rows: None, roles, vectors, carried, ids }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows.as_ref().map_or_else(|| self.ids.len(), |rows| rows.len())
    }

    /// The vectors, one for each row.
    pub(crate) fn vectors(&self) -> &UnitVectors {
        &self.vectors
    }

    /// Puts other vectors in the place of those of all rows.
    pub(crate) fn set_vectors(&mut self, vectors: UnitVectors) {
        self.vectors = vectors;
    }

    /// The text of a row; `None` for NULL.
    pub(crate) fn text(&self, row: usize) -> Option<&str> {
        self.roles.text.as_ref()?.text(self.origin(row as u32) as usize)
    }

    /// All texts; NULL is the empty one.
    pub(crate) fn texts(&self) -> Vec<&str> {
        (0..self.rows()).map(|row| self.text(row).unwrap_or_default()).collect()
    }

    /// The ids of some rows.
    ///
    /// # Errors
    /// When arrow can't put them into one array.
    pub(crate) fn ids(&self, rows: impl IntoIterator<Item = u32>) -> Result<ArrayRef, SqlError> {
        self.gather(&self.ids, rows)
    }

    /// The values of some rows of what an own option of the finding names, if it was given.
    ///
    /// # Errors
    /// When arrow can't put them into one array.
    pub(crate) fn extra(
        &self,
        option: &str,
        rows: impl IntoIterator<Item = u32>,
    ) -> Result<Option<ArrayRef>, SqlError> {
        let column = self.roles.extras.iter().find(|(name, _)| *name == option);
        column.map(|(_, column)| self.gather(column, rows)).transpose()
    }

    /// All values of a column that planning has seen.
    ///
    /// # Errors
    /// When it is not there, or arrow can't put them into one array.
    pub(crate) fn whole(&self, name: &str) -> Result<ArrayRef, SqlError> {
        let missing = || SqlError::Bug(format!("there is no column {name}"));
        self.extra(name, 0..self.rows() as u32)?.ok_or_else(missing)
    }

    /// The values of some rows of one of this table's columns.
    pub(crate) fn gather(
        &self,
        column: &Column,
        rows: impl IntoIterator<Item = u32>,
    ) -> Result<ArrayRef, SqlError> {
        column.gather(rows.into_iter().map(|row| self.origin(row)))
    }

    /// Some rows of a table that is not a selection itself.
    pub(crate) fn select(&self, rows: Vec<u32>) -> Self {
        let vectors = match self.vectors.rows() {
            0 => UnitVectors::default(),
            _ => self.vectors.select(&rows),
        };
        Self { rows: Some(rows.into()), vectors, ..self.clone_columns() }
    }

    fn clone_columns(&self) -> Self {
        Self {
            rows: None,
            roles: self.roles.clone(),
            vectors: UnitVectors::default(),
            carried: self.carried.clone(),
            ids: self.ids.clone(),
        }
    }

    /// The row of the columns that a row of this table is.
    fn origin(&self, row: u32) -> u32 {
        match &self.rows {
            Some(rows) => rows.get(row as usize).copied().unwrap_or(row),
            None => row,
        }
    }
}
