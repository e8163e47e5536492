//! Functions of two vectors that give a number: `cos_sim`, the distances and the dot product.
//!
//! Names that DataFusion has too keep its behaviour for every type but lists of f32, for which they
//! run on Sembla's kernels: `cosine_distance`, `inner_product` (`dot_product`) and `array_distance`
//! (`list_distance`).

use std::sync::Arc;

use arrow::array::Float64Builder;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_nested::{cosine_distance, distance, inner_product};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};
use sembla_operators::DimensionMismatch;
use sembla_operators::similarity::{self, Direction};

use super::declaration::{Declaration, Parameter};
use super::vectors::{Shape, Vectors, is_list_of_f32, mismatch};
use crate::SqlError;

const PARAMETERS: &[Parameter] = &[
    Parameter { name: "a", about: "Vector: a list of numbers of any kind, read as f32." },
    Parameter { name: "b", about: "Vector of as many components." },
];

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Measure {
    Cosine,
    CosineDistance,
    Dot,
    L2,
    Manhattan,
}

/// A function of two vectors.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PairFunction {
    declaration: Declaration,
    measure: Measure,
    /// DataFusion's function of that name, for types other than lists of f32.
    other_types: Option<Arc<ScalarUDF>>,
}

/// All functions of this file.
pub(crate) fn functions() -> Vec<ScalarUDF> {
    [cos_sim(), l2_distance(), manhattan_distance()]
        .into_iter()
        .chain([
            replacing(cosine_distance::cosine_distance_udf(), Measure::CosineDistance),
            replacing(inner_product::inner_product_udf(), Measure::Dot),
            replacing(distance::array_distance_udf(), Measure::L2),
        ])
        .map(ScalarUDF::from)
        .collect()
}

fn cos_sim() -> PairFunction {
    let declaration = Declaration::new(
        "cos_sim",
        PARAMETERS,
        2,
        "Cosine of the angle between two vectors, from -1 to 1, as Float64. NULL if a vector is NULL, holds a NULL or \
         has only zeros. Vectors of different dimension are an error that names both.",
        "> SELECT cos_sim([1.0, 0.0], [1.0, 1.0]);\n0.7071067811865475",
    );
    ours(declaration.also("cosine_similarity"), Measure::Cosine)
}

fn l2_distance() -> PairFunction {
    let declaration = Declaration::new(
        "l2_distance",
        PARAMETERS,
        2,
        "Euclidean distance between two vectors, as Float64. NULL if a vector is NULL or holds a NULL. Vectors of \
         different dimension are an error that names both.",
        "> SELECT l2_distance([0.0, 0.0], [3.0, 4.0]);\n5.0",
    );
    ours(declaration.also("euclidean_distance"), Measure::L2)
}

fn manhattan_distance() -> PairFunction {
    let declaration = Declaration::new(
        "manhattan_distance",
        PARAMETERS,
        2,
        "Sum of the absolute differences of the components of two vectors, as Float64. NULL if a vector is NULL or \
         holds a NULL. Vectors of different dimension are an error that names both.",
        "> SELECT manhattan_distance([0.0, 0.0], [3.0, -4.0]);\n7.0",
    );
    ours(declaration, Measure::Manhattan)
}

fn ours(declaration: Declaration, measure: Measure) -> PairFunction {
    PairFunction { declaration, measure, other_types: None }
}

/// The function that stands in for one of DataFusion's.
fn replacing(theirs: Arc<ScalarUDF>, measure: Measure) -> PairFunction {
    let name = match measure {
        Measure::CosineDistance => "cosine_distance",
        Measure::Dot => "inner_product",
        _ => "array_distance",
    };
    let mut declaration = Declaration::new(name, PARAMETERS, 2, "", "");
    declaration.aliases = theirs.aliases().to_vec();
    if let Some(documentation) = theirs.documentation() {
        declaration.documentation = documentation.clone();
    }
    PairFunction { declaration, measure, other_types: Some(theirs) }
}

impl PairFunction {
    /// DataFusion's function, if it is the one for these types.
    fn theirs<'a>(&self, mut types: impl Iterator<Item = &'a DataType>) -> Option<&ScalarUDF> {
        self.other_types.as_deref().filter(|_| !types.any(is_list_of_f32))
    }

    fn compute(&self, a: &Vectors, b: &Vectors, rows: usize) -> Result<Float64Builder> {
        let name = self.declaration.name;
        let mut result = Float64Builder::with_capacity(rows);
        // A vector that stands for all rows has its length taken once. Each measure is symmetric.
        let (a, b) = if a.is_scalar() { (b, a) } else { (a, b) };
        let fixed = b.is_scalar().then(|| b.row(0)).flatten().map(Direction::new);
        for row in 0..rows {
            let value = match (a.row(row), b.row(row)) {
                (Some(a), Some(b)) => {
                    self.measure.of(a, b, fixed.as_ref()).map_err(|error| mismatch(name, error))?
                }
                _ => None,
            };
            result.append_option(value);
        }
        Ok(result)
    }
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

impl ScalarUDFImpl for PairFunction {
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
            Some(theirs) => theirs.coerce_types(types),
            None => Ok(types.to_vec()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types = || args.arg_fields.iter().map(|field| field.data_type());
        if self.theirs(types()).is_none() {
            self.declaration.check_count(args.arg_fields.len())?;
            let shapes: Vec<Shape> = types()
                .map(|data_type| Shape::of(self.declaration.name, data_type))
                .collect::<Result<_, SqlError>>()?;
            if let [Shape::Fixed(left), Shape::Fixed(right)] = shapes[..]
                && left != right
            {
                return Err(mismatch(self.name(), DimensionMismatch { left, right }).into());
            }
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Float64, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(theirs) = self.theirs(args.arg_fields.iter().map(|field| field.data_type())) {
            return theirs.invoke_with_args(args);
        }
        let [a, b] = args.args.as_slice() else {
            return Err(DataFusionError::Internal(format!("{} takes two vectors", self.name())));
        };
        let (a, b) = (Vectors::new(a)?, Vectors::new(b)?);
        if a.is_scalar() && b.is_scalar() {
            let array = self.compute(&a, &b, 1)?.finish();
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        let array = self.compute(&a, &b, args.number_rows)?.finish();
        Ok(ColumnarValue::Array(Arc::new(array)))
    }
}
