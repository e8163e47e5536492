//! How long a text is for a model: `token_count` and `is_truncated`.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use sembla_models::TokenCount;

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::{Call, Planned, ScalarDef};
use crate::SqlError;
use crate::query::blocking;

const PARAMETERS: &[Parameter] = &[
    Parameter { name: "text", takes: Takes::Text, about: "Text." },
    Parameter {
        name: "model",
        takes: Takes::Literal,
        about: "Literal: any model, by name, directory or hub id. NULL is the default model.",
    },
];

pub(super) static TOKEN_COUNT: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "token_count",
        aliases: &[],
        parameters: PARAMETERS,
        required: 1,
        about: "Length of a text in a model's tokens, before truncation, special tokens included, as Int64. NULL for NULL.",
        example: "> SELECT token_count('hello world');\n4",
    },
    runs_model: true,
    stands_in: None,
    returns: |call| checked(call, DataType::Int64),
    values: |call| {
        let counts = counts(call)?.into_iter();
        let tokens = counts.map(|count| count.map(|count| count.tokens as i64));
        Ok(Arc::new(tokens.collect::<Int64Array>()))
    },
};

pub(super) static IS_TRUNCATED: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "is_truncated",
        aliases: &[],
        parameters: PARAMETERS,
        required: 1,
        about: "Whether a text is longer than the model's limit, so that the model sees only its beginning, as Boolean. NULL for \
                NULL.",
        example: "> SELECT is_truncated('hello world');\nfalse",
    },
    runs_model: true,
    stands_in: None,
    returns: |call| checked(call, DataType::Boolean),
    values: |call| {
        let counts = counts(call)?.into_iter();
        let truncated = counts.map(|count| count.map(|count| count.truncated));
        Ok(Arc::new(truncated.collect::<BooleanArray>()))
    },
};

/// What the messages call the argument.
const MODEL: &str = "the model";

fn checked(call: &Planned<'_>, result: DataType) -> Result<DataType, SqlError> {
    call.models.model(call.literal(MODEL, 1)?.flatten())?;
    Ok(result)
}

/// The length of each row's text; `None` for NULL.
fn counts(call: &Call<'_>) -> Result<Vec<Option<TokenCount>>> {
    let model = call.models.model(call.literal(MODEL, 1)?.flatten())?;
    let texts = call.texts(0)?;
    let given: Vec<&str> = (0..call.rows).filter_map(|row| texts.row(row)).collect();
    let counts = blocking(|| model.count_tokens(&given)).map_err(SqlError::from)?;
    let mut counts = counts.into_iter();
    Ok((0..call.rows).map(|row| texts.row(row).and_then(|_| counts.next())).collect())
}
