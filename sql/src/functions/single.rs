//! Functions of one vector: its length, its dimension, its beginning, its direction.
//!
//! `array_normalize` (`list_normalize`) is DataFusion's for every type but fixed-size lists of f32.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_nested::array_normalize::array_normalize_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};
use sembla_operators::similarity;

use super::declaration::{Declaration, Parameter};
use super::lists;
use super::vectors::{Shape, Vectors, is_list_of_f32, vector_array, vector_type};
use crate::SqlError;

const VECTOR: Parameter =
    Parameter { name: "vector", about: "Vector: a list of numbers of any kind, read as f32." };

const ONE: &[Parameter] = &[VECTOR];

const WITH_DIMENSION: &[Parameter] = &[
    VECTOR,
    Parameter { name: "dimension", about: "Literal: how many components to keep, at least 1." },
];

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Norm,
    Dimension,
    Truncate,
    Normalize,
}

/// A function of one vector.
#[derive(Debug, PartialEq, Eq, Hash)]
struct VectorFunction {
    declaration: Declaration,
    kind: Kind,
    /// DataFusion's function of that name, for types other than fixed-size lists of f32.
    other_types: Option<Arc<ScalarUDF>>,
}

/// All functions of this file.
pub(crate) fn functions() -> Vec<ScalarUDF> {
    let norm = Declaration::new(
        "vector_norm",
        ONE,
        1,
        "Euclidean length of a vector, as Float64. NULL if it is NULL or holds a NULL.",
        "> SELECT vector_norm([3.0, 4.0]);\n5.0",
    );
    let dimension = Declaration::new(
        "vector_dims",
        ONE,
        1,
        "Number of components of a vector, as Int64. NULL if it is NULL or holds a NULL.",
        "> SELECT vector_dims([3.0, 4.0]);\n2",
    );
    let truncate = Declaration::new(
        "truncate_vector",
        WITH_DIMENSION,
        2,
        "The first components of a vector, as FixedSizeList<Float32, dimension>, not normalised again. NULL if it is NULL \
         or holds a NULL. A vector that has fewer is an error that names both.",
        "> SELECT truncate_vector([1.0, 2.0, 3.0], 2);\n[1.0, 2.0]",
    );
    let theirs = array_normalize_udf();
    let mut normalize = Declaration::new("array_normalize", ONE, 1, "", "");
    normalize.aliases = theirs.aliases().to_vec();
    if let Some(documentation) = theirs.documentation() {
        normalize.documentation = documentation.clone();
    }
    let own = |(declaration, kind)| VectorFunction { declaration, kind, other_types: None };
    [(norm, Kind::Norm), (dimension, Kind::Dimension), (truncate, Kind::Truncate)]
        .map(own)
        .into_iter()
        .chain([VectorFunction {
            declaration: normalize,
            kind: Kind::Normalize,
            other_types: Some(theirs),
        }])
        .map(ScalarUDF::from)
        .collect()
}

impl VectorFunction {
    /// DataFusion's function, if it is the one for these types.
    fn theirs<'a>(&self, mut types: impl Iterator<Item = &'a DataType>) -> Option<&ScalarUDF> {
        let ours = |data_type: &DataType| is_list_of_f32(data_type) && fixed(data_type).is_some();
        self.other_types.as_deref().filter(|_| !types.any(ours))
    }

    fn compute(&self, vectors: &Vectors, rows: usize, result: &DataType) -> Result<ArrayRef> {
        let all = (0..rows).map(|row| vectors.row(row));
        Ok(match self.kind {
            Kind::Norm => {
                Arc::new(all.map(|row| row.map(similarity::norm)).collect::<Float64Array>())
            }
            Kind::Dimension => Arc::new(
                all.map(|row| row.map(|vector| vector.len() as i64)).collect::<Int64Array>(),
            ),
            Kind::Truncate => {
                let dimension = fixed(result).unwrap_or_default();
                let truncated =
                    all.map(|row| row.map(|row| self.truncate(row, dimension)).transpose());
                vector_rows(truncated, dimension, rows)?
            }
            Kind::Normalize => {
                let normalized = all.map(|row| Ok(row.and_then(similarity::normalized)));
                vector_rows(normalized, fixed(result).unwrap_or_default(), rows)?
            }
        })
    }

    fn truncate(&self, vector: &[f32], dimension: usize) -> Result<Vec<f32>, SqlError> {
        match vector.get(..dimension) {
            Some(beginning) => Ok(beginning.to_vec()),
            None => Err(too_short(vector.len(), dimension)),
        }
    }

    fn result_type(&self, args: &ReturnFieldArgs) -> Result<DataType, SqlError> {
        self.declaration.check_count(args.arg_fields.len())?;
        let Some(vector) = args.arg_fields.first() else {
            return Ok(DataType::Null);
        };
        let shape = Shape::of(self.declaration.name, vector.data_type())?;
        match (self.kind, shape) {
            (Kind::Norm, _) => Ok(DataType::Float64),
            (Kind::Dimension, _) => Ok(DataType::Int64),
            (Kind::Normalize, Shape::Fixed(dimension)) => vector_type(dimension),
            (Kind::Normalize, _) => Ok(vector.data_type().clone()),
            (Kind::Truncate, shape) => {
                let dimension = literal_dimension(args.scalar_arguments.get(1).copied().flatten())?;
                match shape {
                    Shape::Fixed(has) if has < dimension => Err(too_short(has, dimension)),
                    _ => vector_type(dimension),
                }
            }
        }
    }
}

/// The number of components that a type fixes.
fn fixed(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeList(_, size) => usize::try_from(*size).ok(),
        _ => None,
    }
}

fn too_short(has: usize, asked: usize) -> SqlError {
    SqlError::Data(format!("truncate_vector: a vector of {has} components has no first {asked}"))
}

fn literal_dimension(value: Option<&ScalarValue>) -> Result<usize, SqlError> {
    let number = match value {
        Some(ScalarValue::Int64(Some(number))) => usize::try_from(*number).ok(),
        Some(ScalarValue::UInt64(Some(number))) => usize::try_from(*number).ok(),
        Some(ScalarValue::Int32(Some(number))) => usize::try_from(*number).ok(),
        _ => None,
    };
    number.filter(|number| *number > 0).ok_or_else(|| {
        SqlError::Statement(
            "truncate_vector: the dimension must be a literal whole number of at least 1".into(),
        )
    })
}

/// An array of rows of so many components, some of them NULL.
fn vector_rows(
    rows: impl Iterator<Item = Result<Option<Vec<f32>>, SqlError>>,
    dimension: usize,
    count: usize,
) -> Result<ArrayRef> {
    let mut values = Vec::with_capacity(count * dimension);
    let mut valid = Vec::with_capacity(count);
    for row in rows {
        let row = row?;
        valid.push(row.is_some());
        values.extend(row.unwrap_or_else(|| vec![0.0; dimension]));
    }
    vector_array(dimension, values, Some(NullBuffer::from(valid)), count)
}

impl ScalarUDFImpl for VectorFunction {
    fn name(&self) -> &str {
        self.declaration.name
    }

    fn aliases(&self) -> &[String] {
        &self.declaration.aliases
    }

    fn signature(&self) -> &Signature {
        &self.declaration.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.declaration.documentation)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match self.theirs(types.iter()) {
            Some(theirs) => lists::coerced(theirs, types),
            None => Ok(types.to_vec()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(format!(
            "the type of {} depends on its arguments",
            self.name()
        )))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        if let Some(theirs) = self.theirs(args.arg_fields.iter().map(|field| field.data_type())) {
            return theirs.return_field_from_args(args);
        }
        Ok(Arc::new(Field::new(self.name(), self.result_type(&args)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(theirs) = self.theirs(args.arg_fields.iter().map(|field| field.data_type())) {
            return theirs.invoke_with_args(args);
        }
        let Some(vector) = args.args.first() else {
            return Err(DataFusionError::Internal(format!("{} takes a vector", self.name())));
        };
        let vectors = Vectors::new(vector)?;
        if vectors.is_scalar() {
            let array = self.compute(&vectors, 1, args.return_type())?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(self.compute(&vectors, args.number_rows, args.return_type())?))
    }
}
