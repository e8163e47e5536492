//! Functions of two vectors that give a number: `cos_sim`, the distances and the dot product.
//!
//! Names that DataFusion has too keep its behaviour for every type but lists of f32, for which they
//! run on Sembla's kernels: `cosine_distance`, `inner_product` (`dot_product`) and `array_distance`
//! (`list_distance`).

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions_nested::{cosine_distance, distance, inner_product};
use sembla_operators::DimensionMismatch;
use sembla_operators::similarity::{self, Direction};

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::{Call, Planned, ScalarDef, StandIn};
use crate::SqlError;
use crate::columns::vectors::{Shape, is_list_of_f32, mismatch};

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "a",
        takes: Takes::Vector,
        about: "Vector: a list of numbers of any kind, read as f32.",
    },
    Parameter { name: "b", takes: Takes::Vector, about: "Vector of as many components." },
];

pub(super) static COS_SIM: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "cos_sim",
        aliases: &["cosine_similarity"],
        parameters: PARAMETERS,
        required: 2,
        about: "Cosine of the angle between two vectors, from -1 to 1, as Float64. NULL if a vector is NULL, holds a NULL or a \
                NaN, or has only zeros. Vectors of different dimension are an error that names both, and so are those of two models, where \
                that is known.",
        example: "> SELECT cos_sim([1.0, 0.0], [1.0, 1.0]);\n0.7071067811865475",
    },
    runs_model: false,
    stands_in: None,
    returns,
    values: |call| measured(call, Measure::Cosine),
};

pub(super) static L2_DISTANCE: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "l2_distance",
        aliases: &["euclidean_distance"],
        parameters: PARAMETERS,
        required: 2,
        about: "Euclidean distance between two vectors, as Float64. NULL if a vector is NULL or holds a NULL or a NaN. Vectors of \
                different dimension are an error that names both.",
        example: "> SELECT l2_distance([0.0, 0.0], [3.0, 4.0]);\n5.0",
    },
    runs_model: false,
    stands_in: None,
    returns,
    values: |call| measured(call, Measure::L2),
};

pub(super) static MANHATTAN_DISTANCE: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "manhattan_distance",
        aliases: &[],
        parameters: PARAMETERS,
        required: 2,
        about: "Sum of the absolute differences of the components of two vectors, as Float64. NULL if a vector is NULL or \
                holds a NULL or a NaN. Vectors of different dimension are an error that names both.",
        example: "> SELECT manhattan_distance([0.0, 0.0], [3.0, -4.0]);\n7.0",
    },
    runs_model: false,
    stands_in: None,
    returns,
    values: |call| measured(call, Measure::Manhattan),
};

pub(super) static COSINE_DISTANCE: ScalarDef = ScalarDef {
    declaration: theirs("cosine_distance"),
    runs_model: false,
    stands_in: Some(StandIn { theirs: cosine_distance::cosine_distance_udf, ours: is_list_of_f32 }),
    returns,
    values: |call| measured(call, Measure::CosineDistance),
};

pub(super) static INNER_PRODUCT: ScalarDef = ScalarDef {
    declaration: theirs("inner_product"),
    runs_model: false,
    stands_in: Some(StandIn { theirs: inner_product::inner_product_udf, ours: is_list_of_f32 }),
    returns,
    values: |call| measured(call, Measure::Dot),
};

pub(super) static ARRAY_DISTANCE: ScalarDef = ScalarDef {
    declaration: theirs("array_distance"),
    runs_model: false,
    stands_in: Some(StandIn { theirs: distance::array_distance_udf, ours: is_list_of_f32 }),
    returns,
    values: |call| measured(call, Measure::L2),
};

/// The declaration of a function whose names and documentation are DataFusion's.
const fn theirs(name: &'static str) -> Declaration {
    Declaration { name, aliases: &[], parameters: PARAMETERS, required: 2, about: "", example: "" }
}

/// What is computed.
#[derive(Clone, Copy)]
enum Measure {
    Cosine,
    CosineDistance,
    Dot,
    L2,
    Manhattan,
}

fn returns(call: &Planned<'_>) -> Result<DataType, SqlError> {
    call.refuse_two_models()?;
    let shape = |position| match call.type_of(position) {
        Some(data_type) => Shape::of(call.name, data_type),
        None => Ok(Shape::Null),
    };
    match (shape(0)?, shape(1)?) {
        (Shape::Fixed(left), Shape::Fixed(right)) if left != right => {
            Err(mismatch(call.name, DimensionMismatch { left, right }))
        }
        _ => Ok(DataType::Float64),
    }
}

fn measured(call: &Call<'_>, measure: Measure) -> Result<ArrayRef> {
    let (a, b) = (call.vectors(0)?, call.vectors(1)?);
    let mut result = Float64Builder::with_capacity(call.rows);
    // A vector that stands for all rows has its length taken once. Each measure is symmetric.
    let (a, b) = if a.is_scalar() { (b, a) } else { (a, b) };
    let fixed = b.is_scalar().then(|| b.row(0)).flatten().map(Direction::new);
    for row in 0..call.rows {
        let value = match (a.row(row), b.row(row)) {
            (Some(a), Some(b)) => {
                let found = measure.of(a, b, fixed.as_ref());
                found.map_err(|error| mismatch(call.name, error))?
            }
            _ => None,
        };
        // What is not a number would come first in every descending order.
        result.append_option(value.filter(|value| !value.is_nan()));
    }
    Ok(Arc::new(result.finish()))
}

impl Measure {
    fn of(
        self,
        a: &[f32],
        b: &[f32],
        fixed: Option<&Direction<'_>>,
    ) -> Result<Option<f64>, DimensionMismatch> {
        let cosine = || fixed.map_or_else(|| similarity::cosine(a, b), |b| b.cosine(a));
        match self {
            Self::Cosine => cosine(),
            Self::CosineDistance => Ok(cosine()?.map(|cosine| 1.0 - cosine)),
            Self::Dot => similarity::dot(a, b).map(Some),
            Self::L2 => similarity::l2_distance(a, b).map(Some),
            Self::Manhattan => similarity::manhattan_distance(a, b).map(Some),
        }
    }
}
