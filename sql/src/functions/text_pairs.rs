//! Functions of two texts that a model compares: `similarity` and `rerank`.

use std::sync::Arc;

use arrow::array::Float32Array;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};
use sembla_models::{Model, Prompt, Similarity};
use sembla_operators::similarity as kernels;

use super::Engine;
use super::declaration::{Declaration, Parameter};
use super::model_argument::{MODEL, blocking, given_literal, planned_literal};
use super::texts::{Texts, check_text};
use super::vectors::mismatch;
use crate::SqlError;

const SIMILARITY: &[Parameter] = &[
    Parameter { name: "a", about: "Text." },
    Parameter { name: "b", about: "Text." },
    Parameter {
        name: "model",
        about: "Literal: a model that embeds, by name, directory or hub id. NULL is the default model.",
    },
];

const RERANK: &[Parameter] = &[
    Parameter { name: "query", about: "Text that is searched for." },
    Parameter { name: "document", about: "Text that may answer it." },
    Parameter {
        name: "model",
        about: "Literal: a cross-encoder with one score, by name, directory or hub id. NULL is the default model.",
    },
];

/// How a model compares two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Comparison {
    /// Each text is embedded, and the model's similarity function compares the vectors.
    Vectors,
    /// A cross-encoder reads both.
    Score,
}

/// A function of two texts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextPairFunction {
    declaration: Declaration,
    comparison: Comparison,
    engine: Engine,
}

/// All functions of this file, for a session.
pub(crate) fn functions(engine: &Engine) -> Vec<ScalarUDF> {
    let similarity = Declaration::new(
        "similarity",
        SIMILARITY,
        2,
        "How alike two texts are in meaning, as Float32, by the similarity function of the model (cosine for most; higher \
         is nearer for all). NULL if a text is NULL.",
        "> SELECT round(similarity('a cat', 'a cat'), 3);\n1.0",
    );
    let rerank = Declaration::new(
        "rerank",
        RERANK,
        2,
        "Score that a cross-encoder gives a document for a query, after the model's activation, as Float32; higher is \
         better. NULL if a text is NULL. A model that embeds is an error.",
        "> SELECT text FROM found ORDER BY rerank('late refund', text, 'my_reranker') DESC;",
    );
    [(similarity, Comparison::Vectors), (rerank, Comparison::Score)]
        .into_iter()
        .map(|(declaration, comparison)| {
            ScalarUDF::from(TextPairFunction { declaration, comparison, engine: engine.clone() })
        })
        .collect()
}

impl TextPairFunction {
    fn model(&self, name: Option<&str>) -> Result<Model, SqlError> {
        match self.comparison {
            Comparison::Vectors => self.engine.encoder(self.declaration.name, name),
            Comparison::Score => self.engine.scorer(self.declaration.name, "model", name),
        }
    }

    fn compare(&self, model: &Model, a: &Texts, b: &Texts, rows: usize) -> Result<Float32Array> {
        let pairs: Vec<Option<(&str, &str)>> =
            (0..rows).map(|row| a.row(row).zip(b.row(row))).collect();
        let given: Vec<(&str, &str)> = pairs.iter().flatten().copied().collect();
        let found = match (given.is_empty(), self.comparison) {
            (true, _) => Vec::new(),
            (false, Comparison::Score) => {
                blocking(|| model.score(&given, &self.engine.cancel)).map_err(SqlError::from)?
            }
            (false, Comparison::Vectors) => self.similarities(model, &given)?,
        };
        let mut found = found.into_iter();
        Ok(pairs.iter().map(|pair| pair.and_then(|_| found.next())).collect())
    }

    /// Both sides are embedded in one call, in which the model embeds equal texts once.
    fn similarities(&self, model: &Model, pairs: &[(&str, &str)]) -> Result<Vec<f32>, SqlError> {
        let both: Vec<&str> =
            pairs.iter().map(|pair| pair.0).chain(pairs.iter().map(|pair| pair.1)).collect();
        let embedded = blocking(|| model.embed(&both, Prompt::Default, &self.engine.cancel))?;
        let dimension = embedded.dimension.max(1);
        let (left, right) = embedded.values.split_at(embedded.values.len() / 2);
        left.chunks_exact(dimension)
            .zip(right.chunks_exact(dimension))
            .map(|(a, b)| {
                let found = match model.info().similarity {
                    Similarity::Cosine => kernels::cosine(a, b).map(|found| found.unwrap_or(0.0)),
                    Similarity::Dot => kernels::dot(a, b),
                    Similarity::Euclidean => kernels::l2_distance(a, b).map(|found| -found),
                    Similarity::Manhattan => kernels::manhattan_distance(a, b).map(|found| -found),
                };
                Ok(found.map_err(|error| mismatch(self.declaration.name, error))? as f32)
            })
            .collect()
    }
}

impl ScalarUDFImpl for TextPairFunction {
    fn name(&self) -> &str {
        self.declaration.name
    }

    fn signature(&self) -> &Signature {
        &self.declaration.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.declaration.documentation)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float32)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.declaration.check_count(args.arg_fields.len())?;
        for text in args.arg_fields.iter().take(2) {
            check_text(self.name(), text.data_type())?;
        }
        self.model(planned_literal(MODEL, &args, 2)?)?;
        Ok(Arc::new(Field::new(self.name(), DataType::Float32, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let model = self.model(given_literal(MODEL, &args.args, 2)?)?;
        let [a, b, ..] = args.args.as_slice() else {
            return Err(DataFusionError::Internal(format!("{} takes two texts", self.name())));
        };
        let (a, b) = (Texts::new(a)?, Texts::new(b)?);
        if a.is_scalar() && b.is_scalar() {
            let array = self.compare(&model, &a, &b, 1)?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(self.compare(&model, &a, &b, args.number_rows)?)))
    }
}
