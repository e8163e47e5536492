//! `embed(text [, model] [, prompt])`: the vector of a text.

use std::sync::Arc;

use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};
use sembla_models::{Model, Prompt};

use super::Engine;
use super::declaration::{Declaration, Parameter};
use super::model_argument::{MODEL, blocking, given_literal, planned_literal, prompt_of};
use super::texts::{Texts, check_text};
use super::vectors::{vector_array, vector_type};
use crate::SqlError;

const PARAMETERS: &[Parameter] = &[
    Parameter { name: "text", about: "Text. The empty string is a text." },
    Parameter {
        name: "model",
        about: "Literal: the name of a model, a directory, an .onnx file or a hub id. NULL is the default model.",
    },
    Parameter {
        name: "prompt",
        about: "Literal: 'query', 'document' or the name of one of the model's prompts; NULL or '' is none. Left out, it is the \
                model's default prompt.",
    },
];

const PROMPT: &str = "the prompt";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Embed {
    declaration: Declaration,
    engine: Engine,
}

/// The function for a session.
pub(crate) fn function(engine: &Engine) -> ScalarUDF {
    let declaration = Declaration::new(
        "embed",
        PARAMETERS,
        1,
        "Vector of a text as FixedSizeList<Float32, D>, where D is the model's dimension. NULL for NULL. A text that is \
         longer than the model's limit is truncated; is_truncated tells. An unknown model or prompt is an error.",
        "> SELECT cos_sim(embed('a cat'), embed('a kitten')) > 0.7;\ntrue",
    );
    ScalarUDF::from(Embed { declaration, engine: engine.clone() })
}

impl Embed {
    /// The vectors of rows of texts; rows without a text have none.
    fn rows(
        &self,
        model: &Model,
        prompt: Prompt<'_>,
        texts: &Texts,
        rows: usize,
    ) -> Result<arrow::array::ArrayRef> {
        let given: Vec<&str> = (0..rows).filter_map(|row| texts.row(row)).collect();
        let dimension = model.info().dimension;
        let mut values = if given.is_empty() {
            Vec::new()
        } else {
            let embedded = blocking(|| model.embed(&given, prompt, &self.engine.cancel));
            embedded.map_err(SqlError::from)?.values
        };
        let mut nulls = None;
        if given.len() < rows {
            let valid: Vec<bool> = (0..rows).map(|row| texts.row(row).is_some()).collect();
            values = spread(&values, dimension, &valid);
            nulls = Some(NullBuffer::from(valid));
        }
        vector_array(dimension, values, nulls, rows)
    }
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

impl ScalarUDFImpl for Embed {
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
        Err(DataFusionError::Internal("the type of embed depends on its model".into()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.declaration.check_count(args.arg_fields.len())?;
        if let Some(text) = args.arg_fields.first() {
            check_text(self.name(), text.data_type())?;
        }
        let model = self.engine.encoder(self.name(), planned_literal(MODEL, &args, 1)?)?;
        let prompt = planned_literal(PROMPT, &args, 2)?;
        prompt_of(&model, (args.arg_fields.len() > 2).then_some(prompt))?;
        Ok(Arc::new(Field::new(self.name(), vector_type(model.info().dimension)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let model = self.engine.encoder(self.name(), given_literal(MODEL, &args.args, 1)?)?;
        if &vector_type(model.info().dimension)? != args.return_type() {
            return Err(SqlError::Statement(format!(
                "model '{}' was replaced by one of another dimension; plan the query again",
                model.info().name
            ))
            .into());
        }
        let prompt = given_literal(PROMPT, &args.args, 2)?;
        let prompt = prompt_of(&model, (args.args.len() > 2).then_some(prompt))?;
        let Some(text) = args.args.first() else {
            return Err(DataFusionError::Internal("embed takes a text".into()));
        };
        let texts = Texts::new(text)?;
        if texts.is_scalar() {
            let array = self.rows(&model, prompt, &texts, 1)?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(self.rows(&model, prompt, &texts, args.number_rows)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_text_stand_between() {
        let spread = spread(&[1.0, 2.0, 3.0, 4.0], 2, &[false, true, false, true]);
        assert_eq!(spread, [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
    }
}
