//! Functions of one vector: its length, its dimension, its beginning, its direction.
//!
//! `array_normalize` (`list_normalize`) is DataFusion's for every type but fixed-size lists of f32.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_nested::array_normalize::array_normalize_udf;
use sembla_models::provenance::{DIMENSION, NORMALIZED};
use sembla_operators::similarity;

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::{Call, Planned, ScalarDef, StandIn};
use crate::SqlError;
use crate::columns::vectors::{Shape, is_list_of_f32, vector_array, vector_type};

const VECTOR: Parameter = Parameter {
    name: "vector",
    takes: Takes::Vector,
    about: "Vector: a list of numbers of any kind, read as f32.",
};

pub(super) static VECTOR_NORM: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "vector_norm",
        aliases: &[],
        parameters: &[VECTOR],
        required: 1,
        about: "Euclidean length of a vector, as Float64. NULL if it is NULL or holds a NULL.",
        example: "> SELECT vector_norm([3.0, 4.0]);\n5.0",
    },
    runs_model: false,
    stands_in: None,
    returns: |_| Ok(DataType::Float64),
    values: |call| {
        let vectors = call.vectors(0)?;
        let norms = (0..call.rows).map(|row| vectors.row(row).map(similarity::norm));
        Ok(Arc::new(norms.collect::<Float64Array>()))
    },
};

pub(super) static VECTOR_DIMS: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "vector_dims",
        aliases: &[],
        parameters: &[VECTOR],
        required: 1,
        about: "Number of components of a vector, as Int64. NULL if it is NULL or holds a NULL.",
        example: "> SELECT vector_dims([3.0, 4.0]);\n2",
    },
    runs_model: false,
    stands_in: None,
    returns: |_| Ok(DataType::Int64),
    values: |call| {
        let vectors = call.vectors(0)?;
        let lengths = (0..call.rows).map(|row| vectors.row(row).map(|vector| vector.len() as i64));
        Ok(Arc::new(lengths.collect::<Int64Array>()))
    },
};

pub(super) static TRUNCATE_VECTOR: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "truncate_vector",
        aliases: &[],
        parameters: &[
            VECTOR,
            Parameter {
                name: "dimension",
                takes: Takes::Literal,
                about: "Literal: how many components to keep, at least 1.",
            },
        ],
        required: 2,
        about: "The first components of a vector, as FixedSizeList<Float32, dimension>, not normalised again. NULL if it is NULL \
                or holds a NULL. A vector that has fewer is an error that names both.",
        example: "> SELECT truncate_vector([1.0, 2.0, 3.0], 2);\n[1.0, 2.0]",
    },
    runs_model: false,
    stands_in: None,
    returns: |call| {
        let dimension = literal_dimension(call.constant(1))?;
        match shape(call)? {
            Shape::Fixed(has) if has < dimension => Err(too_short(has, dimension)),
            _ => {
                says(call, &[(DIMENSION, &dimension.to_string()), (NORMALIZED, "false")]);
                vector_type(dimension)
            }
        }
    },
    values: |call| {
        let dimension = fixed(call.result()).unwrap_or_default();
        vector_rows(call, dimension, |vector| match vector.get(..dimension) {
            Some(beginning) => Ok(Some(beginning.to_vec())),
            None => Err(too_short(vector.len(), dimension)),
        })
    },
};

pub(super) static ARRAY_NORMALIZE: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "array_normalize",
        aliases: &[],
        parameters: &[VECTOR],
        required: 1,
        about: "",
        example: "",
    },
    runs_model: false,
    stands_in: Some(StandIn {
        theirs: array_normalize_udf,
        ours: |data_type| is_list_of_f32(data_type) && fixed(data_type).is_some(),
    }),
    returns: |call| match shape(call)? {
        Shape::Fixed(dimension) => {
            says(call, &[(NORMALIZED, "true")]);
            vector_type(dimension)
        }
        _ => Ok(call.type_of(0).cloned().unwrap_or(DataType::Null)),
    },
    values: |call| {
        let dimension = fixed(call.result()).unwrap_or_default();
        vector_rows(call, dimension, |vector| Ok(similarity::normalized(vector)))
    },
};

/// Has the result say what the vector says, with some of it changed. Of a vector that says nothing
/// nothing is known.
fn says(call: &Planned<'_>, changes: &[(&str, &str)]) {
    let mut provenance = call.provenance(0);
    for (key, value) in changes {
        provenance.entry((*key).to_string()).and_modify(|known| *known = (*value).to_string());
    }
    call.says(provenance);
}

/// What the type of the vector tells.
fn shape(call: &Planned<'_>) -> Result<Shape, SqlError> {
    Shape::of(call.name, call.type_of(0).unwrap_or(&DataType::Null))
}

/// The number of components that a type fixes.
fn fixed(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeList(_, size) => usize::try_from(*size).ok(),
        _ => None,
    }
}

fn too_short(has: usize, asked: usize) -> SqlError {
    SqlError::Data(format!(
        "truncate_vector: the vector has only {has} components, fewer than {asked}"
    ))
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
            "truncate_vector: the dimension must be a literal whole number >= 1".into(),
        )
    })
}

/// What comes of each vector, of so many components; some are NULL.
fn vector_rows(
    call: &Call<'_>,
    dimension: usize,
    change: impl Fn(&[f32]) -> Result<Option<Vec<f32>>, SqlError>,
) -> Result<ArrayRef> {
    let vectors = call.vectors(0)?;
    let mut values = Vec::with_capacity(call.rows * dimension);
    let mut valid = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let changed = vectors.row(row).map_or(Ok(None), &change)?;
        valid.push(changed.is_some());
        values.extend(changed.unwrap_or_else(|| vec![0.0; dimension]));
    }
    vector_array(dimension, values, Some(NullBuffer::from(valid)), call.rows)
}
