//! A model that can be trained: forward, backward, and a directory at the end.
//!
//! Which loss its results go into, and what becomes of the gradients, is left to others.

use std::path::Path;

use sembla_models::trainable::{self, Body as Source, Dense, Sequence, TorchActivation, Trainable};
use sembla_models::{CancelToken, ModelKind, ModelSpec};

use crate::attention::HEAD_WIDTH_MAX;
use crate::batch::Batch;
use crate::encoder::{Encoder, Trace as EncoderTrace};
use crate::error::{Result, TrainError};
use crate::head::{Head, Step, Trace as HeadTrace, torch_activation};
use crate::layers::{Claim, Linear};
use crate::parameters::{Gradients, Parameter, ParameterId, Parameters};
use crate::random::Dropout;
use crate::table::Table;
use crate::workspace::Workspace;

/// Tokens of a batch when vectors are made and nothing is trained.
const INFERENCE_TOKENS: usize = 4096;

/// What stands before pooling.
#[derive(Debug)]
enum Body {
    Encoder(Encoder),
    Table(Table),
}

/// A model that can be trained.
#[derive(Debug)]
pub struct Network {
    source: Trainable,
    body: Body,
    head: Head,
    /// The dense modules after pooling, as they were read; their weights are parameters.
    dense: Vec<(Dense, Linear)>,
    pub(crate) parameters: Parameters,
    workspace: Workspace,
}

/// A forward pass.
pub(crate) struct Pass {
    batch: Batch,
    tokens: Vec<f32>,
    trace: Option<EncoderTrace>,
    head: HeadTrace,
    /// A row per text.
    pub(crate) vectors: Vec<f32>,
}

impl Network {
    /// Opens the model that training begins with; `spec` as for [`Trainable::open`].
    ///
    /// # Errors
    /// Those of the directory, and a model that can't be trained.
    pub fn open(spec: &ModelSpec) -> Result<Self> {
        Self::of(Trainable::open(spec)?)
    }

    /// A network of a model that may have another shape than its directory.
    ///
    /// # Errors
    /// As [`Network::open`].
    pub fn of(source: Trainable) -> Result<Self> {
        let mut parameters = Parameters::new(source.tensors()?);
        let model = source.root().display().to_string();
        let (body, hidden) = match source.body() {
            Source::Transformer(anatomy) => {
                if anatomy.hidden / anatomy.heads > HEAD_WIDTH_MAX {
                    return Err(TrainError::Option(format!(
                        "model '{}' has attention heads of {} components; at most {HEAD_WIDTH_MAX} can be trained",
                        source.name(),
                        anatomy.hidden / anatomy.heads
                    )));
                }
                let encoder = Encoder::claim(anatomy, &mut parameters, &model)?;
                (Body::Encoder(encoder), anatomy.hidden)
            }
            Source::Table { parts, name } => {
                let rows = parts.values.len() / parts.width;
                let vectors = parameters.push(Parameter {
                    parts: vec![(name.clone(), vec![rows, parts.width])],
                    values: parts.values.clone(),
                    decays: true,
                    row_width: Some(parts.width),
                });
                let table = Table { vectors, width: parts.width, rows, unknown: parts.unknown };
                (Body::Table(table), parts.width)
            }
        };
        let mut network = Self {
            head: Head { pooling: Vec::new(), steps: Vec::new(), hidden },
            source,
            body,
            dense: Vec::new(),
            parameters,
            workspace: Workspace::default(),
        };
        network.add_head(&model)?;
        Ok(network)
    }

    /// What comes after the body.
    fn add_head(&mut self, model: &str) -> Result<()> {
        if let (ModelKind::CrossEncoder, Source::Transformer(anatomy)) =
            (self.source.kind(), self.source.body())
        {
            let (names, hidden) = (&anatomy.head, anatomy.hidden);
            let mut claim = Claim { parameters: &mut self.parameters, model };
            let dense = claim.linear(&[&names.dense], hidden, hidden)?;
            let scores = claim.linear(&[&names.scores], anatomy.labels, hidden)?;
            self.head.pooling = vec![trainable::PoolingMode::Cls];
            self.head.steps = vec![
                Step::Dense(dense, torch_activation(names.activation)),
                Step::Dropout,
                Step::Dense(scores, TorchActivation::Identity),
            ];
            return Ok(());
        }
        if matches!(self.body, Body::Encoder(_)) {
            self.head.pooling = self.source.pooling().to_vec();
        }
        for (number, step) in self.source.steps().to_vec().into_iter().enumerate() {
            let step = match step {
                trainable::Step::Normalize => Step::Normalize,
                trainable::Step::Dense(dense) => {
                    let linear = self.add_dense(&dense, number);
                    let activation = dense.activation;
                    self.dense.push((dense, linear));
                    Step::Dense(linear, activation)
                }
            };
            self.head.steps.push(step);
        }
        Ok(())
    }

    /// The weights of a dense module.
    fn add_dense(&mut self, dense: &Dense, number: usize) -> Linear {
        let (inputs, outputs) = (dense.inputs, dense.outputs);
        let mut push = |what: &str, shape: Vec<usize>, values: &[f32], decays| {
            let parts = vec![(format!("dense.{number}.{what}"), shape)];
            self.parameters.push(Parameter {
                parts,
                values: values.to_vec(),
                decays,
                row_width: None,
            })
        };
        let weight = push("weight", vec![outputs, inputs], &dense.weight, true);
        let bias = match dense.bias.is_empty() {
            true => None,
            false => Some(push("bias", vec![outputs], &dense.bias, false)),
        };
        Linear { weight, bias, inputs, outputs }
    }

    /// A short name, for messages.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// What kind of model it is.
    pub fn kind(&self) -> ModelKind {
        self.source.kind()
    }

    /// Components of a text's vector, or scores of a pair.
    pub fn width(&self) -> usize {
        self.head.width()
    }

    /// The number of trainable values.
    pub fn parameters(&self) -> usize {
        self.parameters.count()
    }

    /// The table that a batch uses few rows of.
    pub(crate) fn words(&self) -> ParameterId {
        match &self.body {
            Body::Encoder(encoder) => encoder.words,
            Body::Table(table) => table.vectors,
        }
    }

    /// Where the model that training began with is.
    pub fn source_folder(&self) -> &Path {
        self.source.root()
    }

    /// A number of the transformer's `config.json`.
    pub(crate) fn setting(&self, key: &str) -> Option<f64> {
        self.source.setting(key)
    }

    /// Texts as token ids.
    ///
    /// # Errors
    /// Failures of the tokenizer, and tokens that the model's table of words doesn't have.
    pub fn read_texts(&self, texts: &[&str], cancel: &CancelToken) -> Result<Vec<Sequence>> {
        self.checked(self.source.texts(texts, "", cancel)?)
    }

    /// Pairs as token ids.
    ///
    /// # Errors
    /// As [`Network::read_texts`].
    pub fn read_pairs(
        &self,
        pairs: &[(&str, &str)],
        cancel: &CancelToken,
    ) -> Result<Vec<Sequence>> {
        self.checked(self.source.pairs(pairs, cancel)?)
    }

    pub(crate) fn checked(&self, sequences: Vec<Sequence>) -> Result<Vec<Sequence>> {
        let rows = match (&self.body, self.source.body()) {
            (Body::Table(table), _) => table.rows,
            (_, Source::Transformer(anatomy)) => anatomy.vocabulary,
            _ => 0,
        };
        let largest = sequences.iter().flat_map(|sequence| &sequence.ids).max();
        match largest {
            Some(id) if *id as usize >= rows => Err(TrainError::Data(format!(
                "the tokenizer of model '{}' gives the token {id}, but its table of words has {rows} rows",
                self.name()
            ))),
            _ => Ok(sequences),
        }
    }

    /// The vectors (or scores) of some texts, a row each, and what the way back needs.
    pub(crate) fn forward(&mut self, texts: &[&Sequence], dropout: Option<Dropout>) -> Pass {
        let batch = Batch::new(texts);
        let (tokens, trace) = match &self.body {
            Body::Encoder(encoder) => {
                let (tokens, trace) =
                    encoder.forward(&self.parameters, &batch, dropout, &mut self.workspace);
                (tokens, Some(trace))
            }
            Body::Table(table) => (table.forward(&self.parameters, &batch), None),
        };
        let (vectors, head) = self.head.forward(&self.parameters, &batch, &tokens, dropout);
        Pass { batch, tokens, trace, head, vectors }
    }

    /// Adds the gradients of all weights, given that of the vectors.
    pub(crate) fn backward(&mut self, pass: Pass, gradient: Vec<f32>, gradients: &mut Gradients) {
        let Pass { batch, tokens, trace, head, .. } = pass;
        let parameters = &self.parameters;
        let gradient = self.head.backward(parameters, &batch, &head, gradient, &tokens, gradients);
        self.workspace.give(tokens);
        match (&self.body, trace) {
            (Body::Encoder(encoder), Some(trace)) => {
                encoder.backward(
                    parameters,
                    &batch,
                    trace,
                    gradient,
                    gradients,
                    &mut self.workspace,
                );
            }
            (Body::Table(table), _) => table.backward(&batch, &gradient, gradients),
            (Body::Encoder(_), None) => {}
        }
    }

    /// Takes back the buffers of a pass that goes no way back.
    pub(crate) fn forget(&mut self, pass: Pass) -> Vec<f32> {
        self.workspace.give(pass.tokens);
        if let Some(trace) = pass.trace {
            trace.give(&mut self.workspace);
        }
        pass.vectors
    }

    /// The vectors (or scores) of texts as the model is now, a row each.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`](sembla_models::ModelError::Cancelled).
    pub fn vectors(&mut self, texts: &[&Sequence], cancel: &CancelToken) -> Result<Vec<f32>> {
        let width = self.width();
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|text| texts[*text].ids.len());
        let mut vectors = vec![0f32; texts.len() * width];
        let mut rest = &order[..];
        while !rest.is_empty() {
            cancel.check()?;
            let longest = |count: usize| texts[rest[count - 1]].ids.len().max(1);
            let fits = |count: usize| count * longest(count) <= INFERENCE_TOKENS;
            let mut count = 1;
            while count < rest.len() && fits(count + 1) {
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            let batch: Vec<&Sequence> = now.iter().map(|text| texts[*text]).collect();
            let pass = self.forward(&batch, None);
            let rows = self.forget(pass);
            for (text, row) in now.iter().zip(rows.chunks_exact(width)) {
                vectors[text * width..(text + 1) * width].copy_from_slice(row);
            }
            rest = later;
        }
        Ok(vectors)
    }

    /// The mean of the vectors of a text's tokens, special ones included, a row each, whatever the
    /// model makes of them.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`](sembla_models::ModelError::Cancelled).
    pub(crate) fn token_means(
        &mut self,
        texts: &[&Sequence],
        cancel: &CancelToken,
    ) -> Result<Vec<f32>> {
        let pooling = vec![trainable::PoolingMode::Mean];
        let plain = Head { pooling, steps: Vec::new(), hidden: self.head.hidden };
        let own = std::mem::replace(&mut self.head, plain);
        let means = self.vectors(texts, cancel);
        self.head = own;
        means
    }

    /// Its model, taken apart.
    pub(crate) fn source(&self) -> &Trainable {
        &self.source
    }

    /// Writes the model as it is now as a directory that loads here and in Sentence-Transformers.
    ///
    /// # Errors
    /// Those of the disk; then `target` is as it was.
    pub fn save(&self, target: &Path) -> Result<()> {
        let mut tensors = self.parameters.tensors();
        tensors.retain(|name, _| !name.starts_with("dense."));
        let dense: Vec<Dense> = self
            .dense
            .iter()
            .map(|(dense, linear)| Dense {
                weight: self.parameters.values(linear.weight).to_vec(),
                bias: linear
                    .bias
                    .map(|bias| self.parameters.values(bias).to_vec())
                    .unwrap_or_default(),
                ..dense.clone()
            })
            .collect();
        Ok(self.source.save(target, &tensors, &dense)?)
    }
}
