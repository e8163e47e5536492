//! What a run of training is asked to do, beside rows and loss.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};
use crate::network::Network;
use crate::random::Dropout;
use crate::schedule::Schedule;
use sembla_models::ModelKind;

/// The learning rate of a transformer, unless another is given.
const RATE: f32 = 2e-5;

/// The learning rate of a static model.
const RATE_STATIC: f32 = 1e-3;

/// Most rows of a batch.
const BATCH_MAX: usize = 1 << 16;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often every row is seen.
    pub epochs: usize,
    /// Ends the run after so many steps, whatever the epochs.
    pub steps_max: Option<usize>,
    /// Rows of a batch.
    pub batch: usize,
    /// Texts that run at once: where a batch has more, its vectors are made first without keeping
    /// anything, and each part runs again on the way back (GradCache). Memory is that of a part;
    /// gradients are those of the whole batch.
    pub mini_batch: Option<usize>,
    /// Batches whose gradients are averaged before a step.
    pub accumulate: usize,
    /// The highest learning rate; `None` is 2e-5, and 1e-3 for a static model.
    pub learning_rate: Option<f32>,
    /// Share of all steps in which the learning rate rises.
    pub warmup: f32,
    /// What it does afterwards.
    pub schedule: Schedule,
    /// Decay of weights, biases and norms left out.
    pub weight_decay: f32,
    /// Gradients are scaled down to this length.
    pub gradient_norm_max: f32,
    /// Share of values that are dropped; `None` is what the model's configuration says.
    pub dropout: Option<f32>,
    /// What all that looks random follows from.
    pub seed: u64,
    /// Steps between evaluations; `None` is at the end of each epoch.
    pub evaluate_every: Option<usize>,
    /// Ends the run after so many evaluations without a better one.
    pub patience: Option<usize>,
    /// Whether a batch may hold a text twice; `None` is what the loss needs.
    pub duplicates: Option<bool>,
    /// How often progress is saved.
    pub checkpoint_every: CheckpointEvery,
}

/// How often progress is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointEvery {
    /// After so much time.
    Time(Duration),
    /// After so many steps.
    Steps(usize),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            epochs: 1,
            steps_max: None,
            batch: 32,
            mini_batch: None,
            accumulate: 1,
            learning_rate: None,
            warmup: 0.1,
            schedule: Schedule::Linear,
            weight_decay: 0.01,
            gradient_norm_max: 1.0,
            dropout: None,
            seed: 42,
            evaluate_every: None,
            patience: None,
            duplicates: None,
            checkpoint_every: CheckpointEvery::Time(Duration::from_secs(120)),
        }
    }
}

/// What of the options decides the weights, in the form in which checkpoints keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deciding {
    words: String,
}

impl Options {
    /// Checks the values.
    ///
    /// # Errors
    /// [`TrainError::Option`] that names the option.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |problem: &str| Err(TrainError::Option(problem.to_string()));
        if self.epochs == 0 || self.accumulate == 0 || self.evaluate_every == Some(0) {
            return bad("epochs, accumulate and eval steps must be >= 1");
        }
        if self.batch == 0 || self.batch > BATCH_MAX || self.mini_batch == Some(0) {
            return bad("a batch must have 1 to 65536 rows");
        }
        let is_share = |value: f32| (0.0..1.0).contains(&value);
        if !is_share(self.warmup) {
            return bad("warm-up must be a share of all steps from 0 up to, but not including, 1");
        }
        if !self.dropout.is_none_or(is_share) {
            return bad("dropout must be from 0 up to, but not including, 1");
        }
        let is_positive = |value: f32| value.is_finite() && value > 0.0;
        if !self.learning_rate.is_none_or(is_positive) || !is_positive(self.gradient_norm_max) {
            return bad("the learning rate and the limit of gradients must be positive numbers");
        }
        if !self.weight_decay.is_finite() || self.weight_decay < 0.0 {
            return bad("weight decay must be a number >= 0");
        }
        Ok(())
    }

    /// The highest learning rate for a model.
    pub fn rate_for(&self, kind: ModelKind) -> f32 {
        self.learning_rate.unwrap_or(match kind {
            ModelKind::Static => RATE_STATIC,
            ModelKind::Encoder | ModelKind::CrossEncoder => RATE,
        })
    }

    /// What is dropped in a step; `seed` has the step in it.
    pub(crate) fn dropout_for(&self, network: &Network, seed: u64) -> Option<Dropout> {
        let setting = |keys: [&str; 2]| {
            keys.into_iter().find_map(|key| network.setting(key)).map_or(0.0, |share| share as f32)
        };
        let share = |keys| self.dropout.unwrap_or_else(|| setting(keys)).clamp(0.0, 0.99);
        let hidden = share(["hidden_dropout_prob", "dropout"]);
        let attention = share(["attention_probs_dropout_prob", "attention_dropout"]);
        (hidden > 0.0 || attention > 0.0).then_some(Dropout { hidden, attention, seed })
    }

    /// What decides the weights; how often progress is saved does not.
    pub(crate) fn deciding(&self) -> Deciding {
        let deciding = Self { checkpoint_every: CheckpointEvery::Steps(1), ..self.clone() };
        Deciding { words: format!("{deciding:?}") }
    }
}
