//! Functions of two texts that a model compares: `similarity` and `rerank`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use sembla_models::{Model, Prompt, Similarity};
use sembla_operators::similarity as kernels;

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::{Call, ScalarDef};
use crate::SqlError;
use crate::columns::vectors::mismatch;
use crate::engine::Models;
use crate::query::blocking;

pub(super) static SIMILARITY: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "similarity",
        aliases: &[],
        parameters: &[
            Parameter { name: "a", takes: Takes::Text, about: "Text." },
            Parameter { name: "b", takes: Takes::Text, about: "Text." },
            Parameter {
                name: "model",
                takes: Takes::Literal,
                about: "Literal: a model that embeds, by name, directory or hub id. NULL is the default model.",
            },
        ],
        required: 2,
        about: "How alike two texts are in meaning, as Float32, by the similarity function of the model (cosine for most; \
         higher is always nearer). NULL if a text is NULL.",
        example: "> SELECT round(similarity('a cat', 'a cat'), 3);\n1.0",
    },
    runs_model: true,
    stands_in: None,
    returns: |call| {
        call.models.encoder(call.name, call.literal(MODEL, 2)?.flatten())?;
        Ok(DataType::Float32)
    },
    values: |call| compared(call, encoder, similarities),
};

pub(super) static RERANK: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "rerank",
        aliases: &[],
        parameters: &[
            Parameter { name: "query", takes: Takes::Text, about: "The query." },
            Parameter {
                name: "document",
                takes: Takes::Text,
                about: "The text that may answer it.",
            },
            Parameter {
                name: "model",
                takes: Takes::Literal,
                about: "Literal: a cross-encoder with one score, by name, directory or hub id. NULL is the default model.",
            },
        ],
        required: 2,
        about: "Score that a cross-encoder gives a document for a query, after the model's activation, as Float32; higher is \
                better. NULL if a text is NULL. A model that embeds is an error.",
        example: "> SELECT text FROM found ORDER BY rerank('late refund', text, 'my_reranker') DESC;",
    },
    runs_model: true,
    stands_in: None,
    returns: |call| {
        scorer(call.models, call.name, call.literal(MODEL, 2)?.flatten())?;
        Ok(DataType::Float32)
    },
    values: |call| {
        compared(call, scorer, |call, model, pairs| {
            Ok(blocking(|| model.score(pairs, &call.cancel))?)
        })
    },
};

/// What the messages call the argument.
const MODEL: &str = "the model";

fn encoder(models: &Models, function: &str, name: Option<&str>) -> Result<Model, SqlError> {
    models.encoder(function, name)
}

fn scorer(models: &Models, function: &str, name: Option<&str>) -> Result<Model, SqlError> {
    models.scorer(function, "model", name)
}

/// Compares pairs of texts by a model.
type Compare = fn(&Call<'_>, &Model, &[(&str, &str)]) -> Result<Vec<f32>, SqlError>;

/// What a model finds of the pairs of texts that are there.
fn compared(
    call: &Call<'_>,
    model: fn(&Models, &str, Option<&str>) -> Result<Model, SqlError>,
    compare: Compare,
) -> Result<ArrayRef> {
    let model = model(call.models, call.name, call.literal(MODEL, 2)?.flatten())?;
    let (a, b) = (call.texts(0)?, call.texts(1)?);
    let pairs: Vec<Option<(&str, &str)>> =
        (0..call.rows).map(|row| a.row(row).zip(b.row(row))).collect();
    let given: Vec<(&str, &str)> = pairs.iter().flatten().copied().collect();
    let found = if given.is_empty() { Vec::new() } else { compare(call, &model, &given)? };
    let mut found = found.into_iter();
    let found = pairs.iter().map(|pair| pair.and_then(|_| found.next()));
    Ok(Arc::new(found.collect::<Float32Array>()))
}

/// Both sides are embedded in one call, in which the model embeds equal texts once.
fn similarities(
    call: &Call<'_>,
    model: &Model,
    pairs: &[(&str, &str)],
) -> Result<Vec<f32>, SqlError> {
    let both: Vec<&str> =
        pairs.iter().map(|pair| pair.0).chain(pairs.iter().map(|pair| pair.1)).collect();
    let embedded = blocking(|| model.embed(&both, Prompt::Default, &call.cancel))?;
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
            Ok(found.map_err(|error| mismatch(call.name, error))? as f32)
        })
        .collect()
}
