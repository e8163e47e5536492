//! `classify(input, labels [, model] [, template])`: which of some labels fits a text or an image,
//! by a model that was not trained on them; or `classify(input, classifier)`: by one that was.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, ListArray, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use sembla_models::{InputKind, Model, Prompt};
use sembla_operators::similarity::cosine;

use super::declaration::{Declaration, Parameter, Takes};
use super::images::{FILTER_FIRST, each_vector};
use super::kernel::{Call, ScalarDef};
use crate::SqlError;
use crate::columns::images::is_bytes;
use crate::columns::texts::literal_text;
use crate::columns::vectors::item_field;
use crate::engine::Models;
use crate::query::blocking;

/// Most labels of a call.
const LABELS_MAX: usize = 10_000;

/// What cosines of a model of texts alone are multiplied by: what sentence-transformers trains
/// with.
const TEXT_SCALE: f32 = 20.0;

/// What in a template stands for the label.
const PLACE: &str = "{}";

pub(super) static CLASSIFY: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "classify",
        aliases: &[],
        parameters: &[
            Parameter {
                name: "input",
                takes: Takes::TextOrImage,
                about: "A text, or the bytes of an image file for a model that takes images.",
            },
            Parameter {
                name: "labels",
                takes: Takes::Literal,
                about: "Literal: the labels, as in ['cat', 'dog'], or a trained classifier, by name or directory.",
            },
            Parameter {
                name: "model",
                takes: Takes::Literal,
                about: "Literal, with a list of labels: a model that embeds, by name, directory or hub id. NULL is the default model.",
            },
            Parameter {
                name: "template",
                takes: Takes::Literal,
                about: "Literal, with a list of labels: the text that is made of a label, which stands for {}, as in 'a photo of a {}'. \
                        The default is '{}'.",
            },
        ],
        required: 2,
        about: "The label that fits best, as a struct: label Utf8, score Float32 from 0 to 1, and scores List<Float32> in the order of the \
                labels. With a list of labels no training is needed. With a classifier, which sembla train --task classify makes, the labels \
                are those it was trained on, in their order (by bytes, or by value where all are whole numbers). Scores add up to 1 (softmax), \
                but for a list of labels and models like SigLIP, which score every label by itself (sigmoid). NULL for NULL; bytes that are \
                no image are an error.",
        example: "> SELECT classify('my card was stolen', ['card', 'transfer', 'exchange rate'])['label'];\ncard",
    },
    runs_model: true,
    stands_in: None,
    returns: |call| {
        // A list is a call of a function until the plan is simplified.
        match (call.constant(1), call.type_of(1)) {
            (Some(named), _) if is_name(named) => {
                if let Some(given) = [2, 3].into_iter().find(|place| call.type_of(*place).is_some())
                {
                    return Err(not_with_classifier(given));
                }
                let is_image = call.type_of(0).is_some_and(is_bytes);
                trained(call.models, call.name, named, is_image)?;
                return Ok(DataType::Struct(fields()));
            }
            (Some(labels), _) => labels_of(labels).map(|_| ())?,
            (None, Some(DataType::List(_) | DataType::FixedSizeList(..))) => {}
            _ => return Err(not_labels()),
        }
        template(call.literal(TEMPLATE, 3)?.flatten())?;
        let name = call.literal(MODEL, 2)?.flatten();
        call.models.encoder(call.name, name)?;
        if call.type_of(0).is_some_and(is_bytes) {
            call.models.image_encoder(call.name, name)?;
        }
        Ok(DataType::Struct(fields()))
    },
    values,
};

/// What the messages call the arguments.
const MODEL: &str = "the model";
const TEMPLATE: &str = "the template";

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("label", DataType::Utf8, true),
        Field::new("score", DataType::Float32, true),
        Field::new("scores", DataType::List(item_field(DataType::Float32)), true),
    ])
}

fn not_labels() -> SqlError {
    SqlError::Statement(
        "labels must be a literal list of texts, as in ['cat', 'dog'], or the name of a trained classifier".into(),
    )
}

/// Whether the second argument is the name of a classifier.
fn is_name(value: &ScalarValue) -> bool {
    matches!(value.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn not_with_classifier(place: usize) -> SqlError {
    let what = if place == 2 { "model" } else { "template" };
    SqlError::Statement(format!(
        "a {what} goes with a list of labels; a trained classifier has labels and a model of its own"
    ))
}

/// The model of a trained classifier.
fn trained(
    models: &Models,
    function: &str,
    named: &ScalarValue,
    is_image: bool,
) -> Result<Model, SqlError> {
    let Some(name) = literal_text("the classifier", named)? else { return Err(not_labels()) };
    let model = match is_image {
        true => models.image_encoder(function, Some(name))?,
        false => models.encoder(function, Some(name))?,
    };
    let takes = if is_image { InputKind::Image } else { InputKind::Text };
    match model.classifier() {
        None => Err(SqlError::Statement(format!(
            "model '{name}' has no classifier: give a list of labels, as in ['cat', 'dog'], or train one with sembla train --task classify"
        ))),
        Some(head) if head.takes() != takes => Err(SqlError::Statement(format!(
            "the classifier of model '{name}' was trained on {}, not on {takes}",
            head.takes()
        ))),
        Some(_) => Ok(model),
    }
}

/// The labels of a literal.
fn labels_of(value: &ScalarValue) -> Result<Vec<String>, SqlError> {
    let items: ArrayRef = match value {
        ScalarValue::List(list) if list.len() == 1 && list.is_valid(0) => list.value(0),
        ScalarValue::LargeList(list) if list.len() == 1 && list.is_valid(0) => list.value(0),
        ScalarValue::FixedSizeList(list) if list.len() == 1 && list.is_valid(0) => list.value(0),
        _ => return Err(not_labels()),
    };
    let items = cast(&items, &DataType::Utf8).map_err(|_| not_labels())?;
    let items = items.as_string::<i32>();
    if items.is_empty() || items.null_count() > 0 || items.len() > LABELS_MAX {
        return Err(SqlError::Statement(format!(
            "labels must be 1 to {LABELS_MAX} texts, none of them NULL, got {} with {} NULL",
            items.len(),
            items.null_count()
        )));
    }
    Ok(items.iter().flatten().map(str::to_string).collect())
}

fn template(given: Option<&str>) -> Result<&str, SqlError> {
    let template = given.unwrap_or(PLACE);
    match template.contains(PLACE) {
        true => Ok(template),
        false => Err(SqlError::Statement(format!(
            "the template must have {{}} where the label goes, got '{template}'"
        ))),
    }
}

fn values(call: &Call<'_>) -> Result<ArrayRef> {
    match call.constant(1) {
        Some(named) if is_name(named) => by_classifier(call, named),
        _ => by_labels(call),
    }
}

/// The labels of a model that was trained on them.
fn by_classifier(call: &Call<'_>, named: &ScalarValue) -> Result<ArrayRef> {
    let is_image = call.type_of(0).is_some_and(is_bytes);
    let model = trained(call.models, call.name, named, is_image)?;
    let head = model.classifier().ok_or_else(not_labels)?;
    let mut rows: Vec<Option<Vec<f32>>> = vec![None; call.rows];
    of_each(call, &model, |row, vector| {
        rows[row] = Some(head.probabilities(vector));
        Ok(())
    })?;
    assembled(head.labels(), &rows)
}

/// The labels that are given.
fn by_labels(call: &Call<'_>) -> Result<ArrayRef> {
    let model = call.models.encoder(call.name, call.literal(MODEL, 2)?.flatten())?;
    let labels = labels_of(call.constant(1).ok_or_else(not_labels)?)?;
    let template = template(call.literal(TEMPLATE, 3)?.flatten())?;
    let texts: Vec<String> = labels.iter().map(|label| template.replace(PLACE, label)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let known = blocking(|| model.embed(&texts, Prompt::Default, &call.cancel));
    let known = known.map_err(SqlError::from)?;
    let known: Vec<&[f32]> = known.values.chunks_exact(known.dimension.max(1)).collect();
    let mut rows: Vec<Option<Vec<f32>>> = vec![None; call.rows];
    let is_image = call.type_of(0).is_some_and(is_bytes);
    of_each(call, &model, |row, vector| {
        rows[row] = Some(scores(&model, is_image, vector, &known)?);
        Ok(())
    })?;
    assembled(&labels, &rows)
}

/// Calls `take` with the vector of each text or image that is not NULL.
fn of_each(
    call: &Call<'_>,
    model: &Model,
    mut take: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    if call.type_of(0).is_some_and(is_bytes) {
        let images = call.images(0)?;
        each_vector(&images, call.rows, model, &call.cancel, |row, vector| match vector {
            Ok(vector) => take(row, vector),
            Err(unusable) => Err(unusable.error(call.name, FILTER_FIRST).into()),
        })?;
    } else {
        let texts = call.texts(0)?;
        let given: Vec<(usize, &str)> =
            (0..call.rows).filter_map(|row| Some((row, texts.row(row)?))).collect();
        let only: Vec<&str> = given.iter().map(|(_, text)| *text).collect();
        let found = blocking(|| model.embed(&only, Prompt::Default, &call.cancel));
        let found = found.map_err(SqlError::from)?;
        let vectors = found.values.chunks_exact(found.dimension.max(1));
        for ((row, _), vector) in given.iter().zip(vectors) {
            take(*row, vector)?;
        }
    }
    Ok(())
}

/// How well each label fits, as the model was trained to say it.
fn scores(model: &Model, is_image: bool, vector: &[f32], labels: &[&[f32]]) -> Result<Vec<f32>> {
    let contrast = model.info().contrast.filter(|_| is_image);
    let (scale, bias) = contrast.map_or((TEXT_SCALE, None), |found| (found.scale, found.bias));
    let mut scores = Vec::with_capacity(labels.len());
    for label in labels {
        let near = cosine(vector, label).map_err(|error| SqlError::Statement(error.to_string()))?;
        scores.push(near.unwrap_or(0.0) as f32 * scale);
    }
    if let Some(bias) = bias {
        scores.iter_mut().for_each(|score| *score = 1.0 / (1.0 + (-(*score + bias)).exp()));
        return Ok(scores);
    }
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let total: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= total);
    Ok(scores)
}

/// The result of all rows; the first of equally good labels is taken.
fn assembled(labels: &[String], rows: &[Option<Vec<f32>>]) -> Result<ArrayRef> {
    let best = |scores: &Vec<f32>| {
        let better = |best: usize, at: usize| if scores[at] > scores[best] { at } else { best };
        (1..scores.len()).fold(0, better)
    };
    let best: Vec<Option<usize>> = rows.iter().map(|row| row.as_ref().map(best)).collect();
    let label = best.iter().map(|best| best.map(|best| labels[best].as_str()));
    let label: StringArray = label.collect();
    let score = rows.iter().zip(&best).map(|(row, best)| Some(row.as_ref()?[(*best)?]));
    let score: Float32Array = score.collect();
    let all: Vec<f32> = rows.iter().flatten().flatten().copied().collect();
    let valid: Vec<bool> = rows.iter().map(Option::is_some).collect();
    let valid = NullBuffer::from(valid);
    let lengths = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len));
    let scores = ListArray::try_new(
        item_field(DataType::Float32),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(Float32Array::from(all)),
        Some(valid.clone()),
    )?;
    let columns: Vec<ArrayRef> = vec![Arc::new(label), Arc::new(score), Arc::new(scores)];
    Ok(Arc::new(StructArray::try_new(fields(), columns, Some(valid))?))
}
