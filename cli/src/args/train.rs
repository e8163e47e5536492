//! What `sembla train` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sembla_jobs::train::ClassifyOptions;
use sembla_training::{CheckpointEvery, Options, Schedule};

use super::{SessionArgs, positive};
use crate::failure::Failure;

/// What `sembla train` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Task {
    /// A model whose vectors (or scores) are better.
    Embed,
    /// A classifier on a model's vectors.
    Classify,
}

/// `sembla train`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "The columns of --data are known by their names (write … AS anchor):\n  \
    anchor, positive, negative…      mnrl, with any number of negatives; triplet with one\n  \
    sentence1, sentence2, score      cosent, cosine; contrastive, online_contrastive with a label 0 or 1\n  \
    text, label                      batch_all_triplet; with --task classify a classifier (image, label too)\n  \
    text, vector                     mse: a teacher's vectors\n  \
    anchor, positive, negative…, score   margin_mse, distil_kl: a margin for each negative, or a score for each document\n  \
    query, document, score           bce, score_mse, where BASE is a cross-encoder\n\n\
    Progress is kept in OUT.partial until the end. If the run is killed, run the same command again: it resumes and \
    ends with the same weights. With --eval the best model is what is written.\n\n\
    Examples:\n  \
    sembla train --data \"SELECT question AS anchor, answer AS positive FROM 'faq.parquet'\" -o mymodel\n  \
    sembla train --data \"SELECT sentence1, sentence2, score FROM 'train.csv'\" --loss cosent \\\n    \
    --eval \"SELECT sentence1, sentence2, score FROM 'dev.csv'\" --report curves.html -o mymodel\n  \
    sembla sql \"SELECT embed('hello', './mymodel')\"\n  \
    sembla train --task classify --data \"SELECT text, label FROM 'train.csv'\" \\\n    \
    --eval \"SELECT text, label FROM 'test.csv'\" -o intents\n  \
    sembla sql \"SELECT classify('my card was stolen', './intents')['label']\"")]
pub(crate) struct TrainArgs {
    /// The model to begin with: a bundled name, a model directory or a hub id
    #[arg(long, value_name = "NAME or PATH", default_value = "minilm")]
    pub(crate) base: String,

    /// Query whose rows to train on
    #[arg(long, value_name = "QUERY")]
    pub(crate) data: String,

    /// Query whose rows to measure the model on
    #[arg(long, value_name = "QUERY")]
    pub(crate) eval: Option<String>,

    /// The new model directory
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// What to make: embed fine-tunes the model, classify puts a classifier on its vectors
    #[arg(long, value_name = "embed|classify", default_value = "embed")]
    pub(crate) task: Task,

    /// The loss [default: the usual one for the columns]
    #[arg(long, value_name = "NAME")]
    pub(crate) loss: Option<String>,

    /// Train vectors that can be cut to these sizes as well, such as 384,128,64 (Matryoshka)
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) matryoshka: Vec<usize>,

    /// What mnrl and cosent multiply cosines by [default: 20]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) scale: Option<f32>,

    /// Margin of triplet, batch_all_triplet (default 5), contrastive and online_contrastive (0.5)
    #[arg(long, value_name = "NUMBER")]
    pub(crate) margin: Option<f32>,

    /// With --task classify: L2 penalty on the classifier's weights, which is 1/C of scikit-learn's
    /// LogisticRegression [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) l2: Option<f64>,

    /// With --task classify: fine-tune the model first, on N pairs of each text with texts of its
    /// label and N with texts of other labels (SetFit)
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) fine_tune_pairs: Option<usize>,

    /// Write a page with the curves to an .html file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// How it is trained.
    #[command(flatten)]
    pub(crate) how: HowArgs,

    /// The session of the queries.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// How a model is trained: what `sembla train` and `sembla distil` have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct HowArgs {
    /// How often every row is seen
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 1)]
    pub(crate) epochs: usize,

    /// Stop after N steps, whatever the epochs
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) max_steps: Option<usize>,

    /// Rows per batch
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 32)]
    pub(crate) batch: usize,

    /// Texts that run at once; smaller than a batch's, it bounds memory and costs a second forward
    /// pass (GradCache) [default: all of the batch]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) mini_batch: Option<usize>,

    /// Batches whose gradients are averaged before each step
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 1)]
    pub(crate) accumulate: usize,

    /// The highest learning rate [default: 2e-5; 1e-3 for a static model]
    #[arg(long, value_name = "RATE")]
    pub(crate) learning_rate: Option<f32>,

    /// Share of all steps in which the learning rate rises
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub(crate) warmup: f32,

    /// How the learning rate falls afterwards: linear, cosine or constant
    #[arg(long, value_name = "NAME", default_value = "linear")]
    pub(crate) schedule: String,

    /// Weight decay; biases and norms are left out
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    pub(crate) weight_decay: f32,

    /// Scale gradients down to this length
    #[arg(long, value_name = "LENGTH", default_value_t = 1.0)]
    pub(crate) max_grad_norm: f32,

    /// Share of values that dropout drops [default: what the model's config.json says]
    #[arg(long, value_name = "SHARE")]
    pub(crate) dropout: Option<f32>,

    /// Seed of shuffling and dropout
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,

    /// Steps between evaluations [default: one at the end of each epoch]
    #[arg(long, value_name = "N", value_parser = positive, requires = "eval")]
    pub(crate) eval_steps: Option<usize>,

    /// Stop after N evaluations without a better one
    #[arg(long, value_name = "N", value_parser = positive, requires = "eval")]
    pub(crate) patience: Option<usize>,

    /// Longest text in tokens [default: the model's own]
    #[arg(long, value_name = "TOKENS", value_parser = positive)]
    pub(crate) max_length: Option<usize>,

    /// Save progress every N steps [default: every two minutes]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) checkpoint_steps: Option<usize>,

    /// Replace OUT if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Discard the progress of an unfinished run and start over
    #[arg(long)]
    pub(crate) restart: bool,
}

impl TrainArgs {
    /// What is asked of a classifier; `None` where none is made.
    ///
    /// # Errors
    /// Options of a classifier where none is made.
    pub(crate) fn classify(&self) -> Result<Option<ClassifyOptions>, Failure> {
        let given =
            [("--l2", self.l2.is_some()), ("--fine-tune-pairs", self.fine_tune_pairs.is_some())];
        match (self.task, given.iter().find(|(_, is_given)| *is_given)) {
            (Task::Classify, _) => Ok(Some(ClassifyOptions {
                l2: self.l2.unwrap_or(ClassifyOptions::L2),
                pairs: self.fine_tune_pairs,
            })),
            (Task::Embed, None) => Ok(None),
            (Task::Embed, Some((flag, _))) => {
                Err(Failure::user(format!("{flag} is for classifiers; add --task classify")))
            }
        }
    }
}

impl HowArgs {
    /// How a model is trained.
    ///
    /// # Errors
    /// An unknown schedule.
    pub(crate) fn options(&self) -> Result<Options, sembla_training::TrainError> {
        let defaults = Options::default();
        Ok(Options {
            epochs: self.epochs,
            steps_max: self.max_steps,
            batch: self.batch,
            mini_batch: self.mini_batch,
            accumulate: self.accumulate,
            learning_rate: self.learning_rate,
            warmup: self.warmup,
            schedule: self.schedule.parse::<Schedule>()?,
            weight_decay: self.weight_decay,
            gradient_norm_max: self.max_grad_norm,
            dropout: self.dropout,
            seed: self.seed,
            evaluate_every: self.eval_steps,
            patience: self.patience,
            duplicates: None,
            checkpoint_every: match self.checkpoint_steps {
                Some(steps) => CheckpointEvery::Steps(steps),
                None => defaults.checkpoint_every,
            },
        })
    }
}
