//! Functions of two texts that a model compares: `similarity` and `rerank`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use sembla_models::{Model, Prompt, Similarity};
use sembla_operators::{DimensionMismatch, similarity as kernels};

use super::declaration::{Declaration, Parameter, Takes};
use super::images::{FILTER_FIRST, each_vector};
use super::kernel::{Call, ScalarDef};
use crate::SqlError;
use crate::columns::images::is_bytes;
use crate::columns::vectors::mismatch;
use crate::engine::Models;
use crate::query::blocking;

pub(super) static SIMILARITY: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "similarity",
        aliases: &[],
        parameters: &[
            Parameter {
                name: "a",
                takes: Takes::TextOrImage,
                about: "Text, or bytes of an image.",
            },
            Parameter {
                name: "b",
                takes: Takes::TextOrImage,
                about: "Text, or bytes of an image.",
            },
            Parameter {
                name: "model",
                takes: Takes::Literal,
                about: "Literal: a model that embeds, by name, directory or hub id. NULL is the default model.",
            },
        ],
        required: 2,
        about: "How alike two texts are in meaning, as Float32, by the similarity function of the model (cosine for most; \
         higher is always nearer). With a model of texts and images either may be the bytes of an image; bytes that are none \
         are an error. NULL if either is NULL.",
        example: "> SELECT round(similarity('a cat', 'a cat'), 3);\n1.0",
    },
    runs_model: true,
    stands_in: None,
    returns: |call| {
        let name = call.literal(MODEL, 2)?.flatten();
        let sides = [0, 1].map(|side| call.type_of(side).is_some_and(is_bytes));
        if sides.contains(&true) {
            call.models.image_encoder(call.name, name)?;
        }
        if sides.contains(&false) {
            call.models.encoder(call.name, name)?;
        }
        Ok(DataType::Float32)
    },
    values: |call| match [0, 1].iter().any(|side| call.type_of(*side).is_some_and(is_bytes)) {
        true => with_images(call),
        false => compared(call, encoder, similarities),
    },
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
                about: "Literal: a cross-encoder with one score, by name, directory or hub id. NULL is the session's default model \
                        if that was set, else reranker, which scripts/fetch-reranker.sh fetches, or the bundled reranker-small.",
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
        .map(|(a, b)| measured(call, model, a, b))
        .collect()
}

/// How alike two vectors of a model are.
fn measured(call: &Call<'_>, model: &Model, a: &[f32], b: &[f32]) -> Result<f32, SqlError> {
    let found = alike(model.info().similarity, a, b);
    Ok(found.map_err(|error| mismatch(call.name, error))? as f32)
}

/// How alike two vectors are by a model's similarity, more for more alike ones.
///
/// # Errors
/// Vectors of different dimensions.
pub fn alike(similarity: Similarity, a: &[f32], b: &[f32]) -> Result<f64, DimensionMismatch> {
    match similarity {
        Similarity::Cosine => kernels::cosine(a, b).map(|found| found.unwrap_or(0.0)),
        Similarity::Dot => kernels::dot(a, b),
        Similarity::Euclidean => kernels::l2_distance(a, b).map(|found| -found),
        Similarity::Manhattan => kernels::manhattan_distance(a, b).map(|found| -found),
    }
}

/// The similarities of rows where one side or both are images.
fn with_images(call: &Call<'_>) -> Result<ArrayRef> {
    let model = call.models.model(call.literal(MODEL, 2)?.flatten())?;
    let (a, b) = (side(call, &model, 0)?, side(call, &model, 1)?);
    let compared = a.iter().zip(&b).map(|pair| match pair {
        (Some(a), Some(b)) => measured(call, &model, a, b).map(Some),
        _ => Ok(None),
    });
    let found: Vec<Option<f32>> = compared.collect::<Result<_, SqlError>>()?;
    Ok(Arc::new(Float32Array::from(found)))
}

/// The vectors of an argument's texts or images; `None` for NULL.
fn side(call: &Call<'_>, model: &Model, position: usize) -> Result<Vec<Option<Vec<f32>>>> {
    let mut vectors = vec![None; call.rows];
    if call.type_of(position).is_some_and(is_bytes) {
        let images = call.images(position)?;
        each_vector(&images, call.rows, model, &call.cancel, |row, vector| {
            let vector = vector.map_err(|unusable| unusable.error(call.name, FILTER_FIRST))?;
            vectors[row] = Some(vector.to_vec());
            Ok(())
        })?;
        return Ok(vectors);
    }
    let texts = call.texts(position)?;
    let given: Vec<(usize, &str)> =
        (0..call.rows).filter_map(|row| Some((row, texts.row(row)?))).collect();
    let only: Vec<&str> = given.iter().map(|(_, text)| *text).collect();
    let found = blocking(|| model.embed(&only, Prompt::Default, &call.cancel));
    let found = found.map_err(SqlError::from)?;
    for ((row, _), vector) in given.iter().zip(found.values.chunks_exact(found.dimension.max(1))) {
        vectors[*row] = Some(vector.to_vec());
    }
    Ok(vectors)
}
