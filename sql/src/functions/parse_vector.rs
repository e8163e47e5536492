//! `parse_vector`: the vector that a text says, as CSV files, JSON and PostgreSQL have them.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use datafusion::error::Result;
use sembla_readers::files::{vector_type, vectors_of};

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::{Call, ScalarDef};
use crate::SqlError;

pub(super) static PARSE_VECTOR: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "parse_vector",
        aliases: &[],
        parameters: &[Parameter {
            name: "text",
            takes: Takes::Text,
            about: "Text: numbers in brackets, such as '[0.1, 0.2]'.",
        }],
        required: 1,
        about: "The vector in a text, as List<Float32>: '[0.1, 0.2]', '{0.1,0.2}' or '[0.1 0.2]'. NULL for NULL. A \
                text that is not a vector is an error that shows it.",
        example: "> SELECT parse_vector('[1, 2.5]');\n[1.0, 2.5]",
    },
    runs_model: false,
    stands_in: None,
    returns: |_| Ok(vector_type()),
    values,
};

fn values(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let texts: StringArray = (0..call.rows).map(|row| texts.row(row)).collect();
    let texts: ArrayRef = Arc::new(texts);
    let parsed = vectors_of(&texts).map_err(|why| SqlError::Data(format!("{}: {why}", call.name)));
    Ok(parsed?)
}
