//! The middle of the work: batches that a thread reads get their vectors here, and another thread
//! writes them. The channels between hold a few batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::SchemaRef;
use sembla_models::{CancelToken, Embeddings, Model, Prompt};

use super::figures::Figures;
use super::incremental::{Previous, hashes};
use super::pace::Pace;
use super::vectors;
use crate::failure::{Failure, Result};

/// Batches that wait between two threads.
const QUEUE_BATCHES_MAX: usize = 2;

/// Batches of rows that are still to be embedded.
pub(super) type Pending<'a> = Box<dyn Iterator<Item = Result<RecordBatch>> + Send + 'a>;

/// The middle of the pipeline.
pub(super) struct Embedder<'a> {
    /// The columns that are kept.
    pub(super) kept: Vec<usize>,
    /// The column of the text, or of the bytes of images.
    pub(super) text: usize,
    /// Whether the contents are images.
    pub(super) of_images: bool,
    pub(super) model: &'a Model,
    /// The columns of the output.
    pub(super) schema: &'a SchemaRef,
    pub(super) prompt: Prompt<'a>,
    pub(super) cancel: &'a CancelToken,
    /// Where hashes of the texts stand, in a run that embeds only what changed.
    pub(super) hash: Option<usize>,
    /// Where vectors of texts that did not change are.
    pub(super) previous: Option<&'a Previous>,
}

impl Embedder<'_> {
    /// Embeds what a reading thread gives, and hands it to a writing one, which can see whether the
    /// batches that it got are all there are.
    pub(super) fn between(
        &self,
        rows: Pending<'_>,
        figures: &mut Figures<'_>,
        write: impl FnOnce(Receiver<RecordBatch>, &AtomicBool) -> Result<()> + Send,
    ) -> Result<()> {
        let is_all = AtomicBool::new(false);
        thread::scope(|scope| {
            let is_all = &is_all;
            let (to_model, from_reader) = sync_channel(QUEUE_BATCHES_MAX);
            let (to_writer, from_model) = sync_channel(QUEUE_BATCHES_MAX);
            scope.spawn(move || read(rows, &to_model));
            let writing = scope.spawn(move || write(from_model, is_all));
            let embedded = self.run(from_reader, to_writer, is_all, figures);
            let written = writing
                .join()
                .unwrap_or_else(|_| Err(Failure::other("internal error: the writer panicked")));
            written.and(embedded)
        })
    }

    /// Embeds batch after batch until the reader ends, something fails, or it is
    /// cancelled. A batch goes on
    /// in pieces, so that little is lost with a model that takes long over one.
    fn run(
        &self,
        from_reader: Receiver<Result<RecordBatch>>,
        to_writer: SyncSender<RecordBatch>,
        is_all: &AtomicBool,
        figures: &mut Figures<'_>,
    ) -> Result<()> {
        let mut pace = Pace::new();
        for batch in from_reader {
            let batch = batch?;
            let mut offset = 0;
            while offset < batch.num_rows() {
                self.cancel.check()?;
                let begun = Instant::now();
                let piece = batch.slice(offset, pace.rows().min(batch.num_rows() - offset));
                offset += piece.num_rows();
                if to_writer.send(self.embedded(&piece, figures)?).is_err() {
                    // The writer has failed; its own error is the one to tell.
                    return Ok(());
                }
                pace.took(piece.num_rows(), begun.elapsed());
            }
        }
        // The channel closes behind this.
        is_all.store(true, Ordering::Release);
        Ok(())
    }

    /// The rows of the output for those of a batch.
    fn embedded(&self, batch: &RecordBatch, figures: &mut Figures<'_>) -> Result<RecordBatch> {
        if self.of_images {
            return self.pictures(batch, figures);
        }
        let (vectors, nulls) = self.embed(batch)?;
        figures.add(batch.num_rows(), nulls);
        let mut columns: Vec<ArrayRef> =
            self.kept.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        columns.push(vectors);
        RecordBatch::try_new(Arc::clone(self.schema), columns)
            .map_err(|error| Failure::other(format!("internal error: {error}")))
    }

    /// The vectors of a batch, and how many of its texts are NULL.
    fn embed(&self, batch: &RecordBatch) -> Result<(ArrayRef, usize)> {
        if let Some(hash) = self.hash {
            return self.embed_changed(batch, hash);
        }
        let texts = vectors::Texts::new(batch.column(self.text))?;
        let embeddings = self.model.embed(&texts.present(), self.prompt, self.cancel)?;
        let vectors = vectors::column(embeddings, self.model.info().dimension, &texts)?;
        Ok((vectors, texts.nulls()))
    }

    /// The same where texts have hashes: what the last run has embedded is read from its output.
    fn embed_changed(&self, batch: &RecordBatch, hash: usize) -> Result<(ArrayRef, usize)> {
        let dimension = self.model.info().dimension;
        let contents = hashes(batch.column(hash));
        let texts = vectors::Texts::new(batch.column(self.text))?;
        // Of each text that is not NULL its place among those; of the known also its row.
        let (mut known, mut fresh, mut places) = (Vec::new(), Vec::new(), 0);
        for (content, text) in contents.iter().zip(texts.all()) {
            let Some(content) = content else { continue };
            match self.previous.and_then(|previous| previous.row(content)) {
                Some(row) => known.push((row, places)),
                None => fresh.push((places, text.unwrap_or_default())),
            }
            places += 1;
        }
        let mut values = vec![0.0; places * dimension];
        let mut put = |place: usize, vector: &[f32]| {
            let to = values.get_mut(place * dimension..).and_then(|to| to.get_mut(..vector.len()));
            to.into_iter().for_each(|to| to.copy_from_slice(vector));
        };
        let given: Vec<&str> = fresh.iter().map(|(_, text)| *text).collect();
        let embedded = self.model.embed(&given, self.prompt, self.cancel)?;
        let rows = embedded.values.chunks_exact(dimension.max(1));
        fresh.iter().zip(rows).for_each(|((place, _), vector)| put(*place, vector));
        if let Some(previous) = self.previous {
            known.sort_unstable();
            let mut rows: Vec<u32> = known.iter().map(|(row, _)| *row).collect();
            rows.dedup();
            let vectors = previous.vectors(&rows)?;
            for (row, place) in known {
                let at = rows.binary_search(&row).unwrap_or_default() * dimension;
                put(place, vectors.get(at..at + dimension).unwrap_or_default());
            }
        }
        let nulls = NullBuffer::from(contents.iter().map(Option::is_some).collect::<Vec<_>>());
        let missing = nulls.null_count();
        let embeddings = Embeddings { dimension, values };
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        Ok((vectors::list(embeddings, dimension, nulls, contents.len())?, missing))
    }
}

/// The reading thread.
fn read(rows: Pending<'_>, to_model: &SyncSender<Result<RecordBatch>>) {
    for batch in rows {
        let last = batch.is_err();
        if to_model.send(batch).is_err() || last {
            return;
        }
    }
}
