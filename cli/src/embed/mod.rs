//! `sembla embed`: a text column of many files becomes a column of vectors in Parquet.
//!
//! One thread reads, this one runs the model, one writes; the channels between them hold a few
//! batches, so memory does not grow with the input. What was finished survives a kill (see
//! `work.rs`).

mod figures;
mod manifest;
mod parts;
mod vectors;
mod work;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use sembla_models::{CancelToken, Model, ModelKind, Prompt};

use crate::args::EmbedArgs;
use crate::failure::{Failure, Result};
use crate::input::{Plan, Rows, Wanted, resolve};
use crate::interrupt::Interrupt;
use crate::progress::count;
use figures::Figures;
use manifest::{Columns, Manifest};
use parts::{Layout, PartWriter};
use work::{Begin, Output, Work};

/// Batches that wait between two threads.
const QUEUE_BATCHES_MAX: usize = 2;

/// Runs the command.
///
/// # Errors
/// When the input, the model or the output are not as they should be, or on Ctrl-C.
pub(crate) fn run(args: &EmbedArgs, interrupt: &Interrupt) -> Result<()> {
    let output = Output::new(&args.output, args.overwrite);
    if !output.folder().exists() {
        output.check()?;
    }
    let spec = args.model.spec()?;
    let plan = Plan::new(
        resolve(&args.inputs, &[&args.output])?,
        &Wanted {
            text: Some(&args.column),
            columns: args.columns.as_deref(),
            output_column: Some(&args.output_column),
        },
    )?;
    let model = Model::load(&spec)?;
    if model.info().kind == ModelKind::CrossEncoder {
        return Err(Failure::user(format!(
            "model '{}' is a cross-encoder: it scores pairs and makes no vectors",
            model.info().name
        )));
    }
    let mut work = match Work::begin(&output, manifest(args, &plan, &model), args.restart)? {
        Begin::Work(work) => work,
        Begin::Finished => {
            eprintln!("{} was finished already", output.path.display());
            return Ok(());
        }
    };
    if work.rows > 0 {
        eprintln!("going on after {} rows of {}", count(work.rows), count(plan.rows));
    }
    let mut figures = Figures::new(&model, work.rows, plan.rows);
    let guard = interrupt.guard(CancelToken::new());
    let result = embed_all(args, &plan, &model, &mut work, &mut figures, guard.token());
    figures.clear();
    result.map_err(|failure| match failure {
        Failure::Interrupted(_) => interrupted(&work, plan.rows),
        other => other,
    })?;
    if output.single {
        parts::join(&work)?;
    }
    work.publish(&output)?;
    eprintln!("{}", figures.summary(&output.path));
    Ok(())
}

/// The first `limit` texts of a file that are not NULL.
///
/// # Errors
/// When the file or its column can't be read.
pub(crate) fn texts_of(input: &str, column: &str, limit: usize) -> Result<Vec<String>> {
    const BATCH_ROWS: usize = 4096;
    let files = resolve(&[input.to_string()], &[])?;
    let wanted = Wanted { text: Some(column), columns: Some(&[]), output_column: None };
    let plan = Plan::new(files, &wanted)?;
    let text = plan.column(column)?;
    let mut texts = Vec::new();
    for batch in Rows::new(&plan, 0, BATCH_ROWS) {
        let batch = vectors::Texts::new(batch?.column(text))?;
        texts.extend(batch.present().into_iter().map(str::to_string));
        if texts.len() >= limit {
            break;
        }
    }
    texts.truncate(limit);
    Ok(texts)
}

/// What this run is asked to do.
fn manifest(args: &EmbedArgs, plan: &Plan, model: &Model) -> Manifest {
    let kept = plan.kept.iter().map(|column| plan.schema.field(*column).name().clone());
    let columns = Columns {
        text: &args.column,
        output: &args.output_column,
        kept: kept.collect(),
        prompt: args.prompt.as_deref(),
    };
    let files: Vec<_> = plan.files.iter().map(|file| file.input.clone()).collect();
    Manifest::new(columns, model.info(), &files)
}

/// How a run that Ctrl-C stopped can go on.
fn interrupted(work: &Work, total: u64) -> Failure {
    Failure::Interrupted(Some(format!(
        "{} of {} rows are kept; the same command goes on from there",
        count(work.rows),
        count(total)
    )))
}

/// Embeds the rows that are not done yet.
fn embed_all(
    args: &EmbedArgs,
    plan: &Plan,
    model: &Model,
    work: &mut Work,
    figures: &mut Figures,
    cancel: &CancelToken,
) -> Result<()> {
    let dimension = model.info().dimension;
    let mut fields: Vec<_> =
        plan.kept.iter().map(|column| Arc::new(plan.schema.field(*column).clone())).collect();
    let vector_type = vectors::vector_type(dimension)?;
    fields.push(Arc::new(Field::new(&args.output_column, vector_type, true)));
    let schema = Arc::new(Schema::new(fields));
    let layout =
        Layout::new(schema, &work.manifest, &args.output_column, dimension, args.part_rows);
    let rows = Rows::new(plan, work.rows, args.batch_rows);
    let writer = PartWriter::new(work, &layout);
    let text = plan.column(&args.column)?;
    let embedder = Embedder { plan, text, model, layout: &layout, prompt: prompt(args), cancel };

    thread::scope(|scope| {
        let (to_model, from_reader) = sync_channel(QUEUE_BATCHES_MAX);
        let (to_writer, from_model) = sync_channel(QUEUE_BATCHES_MAX);
        scope.spawn(move || read(rows, &to_model));
        let writing = scope.spawn(move || write(writer, &from_model));
        let embedded = embedder.run(from_reader, to_writer, figures);
        let written = writing
            .join()
            .unwrap_or_else(|_| Err(Failure::other("internal error: the writer panicked")));
        written.and(embedded)
    })
}

/// The prompt that the user named.
fn prompt(args: &EmbedArgs) -> Prompt<'_> {
    match args.prompt.as_deref() {
        None => Prompt::Default,
        Some("query") => Prompt::Query,
        Some("document") => Prompt::Document,
        Some(name) => Prompt::Named(name),
    }
}

/// The reading thread.
fn read(rows: Rows<'_>, to_model: &SyncSender<Result<RecordBatch>>) {
    for batch in rows {
        let last = batch.is_err();
        if to_model.send(batch).is_err() || last {
            return;
        }
    }
}

/// The writing thread. When the batches end early, what has come is kept all the same: it is a
/// prefix of the output.
fn write(mut writer: PartWriter<'_>, from_model: &Receiver<RecordBatch>) -> Result<()> {
    for batch in from_model {
        writer.write(&batch)?;
    }
    writer.finish()
}

/// The middle of the pipeline.
struct Embedder<'a> {
    plan: &'a Plan,
    /// Index of the text among the plan's columns.
    text: usize,
    model: &'a Model,
    layout: &'a Layout,
    prompt: Prompt<'a>,
    cancel: &'a CancelToken,
}

impl Embedder<'_> {
    /// Embeds batch after batch until the reader ends, something fails, or Ctrl-C.
    fn run(
        &self,
        from_reader: Receiver<Result<RecordBatch>>,
        to_writer: SyncSender<RecordBatch>,
        figures: &mut Figures,
    ) -> Result<()> {
        for batch in from_reader {
            self.cancel.check()?;
            let batch = batch?;
            let (vectors, nulls) = self.embed(&batch)?;
            figures.add(batch.num_rows(), nulls);
            let mut columns: Vec<ArrayRef> =
                self.plan.kept.iter().map(|column| Arc::clone(batch.column(*column))).collect();
            columns.push(vectors);
            let batch = RecordBatch::try_new(Arc::clone(&self.layout.schema), columns)
                .map_err(|error| Failure::other(format!("internal error: {error}")))?;
            if to_writer.send(batch).is_err() {
                // The writer has failed; its own error is the one to tell.
                return Ok(());
            }
        }
        Ok(())
    }

    /// The vectors of a batch, and how many of its texts are NULL.
    fn embed(&self, batch: &RecordBatch) -> Result<(ArrayRef, usize)> {
        let texts = vectors::Texts::new(batch.column(self.text))?;
        let embeddings = self.model.embed(&texts.present(), self.prompt, self.cancel)?;
        let vectors = vectors::column(embeddings, self.model.info().dimension, &texts)?;
        Ok((vectors, texts.nulls()))
    }
}
