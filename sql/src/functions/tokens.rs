//! How long a text is for a model: `token_count` and `is_truncated`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};
use sembla_models::{Model, TokenCount};

use super::Engine;
use super::declaration::{Declaration, Parameter};
use super::model_argument::{MODEL, blocking, given_literal, planned_literal};
use super::texts::{Texts, check_text};
use crate::SqlError;

const PARAMETERS: &[Parameter] = &[
    Parameter { name: "text", about: "Text." },
    Parameter {
        name: "model",
        about: "Literal: any model, by name, directory or hub id. NULL is the default model.",
    },
];

/// What is told of a text's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    Count,
    Truncated,
}

/// A function of a text's length.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TokenFunction {
    declaration: Declaration,
    told: Told,
    engine: Engine,
}

/// All functions of this file, for a session.
pub(crate) fn functions(engine: &Engine) -> Vec<ScalarUDF> {
    let count = Declaration::new(
        "token_count",
        PARAMETERS,
        1,
        "Number of tokens that a text has for a model, before truncation, special tokens included, as Int64. NULL for NULL.",
        "> SELECT token_count('hello world');\n4",
    );
    let truncated = Declaration::new(
        "is_truncated",
        PARAMETERS,
        1,
        "Whether a text is longer than the model's limit, so that the model sees only its beginning, as Boolean. NULL for \
         NULL.",
        "> SELECT is_truncated('hello world');\nfalse",
    );
    [(count, Told::Count), (truncated, Told::Truncated)]
        .into_iter()
        .map(|(declaration, told)| {
            ScalarUDF::from(TokenFunction { declaration, told, engine: engine.clone() })
        })
        .collect()
}

impl TokenFunction {
    fn data_type(&self) -> DataType {
        match self.told {
            Told::Count => DataType::Int64,
            Told::Truncated => DataType::Boolean,
        }
    }

    fn tell(&self, model: &Model, texts: &Texts, rows: usize) -> Result<ArrayRef> {
        let given: Vec<&str> = (0..rows).filter_map(|row| texts.row(row)).collect();
        let counts = blocking(|| model.count_tokens(&given)).map_err(SqlError::from)?;
        let mut counts = counts.into_iter();
        let counted: Vec<Option<TokenCount>> =
            (0..rows).map(|row| texts.row(row).and_then(|_| counts.next())).collect();
        let counted = counted.into_iter();
        Ok(match self.told {
            Told::Count => Arc::new(
                counted.map(|count| count.map(|count| count.tokens as i64)).collect::<Int64Array>(),
            ),
            Told::Truncated => Arc::new(
                counted.map(|count| count.map(|count| count.truncated)).collect::<BooleanArray>(),
            ),
        })
    }
}

impl ScalarUDFImpl for TokenFunction {
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
        Ok(self.data_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.declaration.check_count(args.arg_fields.len())?;
        if let Some(text) = args.arg_fields.first() {
            check_text(self.name(), text.data_type())?;
        }
        self.engine.model(planned_literal(MODEL, &args, 1)?)?;
        Ok(Arc::new(Field::new(self.name(), self.data_type(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let model = self.engine.model(given_literal(MODEL, &args.args, 1)?)?;
        let Some(text) = args.args.first() else {
            return Err(DataFusionError::Internal(format!("{} takes a text", self.name())));
        };
        let texts = Texts::new(text)?;
        if texts.is_scalar() {
            let array = self.tell(&model, &texts, 1)?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(self.tell(&model, &texts, args.number_rows)?))
    }
}
