//! A text column of many files, or the files of images, become a column of vectors in Parquet, or
//! in another format.
//!
//! The rows can also go to the sink of a connector, such as a table of PostgreSQL (see `sink.rs`).
//!
//! One thread reads, this one runs the model, one writes; the channels between them hold a few
//! batches, so memory does not grow with the input. What was finished survives a kill (see
//! `work.rs`).

mod chunks;
mod embedder;
mod estimate;
mod export;
mod figures;
mod fresh;
mod incremental;
mod lock;
mod manifest;
mod output;
mod pace;
mod parts;
mod pictures;
mod runs;
mod sample;
mod schema;
mod sink;
mod snapshot;
mod source;
mod stored;
mod vectors;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Schema;
use sembla_models::{CancelToken, Model, ModelKind, ModelSpec, Prompt};
use sembla_runtime::failpoint;
use sembla_sql::{ChunkSpec, Progress};

use crate::failure::{Failure, Result};
use crate::input::Notice;
use crate::numbers::count;
use crate::output::FileKind;
use chunks::Chunking;
use embedder::{Embedder, Pending};
pub use estimate::{Estimate, estimate};
use figures::Figures;
pub use figures::{STAGE, Summary};
use fresh::Known;
pub use incremental::{Changes, Cleanup, Incremental};
use manifest::{Columns, Manifest};
use output::{Output, OutputKind};
use parts::{Layout, PartWriter};
pub use runs::note_run;
pub use sample::texts_of;
use schema::schema;
use sink::{SinkAddress, SinkPlace, SinkWriter};
use snapshot::Snapshot;
use source::Source;
use stored::Stored;
pub use stored::shown;
use work::{Begin, Work};

/// What to embed, and where to.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// Files, folders, globs or addresses to read, in this order; or tables of a store
    /// (`postgres://…?table=articles`), each read as of one moment.
    pub inputs: Vec<String>,
    /// A `.parquet`, `.csv`, `.ndjson`, `.arrow` or `.npy` file, or a folder that gets Parquet
    /// files; or the address of one (`s3://`, `gs://`, `az://`, `https://`), or of the sink of a
    /// connector (`postgres://…?table=docs`).
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
    /// Whether the inputs are images rather than tables.
    pub of_images: bool,
    /// How rows are told apart, where only those that changed are embedded.
    pub incremental: Option<Incremental>,
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
    source: Source,
    model: Model,
    place: Place,
    /// The copies of tables that are read.
    snapshot: Option<Snapshot>,
}

/// Where the rows go.
enum Place {
    /// Into a file or a folder, by way of a work folder.
    Files {
        output: Output,
        work: Box<Work>,
        /// What was found changed, where only that is embedded.
        run: incremental::Run,
        /// Where the output is uploaded to in the end, if that is an address.
        stored: Option<Stored>,
    },
    /// Into the sink of a connector.
    Sink(Box<SinkPlace>),
}

impl Place {
    /// Rows that are done.
    fn rows(&self) -> u64 {
        match self {
            Self::Files { work, .. } => work.rows,
            Self::Sink(place) => place.rows(),
        }
    }
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
        if let Some(address) = SinkAddress::of(&request)? {
            if request.incremental.is_some() {
                return Err(Failure::user(
                    "--incremental needs a .parquet file as output, got a sink",
                ));
            }
            if request.of_images {
                return Err(Failure::user(
                    "images need a file or a folder as output, got a sink; embed them into a .parquet file first",
                ));
            }
            return Self::begin_sink(request, address, notice);
        }
        let stored = Stored::of(&request.output)?;
        if let Some(stored) = &stored {
            stored.begin(&request)?;
            (request.output, request.overwrite) = (stored.local.clone(), true);
        }
        let output = Output::new(&request.output, request.overwrite)?;
        let mut output = output.growing(request.only_new.is_some())?;
        let has_previous = incremental::has_previous(&request, &output)?;
        output.overwrite |= has_previous;
        if !output.folder().exists() {
            output.check()?;
        }
        let mut snapshot = Snapshot::take(&mut request, notice)?;
        let mut source = Source::of(&request, output.kind == OutputKind::Npy, notice)?;
        check_kept(&request, &source)?;
        let model = load(&request.model, request.of_images)?;
        output.check_model(model.info())?;
        source.cut(&request, &model)?;
        let from = output.run().filter(|_| has_previous);
        let manifest = manifest(&request, &source, &model, from);
        if has_previous {
            output.check_same(&manifest)?;
        }
        match Work::begin(&output, manifest, request.restart)? {
            Begin::Work(work) => {
                let run = incremental::Run { has_previous, ..Default::default() };
                let place = Place::Files { output, work, run, stored };
                Ok(Some(Self { request, source, model, place, snapshot }))
            }
            Begin::Finished => {
                snapshot.iter_mut().for_each(|snapshot| snapshot.is_kept = false);
                stored.as_ref().map_or(Ok(()), Stored::finish)?;
                Ok(None)
            }
        }
    }

    /// The same for a sink, which knows by itself what is done.
    fn begin_sink(
        mut request: EmbedRequest,
        address: SinkAddress,
        notice: Notice<'_>,
    ) -> Result<Option<Self>> {
        let mut snapshot = Snapshot::take(&mut request, notice)?;
        let mut source = Source::of(&request, false, notice)?;
        check_kept(&request, &source)?;
        let model = load(&request.model, false)?;
        source.cut(&request, &model)?;
        let manifest = manifest(&request, &source, &model, None);
        let schema = schema(&source, &request, &model)?;
        let Some(place) = address.open(&schema, &manifest, &request)? else {
            snapshot.iter_mut().for_each(|snapshot| snapshot.is_kept = false);
            return Ok(None);
        };
        let place = Place::Sink(Box::new(place));
        Ok(Some(Self { request, source, model, place, snapshot }))
    }

    /// Rows that earlier starts of the same job have finished.
    pub fn resumed_rows(&self) -> u64 {
        self.place.rows()
    }

    /// The column of texts.
    pub fn text_column(&self) -> &str {
        self.source.column()
    }

    /// Rows that will be written; `None` where texts are cut, which shows how many there are.
    pub fn rows(&self) -> Option<u64> {
        self.source.rows()
    }

    /// Embeds, writes, and publishes the output by one rename. One thread reads, this one runs the
    /// model, one writes; memory does not depend on the rows of the input.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] when `cancel` was set: finished parts are kept, and the same
    /// request resumes. Those of the disk, of unreadable rows and of the model.
    pub fn run(mut self, progress: &dyn Progress, cancel: &CancelToken) -> Result<Embedded> {
        let mut snapshot = self.snapshot.take();
        let ended = self.run_all(progress, cancel);
        // The run that resumes this one reads the same rows.
        snapshot.iter_mut().for_each(|snapshot| snapshot.is_kept = ended.is_err());
        ended
    }

    fn run_all(mut self, progress: &dyn Progress, cancel: &CancelToken) -> Result<Embedded> {
        let total = self.rows();
        let of_images = self.request.of_images;
        let mut figures =
            Figures::new(&self.model, progress, self.place.rows(), total).of_images(of_images);
        self.embed_all(&mut figures, cancel).map_err(|failure| match failure {
            Failure::Interrupted(_) => interrupted(self.place.rows(), total),
            other => other,
        })?;
        let Self { request, place, .. } = self;
        let (output, work, run, stored) = match place {
            Place::Files { output, work, run, stored } => (output, *work, run, stored),
            Place::Sink(place) => {
                let summary = figures.summary(Path::new(&place.shown));
                return Ok(Embedded::Written(Box::new(summary)));
            }
        };
        let changes = request.incremental.as_ref().map(|_| run.changes.changes());
        let is_as_before = run.has_previous && changes.is_some_and(|changes| changes.is_none());
        if work.grows && work.parts == 0 || is_as_before {
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
        reached("embed.joined")?;
        work.publish(&output)?;
        let mut summary = figures.summary(&output.path);
        summary.changes = changes;
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
        let Self { request, source, model, place, .. } = self;
        let (request, source, model) = (&*request, &*source, &*model);
        let done = place.rows();
        let (schema, mut rows) = match place {
            Place::Files { output, work, .. } => {
                let rows = rows(request, source, work, output)?;
                (schema(source, request, model)?, rows)
            }
            Place::Sink(place) => (Arc::clone(&place.schema), rows_from(request, source, done)),
        };
        let (mut kept, mut text) = (source.kept(), content_of(source)?);
        if let Some(chunker) = source.chunker() {
            let cut = Chunking::new(chunker.clone(), cancel.clone(), source.schema(), text, &kept);
            let skip = if request.incremental.is_some() { 0 } else { done };
            rows = Box::new(cut.of(rows, skip));
            // From here on, rows have what is kept and the columns of chunks, the text last.
            let others = kept.len() + chunks::fields().len();
            kept = (0..others).collect();
            text = others - 1;
        }
        let (mut hash, mut previous) = (None, None);
        if let (Some(how), Place::Files { output, run, .. }) = (&request.incremental, &*place) {
            let columns = match source.chunker() {
                Some(_) => {
                    let fields = schema.fields().iter().take(kept.len()).cloned();
                    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
                }
                None => Arc::clone(source.schema()),
            };
            let own = columns.fields().len();
            let from = (&*output.path, request.output_column.as_str(), model.info().dimension);
            let errors = request.of_images.then_some(source::ERROR);
            (rows, previous) = run.rows(rows, how, (from, errors), (text, &kept), columns, done)?;
            kept.push(own);
            hash = Some(own);
        }
        let prompt = prompt(request);
        let previous = previous.as_deref();
        let schema = &schema;
        let of_images = request.of_images;
        let embedder =
            Embedder { kept, text, of_images, model, schema, prompt, cancel, hash, previous };
        match place {
            Place::Files { work, .. } => {
                let (column, part_rows) = (&request.output_column, request.part_rows);
                let dimension = model.info().dimension;
                let schema = Arc::clone(schema);
                let layout = Layout::new(schema, &work.manifest, column, dimension, part_rows);
                let writer = PartWriter::new(work, &layout);
                embedder.between(rows, figures, move |batches, _| writer.write_all(&batches))
            }
            Place::Sink(place) => {
                let writer = SinkWriter::new(place, cancel);
                embedder.between(rows, figures, move |batches, is_all| {
                    writer.write_all(&batches, is_all)
                })
            }
        }
    }
}

/// Loads a model that makes vectors of texts or of images.
fn load(spec: &ModelSpec, of_images: bool) -> Result<Model> {
    let model = Model::load(spec)?;
    match model.info().kind {
        ModelKind::CrossEncoder => Err(Failure::user(format!(
            "model '{}' is a cross-encoder, which scores pairs and makes no vectors",
            model.info().name
        ))),
        _ if of_images && !model.info().takes.has_images() => Err(Failure::user(format!(
            "model '{}' takes {}, no images; name a CLIP, SigLIP or DINOv2 model with -m",
            model.info().name,
            model.info().takes
        ))),
        _ if !of_images && !model.info().takes.has_texts() => Err(Failure::user(format!(
            "model '{}' takes images only; name a folder of images as the input",
            model.info().name
        ))),
        _ => Ok(model),
    }
}

/// The place of the column of contents.
fn content_of(source: &Source) -> Result<usize> {
    let name = source.column();
    let missing = |_| Failure::other(format!("internal error: column '{name}' is not read"));
    source.schema().index_of(name).map_err(missing)
}

/// Checks the columns that options name against those that are kept.
fn check_kept(request: &EmbedRequest, source: &Source) -> Result<()> {
    let (kept, schema) = (source.kept(), source.schema());
    let is_kept = |name: &str| kept.iter().any(|column| schema.field(*column).name() == name);
    incremental::check(request, is_kept)?;
    match &request.only_new {
        Some(key) if !is_kept(key) => Err(Failure::user(format!(
            "--only-new {key}: the output would have no column '{key}'; add it to --columns"
        ))),
        _ => Ok(()),
    }
}

/// What this run is asked to do.
fn manifest(
    request: &EmbedRequest,
    source: &Source,
    model: &Model,
    from: Option<String>,
) -> Manifest {
    let incremental = request.incremental.as_ref().map(|how| {
        let from = from.unwrap_or_default();
        format!("by {}, cleanup {}, from '{from}'", how.key, how.cleanup)
    });
    let kept = source.kept().into_iter().map(|column| source.schema().field(column).name().clone());
    let columns = Columns {
        text: source.column(),
        output: &request.output_column,
        kept: kept.collect(),
        prompt: request.prompt.as_deref(),
        only_new: request.only_new.as_deref(),
        chunk: request.chunk.as_ref().map(ToString::to_string),
        incremental,
    };
    Manifest::new(columns, model.info(), source.inputs())
}

/// A place where a test can end the process.
fn reached(name: &str) -> Result<()> {
    failpoint::hit(name).map_err(|error| Failure::other(error.to_string()))
}

/// How a run that was cancelled can be resumed.
fn interrupted(done: u64, total: Option<u64>) -> Failure {
    let of = total.map_or(String::new(), |total| format!(" of {}", count(total)));
    Failure::Interrupted(Some(format!(
        "{}{of} rows are kept; run the same command again to resume",
        count(done)
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

/// The rows that are not done yet: those behind the ones that are, or those whose keys are neither
/// in the output nor in finished parts.
fn rows<'a>(
    request: &'a EmbedRequest,
    source: &'a Source,
    work: &Work,
    output: &Output,
) -> Result<Pending<'a>> {
    let Some(key) = request.only_new.as_ref().filter(|_| request.chunk.is_none()) else {
        return Ok(rows_from(request, source, work.rows));
    };
    let files = output.earlier_files().into_iter().chain(work.part_paths());
    let mut known = Known::read(key, files)?;
    let all = source.from(0, request.batch_rows);
    Ok(Box::new(all.map(move |batch| known.fresh(&batch?))))
}

/// The rows behind those that are done, of which there are `done` in the output.
fn rows_from<'a>(request: &EmbedRequest, source: &'a Source, done: u64) -> Pending<'a> {
    // Which rows the written chunks are of is seen when they are cut again, which is quick.
    let is_all = request.chunk.is_some() || request.incremental.is_some();
    let from = if is_all { 0 } else { done };
    source.from(from, request.batch_rows)
}
