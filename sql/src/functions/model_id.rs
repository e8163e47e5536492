//! `model_id(model)`: the fingerprint of a model.

use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::DataType;

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::ScalarDef;

pub(super) static MODEL_ID: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "model_id",
        aliases: &[],
        parameters: &[Parameter {
            name: "model",
            takes: Takes::Literal,
            about: "Literal: any model, by name, directory or hub id. NULL is the default model.",
        }],
        required: 1,
        about: "Fingerprint of a model as text: a hash of its files, its precision and the options that decide its vectors. Columns \
                that embed makes have it in the metadata of their field: arrow_metadata(embedding, 'sembla.fingerprint').",
        example: "> SELECT model_id('potion') = arrow_metadata(embed('a cat', 'potion'), 'sembla.fingerprint');\ntrue",
    },
    runs_model: false,
    stands_in: None,
    returns: |call| {
        call.models.model(call.literal(MODEL, 0)?.flatten())?;
        Ok(DataType::Utf8)
    },
    values: |call| {
        let model = call.models.model(call.literal(MODEL, 0)?.flatten())?;
        let fingerprint = model.info().fingerprint.as_str();
        Ok(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(fingerprint, call.rows))))
    },
};

/// What the messages call the argument.
const MODEL: &str = "the model";
