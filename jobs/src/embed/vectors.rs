//! Between Arrow and the model: texts out of a column, vectors into one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, LargeStringArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use sembla_models::Embeddings;

use super::parts::COMPONENT;
use crate::failure::{Failure, Result};

/// The texts of a batch.
pub(crate) struct Texts(LargeStringArray);

impl Texts {
    /// Takes the texts out of a column of any type that holds text.
    ///
    /// # Errors
    /// When the column can't be read as text.
    pub(crate) fn new(column: &ArrayRef) -> Result<Self> {
        let column = cast(column, &DataType::LargeUtf8)
            .map_err(|error| Failure::other(format!("reading the texts: {error}")))?;
        Ok(Self(column.as_string::<i64>().clone()))
    }

    /// All texts; `None` for NULL.
    pub(crate) fn all(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter()
    }

    /// The texts that are not NULL, in order.
    pub(crate) fn present(&self) -> Vec<&str> {
        self.0.iter().flatten().collect()
    }

    /// Number of NULLs.
    pub(crate) fn nulls(&self) -> usize {
        self.0.null_count()
    }
}

/// `FixedSizeList<Float32, dimension>`.
///
/// # Errors
/// When the dimension is beyond what Arrow can hold.
pub(crate) fn vector_type(dimension: usize) -> Result<DataType> {
    Ok(DataType::FixedSizeList(component(), size(dimension)?))
}

/// The vectors as a column with a row for each of `texts`: NULL where the text is NULL.
///
/// # Errors
/// When the number of vectors of `dimension` components is not the number of texts.
pub(crate) fn column(embeddings: Embeddings, dimension: usize, texts: &Texts) -> Result<ArrayRef> {
    let nulls = texts.0.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    list(embeddings, dimension, nulls, texts.0.len())
}

/// The vectors as a column of `rows` rows: those that are not NULL have one each.
///
/// # Errors
/// When the number of vectors is another.
pub(crate) fn list(
    embeddings: Embeddings,
    dimension: usize,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef> {
    let values = match &nulls {
        Some(nulls) => with_gaps(&embeddings, dimension, nulls),
        None => embeddings.values,
    };
    let list = FixedSizeListArray::try_new(
        component(),
        size(dimension)?,
        Arc::new(Float32Array::from(values)),
        nulls,
    )
    .map_err(|error| Failure::other(format!("internal error: {error}")))?;
    if list.len() != rows {
        return Err(Failure::other(format!(
            "internal error: {} vectors for {rows} texts",
            list.len()
        )));
    }
    Ok(Arc::new(list))
}

/// The components with zeros in the place of each NULL row.
fn with_gaps(embeddings: &Embeddings, dimension: usize, nulls: &NullBuffer) -> Vec<f32> {
    let mut values = vec![0.0; nulls.len() * dimension];
    let rows = nulls.valid_indices();
    for (row, vector) in rows.zip(embeddings.values.chunks_exact(dimension.max(1))) {
        values[row * dimension..][..dimension].copy_from_slice(vector);
    }
    values
}

/// The type of a vector's component.
fn component() -> FieldRef {
    Arc::new(Field::new(COMPONENT, DataType::Float32, true))
}

/// A dimension as Arrow counts.
fn size(dimension: usize) -> Result<i32> {
    i32::try_from(dimension).map_err(|_| {
        Failure::other(format!("vectors of {dimension} components are too long for a column"))
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn a_null_text_has_a_null_vector() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b")]));
        let texts = Texts::new(&texts).expect("texts");
        assert_eq!(texts.present(), ["a", "b"]);
        let embeddings = Embeddings { dimension: 2, values: vec![1.0, 2.0, 3.0, 4.0] };
        let column = column(embeddings, 2, &texts).expect("column");
        let column = column.as_fixed_size_list();
        assert!(column.is_null(1));
        let last = column.value(2);
        let last = last.as_primitive::<arrow::datatypes::Float32Type>();
        assert_eq!(last.values().as_ref(), [3.0, 4.0]);
    }
}
