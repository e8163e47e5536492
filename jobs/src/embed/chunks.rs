//! Rows of the inputs as rows of their chunks, before they are embedded.
//!
//! *Invariant:* the same inputs give the same chunks in the same order, so that how many rows are
//! written says where to go on.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use sembla_models::CancelToken;
use sembla_sql::Chunker;

use super::vectors::Texts;
use crate::failure::{Failure, Result};

/// The name of the column of the chunks themselves.
pub(super) const CHUNK: &str = "chunk";

/// Rows that are cut at a time: long texts make many chunks.
const ROWS_TOGETHER: usize = 64;

/// The columns of a chunk.
pub(super) fn fields() -> Vec<FieldRef> {
    let number = |name| Arc::new(Field::new(name, DataType::Int64, false));
    vec![
        number("chunk_index"),
        number("chunk_start"),
        number("chunk_end"),
        number("token_count"),
        Arc::new(Field::new("heading_path", DataType::Utf8, true)),
        Arc::new(Field::new(CHUNK, DataType::Utf8, false)),
    ]
}

/// Cuts batches of rows.
pub(super) struct Chunking {
    chunker: Chunker,
    cancel: CancelToken,
    /// The column of texts.
    text: usize,
    /// The columns that are kept.
    kept: Vec<usize>,
    schema: SchemaRef,
}

impl Chunking {
    /// Cuts the texts of one column of batches, of which some columns are kept.
    pub(super) fn new(
        chunker: Chunker,
        cancel: CancelToken,
        schema: &Schema,
        text: usize,
        kept: &[usize],
    ) -> Self {
        let mut all: Vec<FieldRef> =
            kept.iter().map(|column| Arc::new(schema.field(*column).clone())).collect();
        all.extend(fields());
        let schema = Arc::new(Schema::new(all));
        Self { chunker, cancel, text, kept: kept.to_vec(), schema }
    }

    /// The rows of the chunks of batches, but for the first `skip`.
    pub(super) fn of<'a>(
        self,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'a,
        mut skip: u64,
    ) -> impl Iterator<Item = Result<RecordBatch>> + Send + 'a {
        let pieces = batches.flat_map(|batch| match batch {
            Ok(batch) => {
                let rows = batch.num_rows();
                let starts = (0..rows).step_by(ROWS_TOGETHER);
                let piece = |start| Ok(batch.slice(start, ROWS_TOGETHER.min(rows - start)));
                starts.map(piece).collect::<Vec<_>>()
            }
            Err(failure) => vec![Err(failure)],
        });
        pieces.map(move |piece| {
            let chunks = self.chunks(&piece?)?;
            let gone = usize::try_from(skip).unwrap_or(usize::MAX).min(chunks.num_rows());
            skip -= gone as u64;
            Ok(chunks.slice(gone, chunks.num_rows() - gone))
        })
    }

    fn chunks(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let texts = Texts::new(rows.column(self.text))?;
        let given: Vec<Option<&str>> = texts.all().collect();
        let split = self.chunker.split_texts(&given, &self.cancel)?;
        let (mut places, mut pieces) = (Vec::new(), Vec::new());
        for ((row, text), chunks) in (0_u32..).zip(&given).zip(&split) {
            for (index, chunk) in (0_i64..).zip(chunks) {
                places.push(row);
                pieces.push((index, chunk, text.unwrap_or_default()));
            }
        }
        let internal = |error| Failure::other(format!("internal error: {error}"));
        let places = UInt32Array::from(places);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for column in &self.kept {
            columns.push(take(rows.column(*column), &places, None).map_err(internal)?);
        }
        let number = |of: &dyn Fn(&(i64, &sembla_sql::Chunk, &str)) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(pieces.iter().map(of)))
        };
        columns.push(number(&|(index, _, _)| *index));
        columns.push(number(&|(_, chunk, _)| chunk.start as i64));
        columns.push(number(&|(_, chunk, _)| chunk.end as i64));
        columns.push(number(&|(_, chunk, _)| chunk.tokens as i64));
        let headings = pieces.iter().map(|(_, chunk, _)| chunk.heading_path.as_deref());
        columns.push(Arc::new(headings.collect::<StringArray>()));
        let texts = pieces.iter().map(|(_, chunk, text)| chunk.text(text));
        columns.push(Arc::new(StringArray::from_iter_values(texts)));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(internal)
    }
}
