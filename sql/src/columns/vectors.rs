//! Vector arguments of functions: lists of numbers of any kind, read as rows of f32.
//!
//! Lists of f32 are read in place. Other numbers are cast once for the whole column. A row is NULL
//! if its list is NULL or holds a NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ColumnarValue;
use sembla_operators::DimensionMismatch;

use crate::SqlError;

/// What the type of an argument tells of its vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// NULL without a type.
    Null,
    /// Every vector has so many components.
    Fixed(usize),
    /// Each row has its own number of components.
    Varying,
}

impl Shape {
    /// The shape of a type.
    ///
    /// # Errors
    /// [`SqlError::Statement`] when the type is not a list of numbers.
    pub(crate) fn of(function: &str, data_type: &DataType) -> Result<Self, SqlError> {
        let (item, shape) = match data_type {
            DataType::Null => return Ok(Self::Null),
            DataType::FixedSizeList(item, size) => {
                (item, Self::Fixed(usize::try_from(*size).unwrap_or_default()))
            }
            DataType::List(item) | DataType::LargeList(item) => (item, Self::Varying),
            other => return Err(not_a_vector(function, other)),
        };
        if item.data_type().is_numeric() || item.data_type().is_null() {
            return Ok(shape);
        }
        Err(not_a_vector(function, data_type))
    }
}

/// Whether a type is a list of f32, of whatever kind.
pub(crate) fn is_list_of_f32(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
            item.data_type() == &DataType::Float32
        }
        _ => false,
    }
}

/// The field inside a list of that type. It can be NULL, as DataFusion expects of lists.
pub(crate) fn item_field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, true))
}

/// The type of vectors of so many f32.
///
/// # Errors
/// When arrow can't count so far.
pub(crate) fn vector_type(dimension: usize) -> Result<DataType, SqlError> {
    Ok(DataType::FixedSizeList(item_field(DataType::Float32), list_size(dimension)?))
}

/// A dimension as arrow counts it.
///
/// # Errors
/// When arrow can't count so far.
pub(crate) fn list_size(dimension: usize) -> Result<i32, SqlError> {
    i32::try_from(dimension)
        .map_err(|_| SqlError::Statement(format!("a vector can't have {dimension} components")))
}

/// An array of vectors of so many f32.
///
/// # Errors
/// When the number of values is not that of the rows.
pub(crate) fn vector_array(
    dimension: usize,
    values: Vec<f32>,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, DataFusionError> {
    let values = Arc::new(arrow::array::Float32Array::from(values));
    let array = FixedSizeListArray::try_new_with_length(
        item_field(DataType::Float32),
        list_size(dimension)?,
        values,
        nulls,
        rows,
    )?;
    Ok(Arc::new(array))
}

/// Vectors with zeros between them where a row has none.
pub(crate) fn spread(values: &[f32], dimension: usize, valid: &[bool]) -> Vec<f32> {
    let mut given = values.chunks_exact(dimension.max(1));
    let mut out = Vec::with_capacity(valid.len() * dimension);
    for is_valid in valid {
        match is_valid.then(|| given.next()).flatten() {
            Some(vector) => out.extend_from_slice(vector),
            None => out.resize(out.len() + dimension, 0.0),
        }
    }
    out
}

/// A column of vectors, or one vector that stands for every row.
pub(crate) struct Vectors {
    values: ScalarBuffer<f32>,
    bounds: Bounds,
    /// Position of the first value: those before it belong to rows that were sliced away.
    base: usize,
    nulls: Option<NullBuffer>,
    is_scalar: bool,
}

/// Where each row lies among the values.
enum Bounds {
    Fixed(usize),
    Small(OffsetBuffer<i32>),
    Large(OffsetBuffer<i64>),
}

impl Vectors {
    /// Reads an argument whose type [`Shape::of`] has passed.
    ///
    /// # Errors
    /// When a number can't be cast to f32.
    pub(crate) fn new(value: &ColumnarValue) -> Result<Self, DataFusionError> {
        match value {
            ColumnarValue::Array(array) => Self::from_array(array, false),
            ColumnarValue::Scalar(scalar) => Self::from_array(&scalar.to_array()?, true),
        }
    }

    /// Reads a column.
    ///
    /// # Errors
    /// When a number can't be cast to f32.
    pub(crate) fn from_array(array: &ArrayRef, is_scalar: bool) -> Result<Self, DataFusionError> {
        let (items, bounds) = match array.data_type() {
            DataType::FixedSizeList(_, size) => {
                let size = usize::try_from(*size).unwrap_or_default();
                (array.as_fixed_size_list().values(), Bounds::Fixed(size))
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                (list.values(), Bounds::Small(list.offsets().clone()))
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                (list.values(), Bounds::Large(list.offsets().clone()))
            }
            DataType::Null => {
                let empty = new_null_array(&vector_type(0)?, array.len());
                return Self::from_array(&empty, is_scalar);
            }
            other => return Err(not_a_vector("the function", other).into()),
        };
        let (base, end) = bounds.span(array.len());
        let items = cast(&items.slice(base, end - base), &DataType::Float32)?;
        let items = items.as_primitive::<Float32Type>();
        let mut vectors = Self {
            values: items.values().clone(),
            bounds,
            base,
            nulls: array.nulls().cloned(),
            is_scalar,
        };
        if items.null_count() > 0 {
            vectors.hide_rows_with_nulls(items.nulls(), array.len());
        }
        Ok(vectors)
    }

    /// Whether one vector stands for every row.
    pub(crate) fn is_scalar(&self) -> bool {
        self.is_scalar
    }

    /// The vector of a row; `None` for NULL.
    pub(crate) fn row(&self, row: usize) -> Option<&[f32]> {
        let row = if self.is_scalar { 0 } else { row };
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let (start, end) = self.bounds.of(row);
        self.values.get(start - self.base..end - self.base)
    }

    fn hide_rows_with_nulls(&mut self, items: Option<&NullBuffer>, rows: usize) {
        let Some(items) = items else { return };
        let whole = BooleanBuffer::collect_bool(rows, |row| {
            let (start, end) = self.bounds.of(row);
            items.slice(start - self.base, end - start).null_count() == 0
        });
        self.nulls = NullBuffer::union(self.nulls.as_ref(), Some(&NullBuffer::new(whole)));
    }
}

impl Bounds {
    /// Where the first of so many rows begins and the last ends.
    fn span(&self, rows: usize) -> (usize, usize) {
        match rows.checked_sub(1) {
            Some(last) => (self.of(0).0, self.of(last).1),
            None => (0, 0),
        }
    }

    fn of(&self, row: usize) -> (usize, usize) {
        match self {
            Self::Fixed(size) => (row * size, (row + 1) * size),
            Self::Small(offsets) => (offsets[row] as usize, offsets[row + 1] as usize),
            Self::Large(offsets) => (offsets[row] as usize, offsets[row + 1] as usize),
        }
    }
}

/// The error for vectors that do not fit each other.
pub(crate) fn mismatch(function: &str, mismatch: DimensionMismatch) -> SqlError {
    SqlError::Data(format!(
        "{function}: the vectors have {} and {} components; they must have the same number",
        mismatch.left, mismatch.right
    ))
}

fn not_a_vector(function: &str, data_type: &DataType) -> SqlError {
    let mend = match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            "; embed(…) makes the vector of a text, parse_vector(…) reads one such as '[0.1, 0.2]'"
        }
        _ => "",
    };
    SqlError::Statement(format!(
        "{function} takes vectors (lists of numbers), not {data_type}{mend}"
    ))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int32Array, LargeListArray, ListArray};
    use arrow::datatypes::{Float64Type, Int32Type};

    use super::*;

    fn rows(array: ArrayRef) -> Vec<Option<Vec<f32>>> {
        let vectors = Vectors::from_array(&array, false).expect("numbers");
        (0..array.len()).map(|row| vectors.row(row).map(<[f32]>::to_vec)).collect()
    }

    #[test]
    fn lists_of_every_kind_are_read() {
        let lists = [Some(vec![Some(1), Some(2)]), None, Some(vec![Some(3), None]), Some(vec![])];
        let expected = vec![Some(vec![1.0, 2.0]), None, None, Some(vec![])];
        let small = ListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone());
        assert_eq!(rows(Arc::new(small)), expected);
        let large = LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists);
        assert_eq!(rows(Arc::new(large)), expected);
    }

    #[test]
    fn a_slice_is_read_from_its_own_beginning() {
        let lists = (0..5).map(|n| Some(vec![Some(f64::from(n)); n as usize]));
        let list = ListArray::from_iter_primitive::<Float64Type, _, _>(lists).slice(2, 2);
        assert_eq!(rows(Arc::new(list)), [Some(vec![2.0; 2]), Some(vec![3.0; 3])]);
        let fixed = FixedSizeListArray::try_new(
            item_field(DataType::Float64),
            2,
            Arc::new(Float64Array::from(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])),
            None,
        );
        let fixed = fixed.expect("three rows").slice(1, 1);
        assert_eq!(rows(Arc::new(fixed)), [Some(vec![2.0, 3.0])]);
    }

    #[test]
    fn what_is_no_list_of_numbers_is_refused() {
        for data_type in [DataType::Utf8, DataType::List(item_field(DataType::Utf8))] {
            assert!(Shape::of("f", &data_type).is_err(), "{data_type}");
        }
        let array: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert!(Vectors::from_array(&array, false).is_err());
    }

    #[test]
    fn rows_without_a_text_stand_between() {
        let spread = spread(&[1.0, 2.0, 3.0, 4.0], 2, &[false, true, false, true]);
        assert_eq!(spread, [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
    }
}
