//! Fine-tunes a model on the rows of a query, and writes a model directory.
//!
//! The names of the columns say what they are, and with that which losses fit (`rows.rs`); the
//! training itself is `sembla-training`'s. Progress is kept beside the output: a killed run
//! resumes. Classifiers are another task, with columns of its own (`classify.rs`).

mod classify;
mod labelled;
mod report;
pub(crate) mod rows;
mod statement;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use sembla_models::{CancelToken, ModelKind, ModelSpec};
use sembla_training::losses::{LabelKind, LossOptions};
use sembla_training::{
    Evaluator, Event, LossDef, Network, Objective, Options, Target, TrainError, Training,
};

use crate::failure::{Failure, Result, one_line};
use crate::input::Notice;
use crate::numbers::{count, per_second};
pub use rows::ROWS_MAX;
use rows::Rows;
pub(crate) use rows::TEXTS;

pub use classify::{Classified, ClassifyOptions, Watch, check_classify, classify, tuned_folder};
pub use statement::{OPTIONS, Trainer};

/// The stage that the steps of training are told under.
pub const STAGE: &str = "training, step";

/// What to train, on what, and where to.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    /// The model that training begins with, and its longest input.
    pub base: ModelSpec,
    /// The new model directory.
    pub output: PathBuf,
    /// Whether an output that exists is replaced.
    pub overwrite: bool,
    /// Whether progress of an earlier run is thrown away.
    pub restart: bool,
    /// The loss; `None` is the usual one for the columns.
    pub loss: Option<String>,
    /// Numbers that some losses take.
    pub loss_options: LossOptions,
    /// The counts of components that vectors may be cut to.
    pub matryoshka: Vec<usize>,
    /// How it is trained.
    pub options: Options,
    /// A file for a page with the curves.
    pub report: Option<PathBuf>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The new model directory.
    pub output: PathBuf,
    /// The rows that it was trained on.
    pub rows: usize,
    /// The loss that was used.
    pub loss: &'static str,
    /// What the trainer says.
    pub summary: sembla_training::Summary,
    /// Time from the first step to the last, evaluations included.
    pub took: Duration,
}

impl std::fmt::Display for Trained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { output, rows, loss, summary, took } = self;
        write!(
            f,
            "{}: {} steps on {} rows with {loss}, {} texts/s, {:.0} s",
            output.display(),
            count(summary.steps as u64),
            count(*rows as u64),
            per_second(summary.texts_per_second),
            took.as_secs_f64()
        )?;
        let before = summary.history.evaluations.first().filter(|(step, _)| *step == 0);
        if let (Some(metric), Some((_, before)), Some((step, best))) =
            (summary.metric, before, summary.history.best)
        {
            write!(f, "; {metric} {before:.4} before, {best:.4} after {step} steps")?;
            if best < *before {
                write!(f, ": training made it worse")?;
            }
        }
        Ok(())
    }
}

/// Looks whether a run can write where it is asked to.
///
/// # Errors
/// When the output exists and `overwrite` is not set, or its folder is not there.
pub fn check(request: &TrainRequest) -> Result<()> {
    check_output(&request.output, request.overwrite)?;
    crate::report::check(request.report.as_deref(), request.overwrite)
}

/// Looks whether a folder can be written where it is asked for.
pub(crate) fn check_output(output: &Path, overwrite: bool) -> Result<()> {
    let shown = output.display();
    if output.file_name().is_none() {
        return Err(Failure::user(format!("the output {shown} is not the name of a new folder")));
    }
    if output.exists() && !overwrite {
        return Err(Failure::user(format!("the output {shown} exists; --overwrite replaces it")));
    }
    if output.is_file() {
        return Err(Failure::user(format!("the output {shown} is a file; a model is a folder")));
    }
    let parent = crate::whole_file::parent(output);
    if !parent.is_dir() {
        return Err(Failure::user(format!("the folder of the output {shown} does not exist")));
    }
    crate::whole_file::check_writable(parent)
}

/// Trains on the rows of `data`, measured on those of `eval`.
///
/// Blocks until the end. Memory is that of the rows as tokens, of four numbers per weight, and of
/// the activations of a batch.
///
/// # Errors
/// Columns, options and files that are not as they should be, a loss that is no number any more,
/// and [`Failure::Interrupted`] when `cancel` is set.
pub fn run(
    request: &TrainRequest,
    data: &[RecordBatch],
    eval: Option<&[RecordBatch]>,
    cancel: &CancelToken,
    notice: Notice<'_>,
    observe: &mut dyn FnMut(&Event),
) -> Result<Trained> {
    check(request)?;
    let data = Rows::read(data, "the rows of --data", notice)?;
    let eval = eval.map(|eval| Rows::read(eval, "the rows of --eval", notice)).transpose()?;
    let mut network = Network::open(&request.base).map_err(failure)?;
    let is_pair = network.kind() == ModelKind::CrossEncoder;
    let loss = match &request.loss {
        Some(name) => sembla_training::losses::find(name).map_err(failure)?,
        None => data.usual_loss(is_pair)?,
    };
    data.check(loss, is_pair)?;
    if request.options.rate_for(network.kind()) > 0.1 {
        notice(
            "the learning rate is above 0.1; transformers are usually fine-tuned with 1e-5 to 1e-4",
        );
    }
    let train = data.dataset(&network, loss, cancel)?;
    let truncated = train.truncated();
    if truncated > 0 {
        notice(&format!(
            "{} of {} texts are longer than the model's limit and are truncated",
            count(truncated as u64),
            count((train.rows() * train.texts_per_row()) as u64)
        ));
    }
    let evaluator = match &eval {
        Some(eval) => {
            Some(Evaluator::new(eval.dataset(&network, eval.usual_loss(is_pair)?, cancel)?))
        }
        None => None,
    };
    let objective =
        Objective { loss, options: request.loss_options, matryoshka: request.matryoshka.clone() };
    let target = Target { output: request.output.clone(), restart: request.restart };
    let begun = Instant::now();
    let mut tell = |event: Event| observe(&event);
    let training = Training {
        data: &train,
        objective: &objective,
        options: &request.options,
        evaluator: evaluator.as_ref(),
        target: &target,
    };
    let summary =
        sembla_training::train(&mut network, &training, cancel, &mut tell).map_err(failure)?;
    let (rows, output) = (train.rows(), request.output.clone());
    let trained = Trained { output, rows, loss: loss.name, summary, took: begun.elapsed() };
    if let Some(path) = &request.report {
        report::write(path, request, &trained, network.parameters())?;
    }
    Ok(trained)
}

/// What the user is told of an error of training.
pub(crate) fn failure(error: TrainError) -> Failure {
    use sembla_models::Fault;
    match error {
        TrainError::Model(error) => error.into(),
        TrainError::Io { path, source } => Failure::file(&path, &source),
        other => match other.fault() {
            Fault::User => Failure::User(one_line(&other)),
            Fault::External | Fault::Bug => Failure::Other(one_line(&other)),
        },
    }
}

/// The losses that take rows of some texts with some label, for messages.
fn fitting(texts: usize, label: rows::Found, is_pair: bool) -> Vec<&'static str> {
    let fits = |def: &&&LossDef| {
        let shape = &def.shape;
        shape.scores_pairs == is_pair
            && (shape.texts_min..=shape.texts_max).contains(&texts)
            && label.serves(shape.label)
    };
    sembla_training::losses::LOSSES.iter().filter(fits).map(|def| def.name).collect()
}

/// Where the work of an unfinished run is.
pub fn work_folder(output: &Path) -> PathBuf {
    Target { output: output.to_path_buf(), restart: false }.work()
}

/// What losses call the labels that they take.
fn label_words(kind: LabelKind) -> &'static str {
    match kind {
        LabelKind::None => "no label",
        LabelKind::Score => "a score",
        LabelKind::Binary => "a label 0 or 1",
        LabelKind::Class => "a label",
        LabelKind::Margins => "a score for each negative",
        LabelKind::Vector => "a vector",
    }
}
