//! Vectors of images. One that can't be used is a row without a vector, whose `error` says why.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use sembla_models::Embeddings;

use super::embedder::Embedder;
use super::figures::Figures;
use super::incremental::hashes;
use super::source::ERROR_PLACE;
use super::vectors;
use crate::failure::{Failure, Result};

/// Vectors of rows, and why others have none.
struct Found {
    vectors: Vec<Option<Vec<f32>>>,
    errors: Vec<Option<String>>,
}

impl Embedder<'_> {
    /// The rows of the output for images.
    pub(super) fn pictures(
        &self,
        batch: &RecordBatch,
        figures: &mut Figures<'_>,
    ) -> Result<RecordBatch> {
        let Found { vectors, errors } = self.find(batch)?;
        let paths = batch.column(0).as_string_opt::<i32>();
        for (row, error) in errors.iter().enumerate() {
            if let (Some(error), None) = (error, &vectors[row]) {
                figures.unusable(paths.map_or("", |paths| paths.value(row)), error);
            }
        }
        let nulls = NullBuffer::from_iter(vectors.iter().map(Option::is_some));
        figures.add(batch.num_rows(), nulls.null_count());
        let errors: ArrayRef = Arc::new(StringArray::from(errors));
        let column = |column: &usize| match *column {
            ERROR_PLACE => Arc::clone(&errors),
            other => Arc::clone(batch.column(other)),
        };
        let mut columns: Vec<ArrayRef> = self.kept.iter().map(column).collect();
        let dimension = self.model.info().dimension;
        let values = vectors.into_iter().flatten().flatten().collect();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        let embeddings = Embeddings { dimension, values };
        columns.push(vectors::list(embeddings, dimension, nulls, batch.num_rows())?);
        RecordBatch::try_new(Arc::clone(self.schema), columns)
            .map_err(|error| Failure::other(format!("internal error: {error}")))
    }

    /// Takes vectors over from an earlier output where the bytes are the same, and makes the
    /// others.
    fn find(&self, batch: &RecordBatch) -> Result<Found> {
        let rows = batch.num_rows();
        let broken = || Failure::other("internal error: images without bytes or errors");
        let bytes = batch.column(self.text).as_binary_opt::<i32>().ok_or_else(broken)?;
        let errors = batch.column(ERROR_PLACE).as_string_opt::<i32>().ok_or_else(broken)?;
        let mut found = Found {
            vectors: vec![None; rows],
            errors: errors.iter().map(|error| error.map(str::to_string)).collect(),
        };
        let contents = self.hash.map_or_else(|| vec![None; rows], |at| hashes(batch.column(at)));
        let (mut known, mut fresh) = (Vec::new(), Vec::new());
        for (row, content) in contents.iter().enumerate() {
            let before = content.as_ref().zip(self.previous);
            if let Some(problem) = before.and_then(|(content, earlier)| earlier.problem(content)) {
                found.errors[row] = Some(problem.to_string());
            } else if let Some(at) = before.and_then(|(content, earlier)| earlier.row(content)) {
                known.push((at, row));
            } else if bytes.is_valid(row) {
                fresh.push(row);
            }
        }
        let images: Vec<&[u8]> = fresh.iter().map(|row| bytes.value(*row)).collect();
        let made = self.model.embed_images(&images, self.cancel)?;
        for (row, vector) in fresh.iter().zip(made.values.chunks_exact(made.dimension.max(1))) {
            found.vectors[*row] = Some(vector.to_vec());
        }
        for (image, problem) in &made.problems {
            if let Some(row) = fresh.get(*image) {
                found.vectors[*row] = None;
                found.errors[*row] = Some(problem.to_string());
            }
        }
        if let Some(previous) = self.previous {
            known.sort_unstable();
            let mut places: Vec<u32> = known.iter().map(|(at, _)| *at).collect();
            places.dedup();
            let dimension = self.model.info().dimension;
            let vectors = previous.vectors(&places)?;
            for (at, row) in known {
                let at = places.binary_search(&at).unwrap_or_default() * dimension;
                found.vectors[row] = vectors.get(at..at + dimension).map(<[f32]>::to_vec);
            }
        }
        Ok(found)
    }
}
