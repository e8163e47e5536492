//! Functions of images: `embed_image` and `image_hash`.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use sembla_models::images::{ImageError, decode, perceptual_hash};
use sembla_models::{CancelToken, Model};

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::{Call, Planned, ScalarDef};
use crate::SqlError;
use crate::columns::images::{Images, Unusable};
use crate::columns::provenance;
use crate::columns::vectors::{vector_array, vector_type};
use crate::query::blocking;

const IMAGE: Parameter = Parameter {
    name: "image",
    takes: Takes::Image,
    about: "Bytes of an image file (JPEG, PNG, WebP, GIF, BMP or TIFF), or a text: the path of one.",
};

const ON_ERROR_PARAMETER: Parameter = Parameter {
    name: "on_error",
    takes: Takes::Literal,
    about: "Literal: what becomes of a file that is missing, damaged or no image: 'error' (the default) or 'null'.",
};

pub(super) static EMBED_IMAGE: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "embed_image",
        aliases: &[],
        parameters: &[
            IMAGE,
            Parameter {
                name: "model",
                takes: Takes::Literal,
                about: "Literal: a model that takes images (CLIP or SigLIP), by name, directory or hub id. NULL is the default model.",
            },
            ON_ERROR_PARAMETER,
        ],
        required: 1,
        about: "Vector of an image as FixedSizeList<Float32, D>, where D is the model's dimension; with a model of texts and images \
                it lies in one space with embed's. NULL for NULL. Images are prepared as the model's preprocessor_config.json \
                says, after they were turned as their EXIF orientation says.",
        example: "> SELECT path FROM read_images('photos/**') ORDER BY cos_sim(embed_image(bytes, 'clip'), embed('a dog', 'clip')) DESC LIMIT 5;",
    },
    runs_model: true,
    stands_in: None,
    returns: |call| {
        on_error(call.literal(ON_ERROR, 2)?)?;
        let model = call.models.image_encoder(call.name, call.literal(MODEL, 1)?.flatten())?;
        call.says(provenance::metadata(model.info().provenance()));
        vector_type(model.info().dimension)
    },
    values: embedded,
};

pub(super) static IMAGE_HASH: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "image_hash",
        aliases: &[],
        parameters: &[IMAGE, ON_ERROR_PARAMETER],
        required: 1,
        about: "Perceptual hash (pHash, 64 bits) of an image as 16 hexadecimal digits; copies of a picture in another size, format or \
                quality have the same hash or one of few different bits. NULL for NULL.",
        example: "> SELECT image_hash(bytes), count(*) FROM read_images('photos/**') GROUP BY 1 HAVING count(*) > 1;",
    },
    runs_model: true,
    stands_in: None,
    returns: |call: &Planned<'_>| {
        on_error(call.literal(ON_ERROR, 1)?)?;
        Ok(DataType::Utf8)
    },
    values: hashes,
};

/// What the messages call the arguments.
const MODEL: &str = "the model";
const ON_ERROR: &str = "on_error";

/// What becomes of an image that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnError {
    Null,
    Error,
}

fn on_error(given: Option<Option<&str>>) -> Result<OnError, SqlError> {
    match given.flatten() {
        None | Some("error") => Ok(OnError::Error),
        Some("null") => Ok(OnError::Null),
        Some(other) => {
            Err(SqlError::Statement(format!("on_error must be 'null' or 'error', got '{other}'")))
        }
    }
}

impl OnError {
    /// NULL, or the error.
    fn settle(self, function: &str, unusable: &Unusable) -> Result<()> {
        match self {
            Self::Null => Ok(()),
            Self::Error => {
                Err(unusable.error(function, "on_error => 'null' gives NULL instead").into())
            }
        }
    }
}

fn embedded(call: &Call<'_>) -> Result<ArrayRef> {
    let model = call.models.image_encoder(call.name, call.literal(MODEL, 1)?.flatten())?;
    let dimension = model.info().dimension;
    let on_error = on_error(call.literal(ON_ERROR, 2)?)?;
    let (mut values, mut valid) = (vec![0f32; call.rows * dimension], vec![false; call.rows]);
    let images = call.images(0)?;
    each_vector(&images, call.rows, &model, &call.cancel, |row, vector| match vector {
        Ok(vector) => {
            values[row * dimension..(row + 1) * dimension].copy_from_slice(vector);
            valid[row] = true;
            Ok(())
        }
        Err(unusable) => on_error.settle(call.name, &unusable),
    })?;
    let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
    vector_array(dimension, values, nulls, call.rows)
}

/// What a function says that has no such option.
pub(super) const FILTER_FIRST: &str =
    "leave such rows out first: WHERE image_hash(…, on_error => 'null') IS NOT NULL";

/// Calls `each` with the vector of every image that is not NULL, or with what is wrong with it.
pub(super) fn each_vector(
    images: &Images,
    rows: usize,
    model: &Model,
    cancel: &CancelToken,
    mut each: impl FnMut(usize, Result<&[f32], Unusable>) -> Result<()>,
) -> Result<()> {
    images.in_groups(rows, |group| {
        let mut sound: Vec<(usize, &[u8])> = Vec::with_capacity(group.len());
        for (row, image) in group {
            match image {
                Ok(bytes) => sound.push((*row, bytes)),
                Err(unusable) => each(*row, Err(unusable.clone()))?,
            }
        }
        let files: Vec<&[u8]> = sound.iter().map(|(_, bytes)| *bytes).collect();
        let found = blocking(|| model.embed_images(&files, cancel)).map_err(SqlError::from)?;
        let mut problems = found.problems.iter().peekable();
        let vectors = found.values.chunks_exact(found.dimension.max(1));
        for (at, ((row, _), vector)) in sound.iter().zip(vectors).enumerate() {
            match problems.next_if(|(wrong, _)| *wrong == at) {
                None => each(*row, Ok(vector))?,
                Some((_, problem)) => each(*row, Err(Unusable::of(images, *row, problem)))?,
            }
        }
        Ok(())
    })
}

fn hashes(call: &Call<'_>) -> Result<ArrayRef> {
    let on_error = on_error(call.literal(ON_ERROR, 1)?)?;
    let images = call.images(0)?;
    let mut hashes: Vec<Option<String>> = vec![None; call.rows];
    images.in_groups(call.rows, |group| {
        for (row, image) in group {
            call.cancel.check().map_err(SqlError::from)?;
            let found = match image {
                Ok(bytes) => hash(bytes).map_err(|error| Unusable::of(&images, *row, &error)),
                Err(unusable) => Err(unusable.clone()),
            };
            match found {
                Ok(hash) => hashes[*row] = Some(format!("{hash:016x}")),
                Err(unusable) => on_error.settle(call.name, &unusable)?,
            }
        }
        Ok(())
    })?;
    Ok(Arc::new(StringArray::from(hashes)))
}

fn hash(bytes: &[u8]) -> Result<u64, ImageError> {
    decode(bytes, true).map(|pixels| perceptual_hash(&pixels))
}
