//! A text column of many files becomes a column of vectors in Parquet, or in another format.
//!
//! One thread reads, this one runs the model, one writes; the channels between them hold a few
//! batches, so memory does not grow with the input. What was finished survives a kill (see
//! `work.rs`).

mod chunks;
mod export;
mod figures;
mod fresh;
mod manifest;
mod output;
mod pace;
mod parts;
mod stored;
mod vectors;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use sembla_models::{CancelToken, Model, ModelKind, ModelSpec, Prompt};
use sembla_sql::{ChunkSpec, Chunker, Progress};

use crate::failure::{Failure, Result};
use crate::input::{Notice, Plan, Rows, Wanted, resolve, text_column};
use crate::numbers::count;
use crate::output::FileKind;
use chunks::Chunking;
use figures::Figures;
pub use figures::{STAGE, Summary};
use fresh::Known;
use manifest::{Columns, Manifest};
use output::{Output, OutputKind};
use pace::Pace;
use parts::{Layout, PartWriter};
use stored::Stored;
pub use stored::shown;
use work::{Begin, Work};

/// Batches that wait between two threads.
const QUEUE_BATCHES_MAX: usize = 2;

/// What to embed, and where to.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// Files, folders, globs or addresses to read, in this order.
    pub inputs: Vec<String>,
    /// A `.parquet`, `.csv`, `.ndjson`, `.arrow` or `.npy` file, or a folder that gets Parquet
    /// files; or the address of one (`s3://`, `gs://`, `az://`, `https://`).
    pub output: PathBuf,
    /// The column of texts; `doc.body` is a field of a column. `None` is `text`, or the only one
    /// of texts.
    pub column: Option<String>,
    /// The name of the new column of vectors.
    pub output_column: String,
    /// The columns of the input to keep; `None` is all.
    pub columns: Option<Vec<String>>,
    /// How texts are cut into chunks, each of which is embedded and becomes a row; `None` embeds
    /// texts as they are.
    pub chunk: Option<ChunkSpec>,
    /// The prompt to put before each text: `None` is the model's default, `Some("")` none, `query`
    /// and `document` those kinds, anything else a prompt that the model's configuration names.
    pub prompt: Option<String>,
    /// Whether an output that exists is replaced.
    pub overwrite: bool,
    /// Only rows whose value of this column the output does not have yet, which are added to it.
    pub only_new: Option<String>,
    /// Whether the parts of an unfinished run are thrown away.
    pub restart: bool,
    /// Rows that the model gets at a time.
    pub batch_rows: usize,
    /// Rows of a part, which is what a kill can lose at most; `None` is 256 MiB of vectors.
    pub part_rows: Option<usize>,
    /// The model.
    pub model: ModelSpec,
}

/// Embedding work that was checked and can run: the inputs were looked into, the model is loaded,
/// and the work folder is locked for this process.
pub struct EmbedJob {
    request: EmbedRequest,
    output: Output,
    plan: Plan,
    /// The column of texts.
    column: String,
    model: Model,
    /// What cuts the texts, if they are cut.
    chunker: Option<Chunker>,
    work: Work,
    /// Where the output is uploaded to in the end, if that is an address.
    stored: Option<Stored>,
}

/// How a job ended that did not fail.
#[derive(Clone, Debug)]
pub enum Embedded {
    /// The output was written.
    Written(Box<Summary>),
    /// The output had every row of the input already.
    NothingNew,
}

impl EmbedJob {
    /// Checks everything that can be checked before the first text meets the model, and opens or
    /// resumes the work folder `OUT.partial/`. `None` means that an earlier start was killed after
    /// its output was in place: nothing is left to do.
    ///
    /// # Errors
    /// When the input, the model or the output are not as they should be, or another process works
    /// on the same output.
    pub fn begin(mut request: EmbedRequest, notice: Notice<'_>) -> Result<Option<Self>> {
        let stored = Stored::of(&request.output)?;
        if let Some(stored) = &stored {
            stored.begin(&request)?;
            (request.output, request.overwrite) = (stored.local.clone(), true);
        }
        let output = Output::new(&request.output, request.overwrite)?;
        let output = output.growing(request.only_new.is_some())?;
        if !output.folder().exists() {
            output.check()?;
        }
        let (plan, column) = plan(&request, &output, notice)?;
        let model = Model::load(&request.model)?;
        if model.info().kind == ModelKind::CrossEncoder {
            return Err(Failure::user(format!(
                "model '{}' is a cross-encoder, which scores pairs and makes no vectors",
                model.info().name
            )));
        }
        if !model.info().takes.has_texts() {
            return Err(Failure::user(format!(
                "model '{}' takes images only; name a folder of images as the input",
                model.info().name
            )));
        }
        output.check_model(model.info())?;
        let chunker = match &request.chunk {
            Some(chunk) => {
                let subjects = || Ok(Model::load(&ModelSpec::new("potion"))?);
                Some(Chunker::new(&model, prompt(&request), chunk, subjects)?)
            }
            None => None,
        };
        let manifest = manifest(&request, &plan, &column, &model);
        match Work::begin(&output, manifest, request.restart)? {
            Begin::Work(work) => {
                let work = *work;
                Ok(Some(Self { request, output, plan, column, model, chunker, work, stored }))
            }
            Begin::Finished => {
                stored.as_ref().map_or(Ok(()), Stored::finish)?;
                Ok(None)
            }
        }
    }

    /// Rows that earlier starts of the same job have finished.
    pub fn resumed_rows(&self) -> u64 {
        self.work.rows
    }

    /// The column of texts.
    pub fn text_column(&self) -> &str {
        &self.column
    }

    /// Rows that will be written; `None` where texts are cut, which shows how many there are.
    pub fn rows(&self) -> Option<u64> {
        self.chunker.is_none().then_some(self.plan.rows)
    }

    /// Embeds, writes, and publishes the output by one rename. One thread reads, this one runs the
    /// model, one writes; memory does not depend on the rows of the input.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] when `cancel` was set: finished parts are kept, and the same
    /// request resumes. Those of the disk, of unreadable rows and of the model.
    pub fn run(mut self, progress: &dyn Progress, cancel: &CancelToken) -> Result<Embedded> {
        let total = self.rows();
        let mut figures = Figures::new(&self.model, progress, self.work.rows, total);
        self.embed_all(&mut figures, cancel).map_err(|failure| match failure {
            Failure::Interrupted(_) => interrupted(&self.work, total),
            other => other,
        })?;
        let Self { request, output, work, stored, .. } = self;
        if work.grows && work.parts == 0 {
            work.give_up()?;
            return Ok(Embedded::NothingNew);
        }
        match output.kind {
            OutputKind::Folder => {}
            OutputKind::Rows(FileKind::Parquet) => {
                parts::join(&work, output.earlier_files().first())?
            }
            OutputKind::Rows(kind) => export::rows(&work, kind, cancel)?,
            OutputKind::Npy => export::npy(&work, &request.output_column, cancel)?,
        }
        work.publish(&output)?;
        let mut summary = figures.summary(&output.path);
        if let Some(stored) = &stored {
            stored.finish()?;
            summary.output = stored.shown.clone().into();
        }
        // Beside what was uploaded lies what belongs to it.
        summary.ids = output.ids().filter(|ids| ids.exists());
        Ok(Embedded::Written(Box::new(summary)))
    }

    /// Embeds the rows that are not done yet.
    fn embed_all(&mut self, figures: &mut Figures<'_>, cancel: &CancelToken) -> Result<()> {
        let Self { request, output, plan, column: text, model, chunker, work, .. } = self;
        let (request, plan, model) = (&*request, &*plan, &*model);
        let dimension = model.info().dimension;
        let mut fields: Vec<_> =
            plan.kept.iter().map(|column| Arc::new(plan.schema.field(*column).clone())).collect();
        let mut kept = plan.kept.clone();
        let mut text = plan.column(text)?;
        let mut rows = rows(request, plan, work, output)?;
        if let Some(chunker) = chunker {
            let cut = Chunking::new(chunker.clone(), cancel.clone(), &plan.schema, text, &kept);
            rows = Box::new(cut.of(rows, work.rows));
            fields.extend(chunks::fields());
            // From here on, rows have what is kept and the columns of chunks, the text last.
            kept = (0..fields.len()).collect();
            text = fields.len() - 1;
        }
        let vector_type = vectors::vector_type(dimension)?;
        fields.push(Arc::new(Field::new(&request.output_column, vector_type, true)));
        let schema = Arc::new(Schema::new(fields));
        let column = &request.output_column;
        let layout = Layout::new(schema, &work.manifest, column, dimension, request.part_rows);
        let writer = PartWriter::new(work, &layout);
        let prompt = prompt(request);
        let embedder = Embedder { kept, text, model, layout: &layout, prompt, cancel };

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
}

/// What is read, and the column of texts. Beside a bare array of vectors stand the ids alone,
/// unless columns are named.
fn plan(request: &EmbedRequest, output: &Output, notice: Notice<'_>) -> Result<(Plan, String)> {
    let table = Plan::table(resolve(&request.inputs, &[&request.output])?, notice)?;
    let has = |name: &str| table.schema.index_of(name).is_ok();
    let ids: Vec<String> = [ID].into_iter().filter(|id| has(id)).map(str::to_string).collect();
    let text = text_column(&table, request.column.as_deref())?;
    let whole = table.schema.fields().iter().map(|field| field.name().clone());
    // Each chunk with the whole text beside it would be the text many times.
    let others: Vec<String> = whole.filter(|name| *name != text).collect();
    let columns = match &request.columns {
        None if output.kind == OutputKind::Npy => Some(ids.as_slice()),
        None if request.chunk.is_some() => Some(others.as_slice()),
        Some(names) if names.iter().any(|name| name == "*") => None,
        columns => columns.as_deref(),
    };
    let wanted = Wanted { text: Some(&text), columns, output_column: Some(&request.output_column) };
    let plan = Plan::of(table, &wanted)?;
    let is_kept =
        |name: &str| plan.kept.iter().any(|column| plan.schema.field(*column).name() == name);
    if let Some(field) = chunks::fields().iter().find(|field| is_kept(field.name()))
        && request.chunk.is_some()
    {
        return Err(Failure::user(format!(
            "the input has a column '{0}', and so have chunks; leave it out with --columns",
            field.name()
        )));
    }
    if let Some(key) = &request.only_new
        && !plan.kept.iter().any(|column| plan.schema.field(*column).name() == key)
    {
        return Err(Failure::user(format!(
            "--only-new {key}: the output would have no column '{key}'; add it to --columns"
        )));
    }
    let kept = plan.kept.iter().map(|column| plan.schema.field(*column));
    match kept.into_iter().find(|field| is_empty_object(field.data_type())) {
        Some(field) => Err(Failure::user(format!(
            "column '{}' holds objects without fields, which no output format can store; leave it out with --columns",
            field.name()
        ))),
        None => Ok((plan, text)),
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
pub fn texts_of(
    input: &str,
    column: &str,
    limit: usize,
    notice: Notice<'_>,
) -> Result<Vec<String>> {
    const BATCH_ROWS: usize = 4096;
    let files = resolve(&[input.to_string()], &[])?;
    let wanted = Wanted { text: Some(column), columns: Some(&[]), output_column: None };
    let plan = Plan::new(files, &wanted, notice)?;
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
fn manifest(request: &EmbedRequest, plan: &Plan, column: &str, model: &Model) -> Manifest {
    let kept = plan.kept.iter().map(|column| plan.schema.field(*column).name().clone());
    let columns = Columns {
        text: column,
        output: &request.output_column,
        kept: kept.collect(),
        prompt: request.prompt.as_deref(),
        only_new: request.only_new.as_deref(),
        chunk: request.chunk.as_ref().map(ToString::to_string),
    };
    let files: Vec<_> = plan.table.files.iter().map(|file| file.file.clone()).collect();
    Manifest::new(columns, model.info(), &files)
}

/// How a run that was cancelled can be resumed.
fn interrupted(work: &Work, total: Option<u64>) -> Failure {
    let of = total.map_or(String::new(), |total| format!(" of {}", count(total)));
    Failure::Interrupted(Some(format!(
        "{}{of} rows are kept; run the same command again to resume",
        count(work.rows)
    )))
}

/// The prompt that the user named.
fn prompt(request: &EmbedRequest) -> Prompt<'_> {
    match request.prompt.as_deref() {
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
    request: &'a EmbedRequest,
    plan: &'a Plan,
    work: &Work,
    output: &Output,
) -> Result<Pending<'a>> {
    if request.chunk.is_some() {
        // Which rows the written chunks are of is seen when they are cut again, which is quick.
        return Ok(Box::new(Rows::new(plan, 0, request.batch_rows)));
    }
    let Some(key) = &request.only_new else {
        return Ok(Box::new(Rows::new(plan, work.rows, request.batch_rows)));
    };
    let files = output.earlier_files().into_iter().chain(work.part_paths());
    let mut known = Known::read(key, files)?;
    let all = Rows::new(plan, 0, request.batch_rows);
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
    /// The columns that are kept.
    kept: Vec<usize>,
    /// The column of the text.
    text: usize,
    model: &'a Model,
    layout: &'a Layout,
    prompt: Prompt<'a>,
    cancel: &'a CancelToken,
}

impl Embedder<'_> {
    /// Embeds batch after batch until the reader ends, something fails, or it is
    /// cancelled. A batch goes on
    /// in pieces, so that little is lost with a model that takes long over one.
    fn run(
        &self,
        from_reader: Receiver<Result<RecordBatch>>,
        to_writer: SyncSender<RecordBatch>,
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
        Ok(())
    }

    /// The rows of the output for those of a batch.
    fn embedded(&self, batch: &RecordBatch, figures: &mut Figures<'_>) -> Result<RecordBatch> {
        let (vectors, nulls) = self.embed(batch)?;
        figures.add(batch.num_rows(), nulls);
        let mut columns: Vec<ArrayRef> =
            self.kept.iter().map(|column| Arc::clone(batch.column(*column))).collect();
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
