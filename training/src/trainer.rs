//! A run of training: steps, evaluations, the best model so far, and progress that outlives a kill.
//!
//! *Invariant:* what a step does follows from the data, the options and its number; nothing is
//! carried from one to the next but weights, moments and what `Progress` holds. So a run that was
//! killed and resumed ends with the bits of one that was not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sembla_models::trainable::Sequence;
use sembla_models::{CancelToken, ModelError};

use crate::adam::{Adam, Constants};
use crate::checkpoint::{self, History, Progress};
use crate::data::Dataset;
use crate::error::{Result, TrainError};
use crate::evaluate::Evaluator;
use crate::losses::{Input, Loss, LossDef, LossOptions, Matryoshka};
use crate::network::Network;
use crate::options::{CheckpointEvery, Options};
use crate::parameters::Gradients;
use crate::plan::{Pace, Plan};
use crate::random::mix;
use crate::work;

/// The folder of the best model so far, in the work folder.
const BEST: &str = "best";

/// What a run trains for.
#[derive(Clone, Debug)]
pub struct Objective {
    /// The loss.
    pub loss: &'static LossDef,
    /// Its numbers.
    pub options: LossOptions,
    /// The counts of components that vectors may be cut to; empty trains them whole.
    pub matryoshka: Vec<usize>,
}

impl Objective {
    fn build(&self, network: &Network) -> Result<Box<dyn Loss>> {
        let loss = (self.loss.build)(self.options);
        if self.matryoshka.is_empty() {
            return Ok(loss);
        }
        let width = network.width();
        if self.loss.shape.scores_pairs {
            return Err(TrainError::Option(
                "a model that scores pairs has no dimensions to cut".into(),
            ));
        }
        if let Some(wrong) = self.matryoshka.iter().find(|keep| **keep == 0 || **keep > width) {
            return Err(TrainError::Option(format!(
                "a cut of {wrong} components does not fit model '{}', which gives {width}",
                network.name()
            )));
        }
        Ok(Box::new(Matryoshka { loss, dimensions: self.matryoshka.clone() }))
    }
}

/// What happens in a run.
#[derive(Clone, Debug)]
pub enum Event {
    /// It goes on after a kill.
    Resumed {
        /// Steps that were done before.
        step: usize,
        /// All steps.
        steps: usize,
    },
    /// A step is done.
    Step {
        /// Steps that are done.
        step: usize,
        /// All steps.
        steps: usize,
        /// The loss before the step.
        loss: f64,
        /// The learning rate.
        rate: f32,
        /// Texts a second since the run began or was resumed, evaluations left out.
        texts_per_second: f64,
        /// What is left at that rate.
        left: Duration,
    },
    /// The model was measured.
    Evaluated {
        /// Steps that are done.
        step: usize,
        /// The name of the metric.
        metric: &'static str,
        /// Its value; more is better.
        value: f64,
        /// Whether it is the best so far, the untrained model left out.
        is_best: bool,
    },
    /// The run ends early, since nothing gets better.
    Stopped {
        /// Steps that are done.
        step: usize,
    },
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Steps that were done, those before a kill included.
    pub steps: usize,
    /// The curves.
    pub history: History,
    /// The name of the metric, where there was an evaluation.
    pub metric: Option<&'static str>,
    /// Texts a second, evaluations left out.
    pub texts_per_second: f64,
}

/// Where a run writes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The new model directory.
    pub output: PathBuf,
    /// Whether progress of an earlier run is thrown away.
    pub restart: bool,
}

impl Target {
    /// The folder of what is not finished, beside the output.
    pub fn work(&self) -> PathBuf {
        let mut name = self.output.file_name().unwrap_or_default().to_os_string();
        name.push(".partial");
        self.output.with_file_name(name)
    }
}

/// What a run of training is made of.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// The rows.
    pub data: &'a Dataset,
    /// What the model is trained for.
    pub objective: &'a Objective,
    /// How.
    pub options: &'a Options,
    /// What the model is measured on.
    pub evaluator: Option<&'a Evaluator>,
    /// Where it is written to.
    pub target: &'a Target,
}

/// Trains a model and writes it. Progress is kept in a folder beside the output until the end: a
/// run that is killed goes on when it is called again.
///
/// Takes three times the time of the same texts' inference, at least, and four bytes a parameter
/// for each of weights, gradients and two moments, and the activations of a batch.
///
/// # Errors
/// Options and rows that don't fit, [`TrainError::Diverged`] when the loss is no number any more,
/// those of the disk, and [`ModelError::Cancelled`]. The best model so far then stays in the folder
/// beside the output.
pub fn train(
    network: &mut Network,
    training: &Training<'_>,
    cancel: &CancelToken,
    observe: &mut dyn FnMut(Event),
) -> Result<Summary> {
    let Training { data, objective, options, evaluator, target } = *training;
    options.check()?;
    let loss = objective.build(network)?;
    let work = target.work();
    let lock = work::open(&work, target.restart)?;
    let constants =
        Constants { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: options.weight_decay };
    let mut adam = Adam::new(&network.parameters, constants);
    let unique = !options.duplicates.unwrap_or(!objective.loss.unique);
    let plan = Plan::new(data, options, unique);
    let fingerprint = fingerprint(network, training);
    let resumed = checkpoint::read(&work, &fingerprint, &mut network.parameters, &mut adam)?;
    if let Some(progress) = &resumed {
        observe(Event::Resumed { step: progress.step, steps: plan.steps });
    }
    let gradients = network.parameters.gradients();
    let mut run = Run {
        network,
        data,
        loss,
        options,
        evaluator,
        work: &work,
        cancel,
        observe,
        adam,
        gradients,
        progress: resumed.unwrap_or_else(|| Progress::new(fingerprint)),
        pace: Pace::default(),
        saved: Instant::now(),
    };
    let outcome = run.go(&plan);
    let history = run.progress.history.clone();
    let (steps, texts_per_second) = (run.progress.step, run.pace.rate());
    if let Err(error) = outcome {
        return Err(with_best(error, &history, &work));
    }
    let best = work.join(BEST);
    match history.best {
        Some(_) if best.is_dir() => work::replace(&best, &target.output)?,
        _ => network.save(&target.output)?,
    }
    drop(lock);
    fs::remove_dir_all(&work).map_err(|error| TrainError::io(&work, error))?;
    let metric = evaluator.map(|evaluator| evaluator.metric().name());
    Ok(Summary { steps, history, metric, texts_per_second })
}

/// Says where the best model so far is.
fn with_best(error: TrainError, history: &History, work: &Path) -> TrainError {
    let (TrainError::Diverged(message), Some((step, value))) = (&error, history.best) else {
        return error;
    };
    TrainError::Diverged(format!(
        "{message}; the best model so far (step {step}, {value:.4}) is in {}",
        work.join(BEST).display()
    ))
}

/// A hash of everything that decides the weights.
fn fingerprint(network: &Network, training: &Training<'_>) -> String {
    let Training { data, objective, options, evaluator, .. } = training;
    let mut hasher = blake3::Hasher::new();
    hasher.update(data.fingerprint().as_bytes());
    if let Some(evaluator) = evaluator {
        hasher.update(evaluator.fingerprint().as_bytes());
    }
    for parameter in &network.parameters.all {
        let sum: f64 = parameter.values.iter().map(|value| f64::from(*value)).sum();
        hasher.update(&sum.to_le_bytes());
    }
    let words = format!(
        "{} {:?} {:?} {:?}",
        objective.loss.name,
        objective.options,
        objective.matryoshka,
        options.deciding()
    );
    hasher.update(words.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// A run under way.
struct Run<'a> {
    network: &'a mut Network,
    data: &'a Dataset,
    loss: Box<dyn Loss>,
    options: &'a Options,
    evaluator: Option<&'a Evaluator>,
    work: &'a Path,
    cancel: &'a CancelToken,
    observe: &'a mut dyn FnMut(Event),
    adam: Adam,
    gradients: Gradients,
    progress: Progress,
    pace: Pace,
    /// When progress was saved last.
    saved: Instant,
}

impl Run<'_> {
    /// All steps from where the run is.
    fn go(&mut self, plan: &Plan) -> Result<()> {
        if self.progress.step == 0 && self.progress.history.evaluations.is_empty() {
            self.evaluate()?;
        }
        for (epoch, first) in plan.epochs.iter().enumerate() {
            let end = plan.epochs.get(epoch + 1).copied().unwrap_or(usize::MAX).min(plan.steps);
            if self.progress.step >= end {
                continue;
            }
            let Options { batch, seed, accumulate, .. } = *self.options;
            let batches = self.data.batches(batch, plan.unique, seed, epoch as u64);
            for group in batches.chunks(accumulate).skip(self.progress.step - first) {
                if self.progress.step >= end {
                    break;
                }
                if let Err(error) = self.cancel.check() {
                    self.save()?;
                    return Err(error.into());
                }
                self.step(group, plan)?;
                if self.is_time_to_evaluate(end) && self.evaluate()? {
                    (self.observe)(Event::Stopped { step: self.progress.step });
                    self.adam.finish(&mut self.network.parameters);
                    return Ok(());
                }
                if self.is_time_to_save() {
                    self.save()?;
                }
            }
        }
        self.adam.finish(&mut self.network.parameters);
        Ok(())
    }

    fn is_time_to_evaluate(&self, end_of_epoch: usize) -> bool {
        let step = self.progress.step;
        let every = self.options.evaluate_every;
        step == end_of_epoch || every.is_some_and(|every| step.is_multiple_of(every))
    }

    fn is_time_to_save(&self) -> bool {
        match self.options.checkpoint_every {
            CheckpointEvery::Time(time) => self.saved.elapsed() >= time,
            CheckpointEvery::Steps(steps) => self.progress.step.is_multiple_of(steps.max(1)),
        }
    }

    /// Saves progress.
    fn save(&mut self) -> Result<()> {
        self.progress.rates = self.adam.rates().to_vec();
        checkpoint::write(self.work, &self.progress, &self.network.parameters, &self.adam)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Measures the model; true when nothing has got better for too long.
    fn evaluate(&mut self) -> Result<bool> {
        let Some(evaluator) = self.evaluator else { return Ok(false) };
        self.adam.finish(&mut self.network.parameters);
        let step = self.progress.step;
        let value = evaluator.measure(self.network, self.cancel)?;
        let history = &mut self.progress.history;
        history.evaluations.push((step, value));
        let is_better = value.is_finite() && history.best.is_none_or(|(_, best)| value > best);
        let is_best = step > 0 && is_better;
        if is_best {
            history.best = Some((step, value));
            self.progress.without_gain = 0;
            self.network.save(&self.work.join(BEST))?;
        } else if step > 0 {
            self.progress.without_gain += 1;
        }
        let metric = evaluator.metric().name();
        (self.observe)(Event::Evaluated { step, metric, value, is_best });
        Ok(self.options.patience.is_some_and(|most| self.progress.without_gain >= most))
    }

    /// One step on a group of batches.
    fn step(&mut self, group: &[Vec<u32>], plan: &Plan) -> Result<()> {
        let begun = Instant::now();
        let (step, options) = (self.progress.step, self.options);
        self.gradients.clear();
        let mut loss = 0.0;
        for (number, rows) in group.iter().enumerate() {
            let seed = mix(options.seed ^ mix((step as u64) << 20 | number as u64));
            loss += self.batch(rows, seed, group.len())? / group.len() as f64;
        }
        let norm = self.gradients.norm();
        if !loss.is_finite() || !norm.is_finite() {
            return Err(TrainError::Diverged(format!(
                "the {} is not a number at step {} of {}; a lower learning rate or a longer warm-up may help",
                if loss.is_finite() { "gradient" } else { "loss" },
                step + 1,
                plan.steps
            )));
        }
        let most = f64::from(options.gradient_norm_max);
        if norm > most {
            self.gradients.scale((most / (norm + 1e-6)) as f32);
        }
        let warmup = (plan.steps as f64 * f64::from(options.warmup)).ceil() as usize;
        let highest = options.rate_for(self.network.kind());
        let rate = options.schedule.rate(highest, step, warmup, plan.steps);
        self.adam.step(&mut self.network.parameters, &self.gradients, rate);
        self.progress.step += 1;
        self.progress.history.losses.push(loss as f32);
        let rows: usize = group.iter().map(Vec::len).sum();
        self.pace.texts += rows * self.data.texts_per_row();
        self.pace.steps += 1;
        self.pace.seconds += begun.elapsed().as_secs_f64();
        (self.observe)(Event::Step {
            step: step + 1,
            steps: plan.steps,
            loss,
            rate,
            texts_per_second: self.pace.rate(),
            left: self.pace.left(plan.steps - step - 1),
        });
        Ok(())
    }

    /// Adds the gradients of one batch of a group of `group`, and gives its loss.
    fn batch(&mut self, rows: &[u32], seed: u64, group: usize) -> Result<f64> {
        let data = self.data;
        let texts: Vec<&Sequence> = data
            .columns
            .iter()
            .flat_map(|column| rows.iter().map(|row| &column[*row as usize]))
            .collect();
        let ids: Vec<u32> = texts.iter().flat_map(|text| text.ids.iter().copied()).collect();
        let words = self.network.words();
        self.adam.prepare(&mut self.network.parameters, words, &ids);
        let labels = data.labels.select(rows);
        let part = self.options.mini_batch.unwrap_or(usize::MAX).min(texts.len());
        let dropout = |network: &Network, part: usize| {
            self.options.dropout_for(network, mix(seed ^ mix(part as u64)))
        };
        if part == texts.len() {
            let dropout = dropout(self.network, 0);
            let pass = self.network.forward(&texts, dropout);
            let (loss, gradient) = self.loss_of(&pass.vectors, rows.len(), &labels, group);
            self.network.backward(pass, gradient, &mut self.gradients);
            return Ok(loss);
        }
        let mut vectors = Vec::new();
        for (number, texts) in texts.chunks(part).enumerate() {
            let dropout = dropout(self.network, number);
            let pass = self.network.forward(texts, dropout);
            vectors.extend(self.network.forget(pass));
        }
        let (loss, gradient) = self.loss_of(&vectors, rows.len(), &labels, group);
        let width = self.network.width();
        let gradients = gradient.chunks(part * width);
        for (number, (texts, gradient)) in texts.chunks(part).zip(gradients).enumerate() {
            self.cancel.check()?;
            let dropout = dropout(self.network, number);
            let pass = self.network.forward(texts, dropout);
            self.network.backward(pass, gradient.to_vec(), &mut self.gradients);
        }
        Ok(loss)
    }

    /// The loss of a batch's vectors, column after column, and their gradient divided by `group`.
    fn loss_of(
        &self,
        vectors: &[f32],
        rows: usize,
        labels: &crate::losses::Labels,
        group: usize,
    ) -> (f64, Vec<f32>) {
        let width = self.network.width();
        let columns: Vec<&[f32]> = vectors.chunks(rows * width).collect();
        let mut out: Vec<Vec<f32>> = columns.iter().map(|column| vec![0.0; column.len()]).collect();
        let loss = self.loss.value(&Input { columns: &columns, width, labels }, &mut out);
        let share = 1.0 / group as f32;
        let gradient = out.into_iter().flatten().map(|value| value * share).collect();
        (loss, gradient)
    }
}

/// Whether an error is a stop that was asked for.
pub fn is_cancelled(error: &TrainError) -> bool {
    matches!(error, TrainError::Model(ModelError::Cancelled))
}
