//! `sembla embed`: a text column of many files becomes a column of vectors in Parquet.
//!
//! One thread reads, this one runs the model, one writes; the channels between them hold a few
//! batches, so memory does not grow with the input. What was finished survives a kill (see
//! `work.rs`).

mod export;
mod figures;
mod fresh;
mod manifest;
mod output;
mod pace;
mod parts;
mod vectors;
mod work;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use sembla_models::{CancelToken, Model, ModelKind, Prompt};

use crate::args::EmbedArgs;
use crate::failure::{Failure, Result};
use crate::input::{Plan, Rows, Wanted, resolve};
use crate::interrupt::Interrupt;
use crate::output::FileKind;
use crate::progress::count;
use figures::Figures;
use fresh::Known;
use manifest::{Columns, Manifest};
use output::{Kind, Output};
use pace::Pace;
use parts::{Layout, PartWriter};
use work::{Begin, Work};

/// Batches that wait between two threads.
const QUEUE_BATCHES_MAX: usize = 2;

/// Runs the command.
///
/// # Errors
/// When the input, the model or the output are not as they should be, or on Ctrl-C.
pub(crate) fn run(args: &EmbedArgs, interrupt: &Interrupt) -> Result<()> {
    let output = Output::new(&args.output, args.overwrite)?.growing(args.only_new.is_some())?;
    if !output.folder().exists() {
        output.check()?;
    }
    let spec = args.model.spec()?;
    let plan = plan(args, &output)?;
    let model = Model::load(&spec)?;
    if model.info().kind == ModelKind::CrossEncoder {
        return Err(Failure::user(format!(
            "model '{}' is a cross-encoder: it scores pairs and makes no vectors",
            model.info().name
        )));
    }
    output.check_model(model.info())?;
    let mut work = match Work::begin(&output, manifest(args, &plan, &model), args.restart)? {
        Begin::Work(work) => work,
        Begin::Finished => {
            eprintln!("{} was finished already", output.path.display());
            return Ok(());
        }
    };
    if work.rows > 0 {
        eprintln!("resuming after {} of {} rows", count(work.rows), count(plan.rows));
    }
    let guard = interrupt.guard(CancelToken::new());
    let mut figures = Figures::new(&model, guard.token(), work.rows, plan.rows);
    let result = embed_all(args, &plan, &model, &mut work, &output, &mut figures, guard.token());
    result.map_err(|failure| match failure {
        Failure::Interrupted(_) => interrupted(&work, plan.rows),
        other => other,
    })?;
    if work.grows && work.parts == 0 {
        work.give_up()?;
        drop(figures);
        eprintln!("{} has every row of the input already", output.path.display());
        return Ok(());
    }
    match output.kind {
        Kind::Folder => {}
        Kind::Rows(FileKind::Parquet) => parts::join(&work, output.earlier_files().first())?,
        Kind::Rows(kind) => export::rows(&work, kind, guard.token())?,
        Kind::Npy => export::npy(&work, &args.output_column, guard.token())?,
    }
    drop(guard);
    work.publish(&output)?;
    let summary = figures.summary(&output.path);
    drop(figures);
    eprintln!("{summary}");
    if let Some(ids) = output.ids().filter(|ids| ids.exists()) {
        eprintln!("the columns beside the vectors, row for row: {}", ids.display());
    }
    Ok(())
}

/// What is read. Beside a bare array of vectors stand the ids alone, unless columns are named.
fn plan(args: &EmbedArgs, output: &Output) -> Result<Plan> {
    let table = Plan::table(resolve(&args.inputs, &[&args.output])?)?;
    let has = |name: &str| table.schema.index_of(name).is_ok();
    let ids: Vec<String> = [ID].into_iter().filter(|id| has(id)).map(str::to_string).collect();
    let columns = match &args.columns {
        None if output.kind == Kind::Npy => Some(ids.as_slice()),
        columns => columns.as_deref(),
    };
    let wanted =
        Wanted { text: Some(&args.column), columns, output_column: Some(&args.output_column) };
    let plan = Plan::of(table, &wanted)?;
    if let Some(key) = &args.only_new
        && !plan.kept.iter().any(|column| plan.schema.field(*column).name() == key)
    {
        return Err(Failure::user(format!(
            "--only-new {key}: the output would have no column '{key}'; keep one that names the rows"
        )));
    }
    let kept = plan.kept.iter().map(|column| plan.schema.field(*column));
    match kept.into_iter().find(|field| is_empty_object(field.data_type())) {
        Some(field) => Err(Failure::user(format!(
            "column '{}' holds objects without any field, which no output can keep; leave it out with --columns",
            field.name()
        ))),
        None => Ok(plan),
    }
}

/// The column of ids, where an input has one.
const ID: &str = "id";

/// Whether somewhere in the type is an object without a field.
fn is_empty_object(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => {
            fields.is_empty() || fields.iter().any(|field| is_empty_object(field.data_type()))
        }
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => is_empty_object(field.data_type()),
        _ => false,
    }
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
        only_new: args.only_new.as_deref(),
    };
    let files: Vec<_> = plan.table.files.iter().map(|file| file.file.clone()).collect();
    Manifest::new(columns, model.info(), &files)
}

/// How a run that Ctrl-C stopped can go on.
fn interrupted(work: &Work, total: u64) -> Failure {
    Failure::Interrupted(Some(format!(
        "{} of {} rows are kept; run the same command again to resume",
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
    output: &Output,
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
    let rows = rows(args, plan, work, output)?;
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
        // Switches the model's default prompt off.
        Some("") => Prompt::Text(""),
        Some("query") => Prompt::Query,
        Some("document") => Prompt::Document,
        Some(name) => Prompt::Named(name),
    }
}

/// Batches of rows that are still to be embedded.
type Pending<'a> = Box<dyn Iterator<Item = Result<RecordBatch>> + Send + 'a>;

/// The rows that are not done yet: those behind the ones that are, or those whose keys are neither
/// in the output nor in finished parts.
fn rows<'a>(
    args: &'a EmbedArgs,
    plan: &'a Plan,
    work: &Work,
    output: &Output,
) -> Result<Pending<'a>> {
    let Some(key) = &args.only_new else {
        return Ok(Box::new(Rows::new(plan, work.rows, args.batch_rows)));
    };
    let files = output.earlier_files().into_iter().chain(work.part_paths());
    let mut known = Known::read(key, files)?;
    let all = Rows::new(plan, 0, args.batch_rows);
    Ok(Box::new(all.map(move |batch| known.fresh(&batch?))))
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
    /// Embeds batch after batch until the reader ends, something fails, or Ctrl-C. A batch goes on
    /// in pieces, so that little is lost with a model that takes long over one.
    fn run(
        &self,
        from_reader: Receiver<Result<RecordBatch>>,
        to_writer: SyncSender<RecordBatch>,
        figures: &mut Figures,
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
        Ok(())
    }

    /// The rows of the output for those of a batch.
    fn embedded(&self, batch: &RecordBatch, figures: &mut Figures) -> Result<RecordBatch> {
        let (vectors, nulls) = self.embed(batch)?;
        figures.add(batch.num_rows(), nulls);
        let mut columns: Vec<ArrayRef> =
            self.plan.kept.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        columns.push(vectors);
        RecordBatch::try_new(Arc::clone(&self.layout.schema), columns)
            .map_err(|error| Failure::other(format!("internal error: {error}")))
    }

    /// The vectors of a batch, and how many of its texts are NULL.
    fn embed(&self, batch: &RecordBatch) -> Result<(ArrayRef, usize)> {
        let texts = vectors::Texts::new(batch.column(self.text))?;
        let embeddings = self.model.embed(&texts.present(), self.prompt, self.cancel)?;
        let vectors = vectors::column(embeddings, self.model.info().dimension, &texts)?;
        Ok((vectors, texts.nulls()))
    }
}
