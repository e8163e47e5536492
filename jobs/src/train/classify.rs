//! Fits a classifier to rows with a label: logistic regression on the vectors of a model, which is
//! fine-tuned on pairs of the rows first where that is asked for (SetFit's way).
//!
//! The result is one directory: the model and the classifier on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use sembla_models::{CancelToken, Classifier, InputKind, Model, ModelKind, ModelSpec, Prompt};
use sembla_operators::evaluate::{ClassificationMetrics, classification_metrics};
use sembla_operators::logistic::{self, LogisticOptions};
use sembla_operators::{Host, OperatorError};
use sembla_sql::Progress;
use sembla_training::losses::{LabelKind, find};
use sembla_training::pairs::pairs_of_classes;
use sembla_training::{Dataset, Event, Labels, Network, Objective, Target, Training};

use super::labelled::{Classes, Inputs, Labelled};
use super::{TrainRequest, check, failure};
use crate::embed::STAGE;
use crate::failure::{Failure, Result, one_line};
use crate::input::Notice;
use crate::numbers::count;

/// The loss of pairs, unless another is given: that of SetFit.
const LOSS: &str = "cosine";

/// What is asked of a classifier beside what is asked of all training.
#[derive(Clone, Copy, Debug)]
pub struct ClassifyOptions {
    /// How strongly large weights are penalised: scikit-learn's `1 / C`.
    pub l2: f64,
    /// Fine-tunes the model first, on so many pairs of each text with others of its label, and as
    /// many with texts of other labels. `None` leaves the model as it is.
    pub pairs: Option<usize>,
}

impl ClassifyOptions {
    /// The penalty where none is asked for: that of scikit-learn.
    pub const L2: f64 = 1.0;
}

/// What stops a run, and who hears of it.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// What stops it.
    pub cancel: &'a CancelToken,
    /// Hears what is worth a line.
    pub notice: Notice<'a>,
    /// Hears how far it is.
    pub progress: &'a dyn Progress,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Classified {
    /// The new model directory.
    pub output: PathBuf,
    /// The rows that the classifier was fitted to.
    pub rows: usize,
    /// The labels.
    pub labels: usize,
    /// Steps of fine-tuning; `None` where there was none.
    pub fine_tuned: Option<usize>,
    /// The metrics on the rows to measure on, and how many there are.
    pub measured: Option<(ClassificationMetrics, usize)>,
    /// Time from the first row to the last file.
    pub took: Duration,
}

impl std::fmt::Display for Classified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.output.display();
        let (labels, rows) = (count(self.labels as u64), count(self.rows as u64));
        write!(f, "{shown}: {labels} labels from {rows} rows")?;
        if let Some(steps) = self.fine_tuned {
            write!(f, ", {} steps of fine-tuning", count(steps as u64))?;
        }
        write!(f, ", {:.1} s", self.took.as_secs_f64())?;
        if let Some((metrics, rows)) = &self.measured {
            let ClassificationMetrics { accuracy, macro_f1 } = metrics;
            let rows = count(*rows as u64);
            write!(f, "; accuracy {accuracy:.4}, macro-F1 {macro_f1:.4} on {rows} rows")?;
        }
        Ok(())
    }
}

/// Looks whether a classifier can be made of what is asked for.
///
/// # Errors
/// Options of other tasks, and those of [`check`].
pub fn check_classify(request: &TrainRequest, options: &ClassifyOptions) -> Result<()> {
    let refuse = |option: &str, why: &str| {
        Err(Failure::user(format!("{option} does not go with the task classify: {why}")))
    };
    if request.base.max_length.is_some() {
        return refuse("max length", "a classifier's directory keeps the limit of its base");
    }
    if !request.matryoshka.is_empty() {
        return refuse("matryoshka", "a classifier takes whole vectors");
    }
    if request.report.is_some() {
        return refuse("a report", "it shows the curves of training");
    }
    if request.loss.is_some() && options.pairs.is_none() {
        return refuse("a loss", "it is for fine-tuning, which fine-tune pairs ask for");
    }
    check(request)
}

/// Fits a classifier to the rows of `data`, measured on those of `eval`.
///
/// Blocks until the end. Memory is that of the rows and their vectors; fine-tuning takes what
/// [`run`](super::run) takes.
///
/// # Errors
/// Columns, labels, options and files that are not as they should be, and
/// [`Failure::Interrupted`] when `cancel` is set.
pub fn classify(
    request: &TrainRequest,
    options: &ClassifyOptions,
    data: &[RecordBatch],
    eval: Option<&[RecordBatch]>,
    watch: Watch<'_>,
    observe: &mut dyn FnMut(&Event),
) -> Result<Classified> {
    check_classify(request, options)?;
    let begun = Instant::now();
    let Watch { cancel, notice, .. } = watch;
    let data = Labelled::read(data, "the rows of --data", notice)?;
    let eval = eval.map(|eval| Labelled::read(eval, "the rows of --eval", notice)).transpose()?;
    let classes = data.classes()?;
    let tuned = tuned_folder(&request.output);
    let fine_tuned = match options.pairs {
        Some(pairs) => Some(fine_tune(request, pairs, &data, &classes, &tuned, cancel, observe)?),
        None => None,
    };
    let base = match fine_tuned {
        Some(_) => ModelSpec::new(tuned.display().to_string()),
        None => request.base.clone(),
    };
    let model = Model::load(&base)?;
    let head = fit(&model, options, &data, &classes, watch)?;
    let measured = match &eval {
        Some(eval) => Some((measure(&model, &head, eval, watch)?, eval.rows())),
        None => None,
    };
    cancel.check()?;
    drop(model);
    sembla_models::classifier::save(&base, &request.output, &head)?;
    if fine_tuned.is_some() {
        fs::remove_dir_all(&tuned).map_err(|error| Failure::file(&tuned, &error))?;
    }
    Ok(Classified {
        output: request.output.clone(),
        rows: data.rows(),
        labels: head.labels().len(),
        fine_tuned,
        measured,
        took: begun.elapsed(),
    })
}

/// Where the fine-tuned model is until its classifier is there.
pub fn tuned_folder(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(".tuned");
    output.with_file_name(name)
}

/// Trains a model on pairs of the rows; gives the number of steps.
fn fine_tune(
    request: &TrainRequest,
    pairs: usize,
    data: &Labelled,
    classes: &Classes,
    output: &Path,
    cancel: &CancelToken,
    observe: &mut dyn FnMut(&Event),
) -> Result<usize> {
    let Inputs::Texts(texts) = &data.inputs else {
        return Err(Failure::user(
            "fine-tuning on pairs takes texts; a classifier of images goes without",
        ));
    };
    let mut network = Network::open(&request.base).map_err(failure)?;
    let loss = find(request.loss.as_deref().unwrap_or(LOSS)).map_err(failure)?;
    let (columns, labels) = match loss.shape.label {
        LabelKind::Class => (vec![texts.clone()], Labels::Classes(classes.of_rows.clone())),
        LabelKind::Score | LabelKind::Binary if !loss.shape.scores_pairs => {
            let found = pairs_of_classes(&classes.of_rows, pairs, request.options.seed);
            let found = found.map_err(failure)?;
            let side = |rows: &Vec<u32>| -> Vec<String> {
                rows.iter().map(|row| texts[*row as usize].clone()).collect()
            };
            (found.rows.iter().map(side).collect(), found.labels)
        }
        _ => {
            return Err(Failure::user(format!(
                "loss {} does not take texts with labels; those that do: cosine, cosent, contrastive, online_contrastive, batch_all_triplet",
                loss.name
            )));
        }
    };
    let rows = Dataset::read(&network, loss, &columns, labels, cancel).map_err(failure)?;
    let objective = Objective { loss, options: request.loss_options, matryoshka: Vec::new() };
    let target = Target { output: output.to_path_buf(), restart: request.restart };
    let training = Training {
        data: &rows,
        objective: &objective,
        options: &request.options,
        evaluator: None,
        target: &target,
    };
    let mut tell = |event: Event| observe(&event);
    let summary = sembla_training::train(&mut network, &training, cancel, &mut tell);
    Ok(summary.map_err(failure)?.steps)
}

/// Fits the head.
fn fit(
    model: &Model,
    options: &ClassifyOptions,
    data: &Labelled,
    classes: &Classes,
    watch: Watch<'_>,
) -> Result<Classifier> {
    let vectors = vectors(model, &data.inputs, watch)?;
    let asked = LogisticOptions { l2: options.l2, ..LogisticOptions::default() };
    let (dimension, labels) = (model.info().dimension, classes.labels.len());
    let host = Fitting { cancel: watch.cancel, progress: watch.progress };
    let found = logistic::fit(&vectors, dimension, &classes.of_rows, labels, &asked, &host);
    let found = found.map_err(of_operator)?;
    if !found.converged {
        (watch.notice)(&format!(
            "the classifier is not quite fitted after {} steps; a larger L2 penalty helps",
            found.steps
        ));
    }
    let takes = match data.inputs {
        Inputs::Texts(_) => InputKind::Text,
        Inputs::Images(_) => InputKind::Image,
    };
    Ok(Classifier::new(classes.labels.clone(), takes, found.weights, found.biases)?)
}

/// Vectors of all inputs, as SQL's `classify` will make them.
fn vectors(model: &Model, inputs: &Inputs, watch: Watch<'_>) -> Result<Vec<f32>> {
    let Watch { cancel, progress, .. } = watch;
    if model.info().kind == ModelKind::CrossEncoder {
        return Err(Failure::user(format!(
            "the task classify needs a base that embeds, and model '{}' is a cross-encoder",
            model.info().name
        )));
    }
    match inputs {
        Inputs::Texts(texts) => {
            progress.update(STAGE, 0, Some(texts.len() as u64));
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            Ok(model.embed(&texts, Prompt::Default, cancel)?.values)
        }
        Inputs::Images(images) => {
            progress.update(STAGE, 0, Some(images.len() as u64));
            let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
            let found = model.embed_images(&images, cancel)?;
            match found.problems.first() {
                None => Ok(found.values),
                Some((row, problem)) => Err(Failure::user(format!(
                    "image {} of {} can't be used: {problem}; leave such rows out: WHERE image_hash(image, on_error => 'null') IS NOT NULL",
                    count(*row as u64 + 1),
                    count(images.len() as u64)
                ))),
            }
        }
    }
}

/// How often the classifier is right.
fn measure(
    model: &Model,
    head: &Classifier,
    eval: &Labelled,
    watch: Watch<'_>,
) -> Result<ClassificationMetrics> {
    let known = head.labels().len();
    let truth = eval.places(head.labels());
    let unknown = truth.iter().filter(|class| **class as usize >= known).count();
    if unknown > 0 {
        (watch.notice)(&format!(
            "{} of {} rows of --eval have a label that no row of --data has; they count as wrong",
            count(unknown as u64),
            count(eval.rows() as u64)
        ));
    }
    let vectors = vectors(model, &eval.inputs, watch)?;
    let best = |vector: &[f32]| {
        let scores = head.probabilities(vector);
        let better = |best: usize, at: usize| if scores[at] > scores[best] { at } else { best };
        (1..scores.len()).fold(0, better) as u32
    };
    let predicted = vectors.chunks_exact(head.dimension()).map(best);
    let classes = truth.iter().max().map_or(known, |last| known.max(*last as usize + 1));
    classification_metrics(truth.iter().copied().zip(predicted), classes)
        .ok_or_else(|| Failure::other("internal error: no row to measure; please report it"))
}

/// Whoever waits for a fit.
struct Fitting<'a> {
    cancel: &'a CancelToken,
    progress: &'a dyn Progress,
}

impl Host for Fitting<'_> {
    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn progress(&self, stage: &'static str, done: u64, _total: u64) {
        // It ends when it is near enough, long before the last step that it may take.
        self.progress.update(stage, done, None);
    }
}

fn of_operator(error: OperatorError) -> Failure {
    match error {
        OperatorError::Cancelled => Failure::Interrupted(None),
        OperatorError::Bug(_) | OperatorError::Caller(_) => Failure::Other(one_line(&error)),
        other => Failure::User(one_line(&other)),
    }
}
