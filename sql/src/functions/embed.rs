//! `embed(text [, model] [, prompt])`: the vector of a text.

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion::error::Result;

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::{Call, Planned, ScalarDef};
use crate::SqlError;
use crate::columns::provenance;
use crate::columns::vectors::{spread, vector_array, vector_type};
use crate::engine::prompt_of;
use crate::query::blocking;

pub(super) static EMBED: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "embed",
        aliases: &[],
        parameters: &[
            Parameter {
                name: "text",
                takes: Takes::Text,
                about: "Text. The empty string is a text.",
            },
            Parameter {
                name: "model",
                takes: Takes::Literal,
                about: "Literal: the name of a model, a directory, an .onnx file or a hub id. NULL is the default model.",
            },
            Parameter {
                name: "prompt",
                takes: Takes::Literal,
                about: "Literal: 'query', 'document' or the name of one of the model's prompts; NULL or '' is none. If left out, it is the \
                        model's default prompt.",
            },
        ],
        required: 1,
        about: "Vector of a text as FixedSizeList<Float32, D>, where D is the model's dimension. NULL for NULL. A text that is \
                longer than the model's limit is truncated; is_truncated says which. The field's metadata says which model made the vectors: \
                arrow_metadata(embedding, 'sembla.model'). An unknown model or prompt is an error.",
        example: "> SELECT cos_sim(embed('a cat'), embed('a kitten')) > 0.7;\ntrue",
    },
    runs_model: true,
    stands_in: None,
    returns,
    values,
};

/// What the messages call the arguments.
const MODEL: &str = "the model";
const PROMPT: &str = "the prompt";

fn returns(call: &Planned<'_>) -> Result<DataType, SqlError> {
    let model = call.models.encoder(call.name, call.literal(MODEL, 1)?.flatten())?;
    let prompt = prompt_of(&model, call.literal(PROMPT, 2)?)?;
    call.says(provenance::metadata(model.provenance(prompt)?));
    vector_type(model.info().dimension)
}

fn values(call: &Call<'_>) -> Result<ArrayRef> {
    let model = call.models.encoder(call.name, call.literal(MODEL, 1)?.flatten())?;
    let dimension = model.info().dimension;
    if &vector_type(dimension)? != call.result() {
        return Err(SqlError::Statement(format!(
            "model '{}' was replaced by one with another dimension; run the query again",
            model.info().name
        ))
        .into());
    }
    let prompt = prompt_of(&model, call.literal(PROMPT, 2)?)?;
    let texts = call.texts(0)?;
    let given: Vec<&str> = (0..call.rows).filter_map(|row| texts.row(row)).collect();
    let mut values = Vec::new();
    if !given.is_empty() {
        let embedded = blocking(|| model.embed(&given, prompt, &call.cancel));
        values = embedded.map_err(SqlError::from)?.values;
    }
    let mut nulls = None;
    if given.len() < call.rows {
        let valid: Vec<bool> = (0..call.rows).map(|row| texts.row(row).is_some()).collect();
        values = spread(&values, dimension, &valid);
        nulls = Some(NullBuffer::from(valid));
    }
    vector_array(dimension, values, nulls, call.rows)
}
