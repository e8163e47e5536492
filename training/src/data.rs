//! The rows that training sees, as tokens, and how they are dealt into batches.

use std::collections::HashSet;

use sembla_models::trainable::Sequence;
use sembla_models::{CancelToken, ModelKind};

use crate::error::{Result, TrainError};
use crate::losses::{LabelKind, Labels, LossDef};
use crate::network::Network;
use crate::random::{Random, mix};

/// Fewest rows that can be trained on.
const ROWS_MIN: usize = 2;

/// How many times its size a batch without duplicates looks ahead.
const LOOK_AHEAD: usize = 64;

/// Rows of texts, and what is said of each.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The texts of each column, or one column of pairs.
    pub(crate) columns: Vec<Vec<Sequence>>,
    pub(crate) labels: Labels,
    /// A number for each text, equal where the texts are.
    keys: Vec<Vec<u64>>,
}

impl Dataset {
    /// Reads rows for a loss: `columns` of texts, all of one length, and a label for each row. A
    /// model that scores pairs takes the first two columns as one.
    ///
    /// # Errors
    /// Rows that the loss or the model doesn't take, and failures of the tokenizer.
    pub fn read(
        network: &Network,
        loss: &LossDef,
        columns: &[Vec<String>],
        labels: Labels,
        cancel: &CancelToken,
    ) -> Result<Self> {
        let rows = columns.first().map_or(0, Vec::len);
        if rows < ROWS_MIN {
            return Err(TrainError::Data(format!(
                "training needs at least {ROWS_MIN} rows, got {rows}; check the query and its filters"
            )));
        }
        check(network, loss, columns.len(), &labels)?;
        let is_pair = network.kind() == ModelKind::CrossEncoder;
        let sequences = match (is_pair, columns) {
            (true, [first, second, ..]) => {
                let pairs: Vec<(&str, &str)> =
                    first.iter().zip(second).map(|(a, b)| (a.as_str(), b.as_str())).collect();
                vec![network.read_pairs(&pairs, cancel)?]
            }
            _ => {
                let read = |column: &Vec<String>| {
                    let texts: Vec<&str> = column.iter().map(String::as_str).collect();
                    network.read_texts(&texts, cancel)
                };
                columns.iter().map(read).collect::<Result<_>>()?
            }
        };
        Ok(Self { keys: keys(&sequences), columns: sequences, labels })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// The number of texts in a row.
    pub fn texts_per_row(&self) -> usize {
        self.columns.len()
    }

    /// The mean number of tokens of a text.
    pub fn mean_tokens(&self) -> f64 {
        let texts = self.columns.iter().flatten();
        let tokens: usize = texts.map(|sequence| sequence.ids.len()).sum();
        tokens as f64 / (self.rows() * self.columns.len()).max(1) as f64
    }

    /// How many texts were longer than the model's limit.
    pub fn truncated(&self) -> usize {
        self.columns.iter().flatten().filter(|sequence| sequence.truncated).count()
    }

    /// A hash of everything in it.
    pub(crate) fn fingerprint(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for sequence in self.columns.iter().flatten() {
            hasher.update(&(sequence.ids.len() as u64).to_le_bytes());
            sequence.ids.iter().for_each(|id| {
                hasher.update(&id.to_le_bytes());
            });
        }
        let mut floats = |values: &[f32]| {
            values.iter().for_each(|value| {
                hasher.update(&value.to_le_bytes());
            });
        };
        match &self.labels {
            Labels::None => {}
            Labels::Scores { values, .. } | Labels::Vectors { values, .. } => floats(values),
            Labels::Classes(classes) => classes.iter().for_each(|class| {
                hasher.update(&class.to_le_bytes());
            }),
        }
        hasher.finalize()
    }

    /// The batches of an epoch, as numbers of rows: every row once, in an order that follows from
    /// the seed. With `unique` no batch has a text twice; what would be is left for a later batch.
    pub(crate) fn batches(
        &self,
        size: usize,
        unique: bool,
        seed: u64,
        epoch: u64,
    ) -> Vec<Vec<u32>> {
        let order = Random::new(mix(seed ^ mix(epoch))).order(self.rows());
        if !unique {
            return order.chunks(size).map(<[u32]>::to_vec).collect();
        }
        let mut batches = Vec::new();
        let mut waiting = order;
        while !waiting.is_empty() {
            let mut batch = Vec::with_capacity(size);
            let mut texts: HashSet<u64> = HashSet::new();
            let mut left = Vec::new();
            let mut seen = 0;
            for row in &waiting {
                seen += 1;
                let keys = || self.keys.iter().map(|column| column[*row as usize]);
                if keys().any(|key| texts.contains(&key)) {
                    left.push(*row);
                } else {
                    texts.extend(keys());
                    batch.push(*row);
                }
                if batch.len() == size || seen == size * LOOK_AHEAD {
                    break;
                }
            }
            left.extend_from_slice(&waiting[seen..]);
            waiting = left;
            batches.push(batch);
        }
        batches
    }
}

/// A number for each text.
fn keys(columns: &[Vec<Sequence>]) -> Vec<Vec<u64>> {
    let key = |sequence: &Sequence| {
        sequence.ids.iter().fold(sequence.ids.len() as u64, |key, id| mix(key ^ u64::from(*id)))
    };
    columns.iter().map(|column| column.iter().map(key).collect()).collect()
}

/// Checks rows against a loss and a model.
fn check(network: &Network, loss: &LossDef, columns: usize, labels: &Labels) -> Result<()> {
    let shape = &loss.shape;
    let is_pair = network.kind() == ModelKind::CrossEncoder;
    if shape.scores_pairs != is_pair {
        let (is, other) = match is_pair {
            true => ("scores pairs", "bce or score_mse"),
            false => ("gives vectors", "mnrl, cosent or another loss of vectors"),
        };
        return Err(TrainError::Option(format!(
            "model '{}' {is}, which loss {} is not for; use {other}",
            network.name(),
            loss.name
        )));
    }
    let bad = |problem: String| {
        Err(TrainError::Data(format!("loss {} takes {}; {problem}", loss.name, shape.words)))
    };
    if columns < shape.texts_min || columns > shape.texts_max {
        return bad(format!("got {columns} columns of text"));
    }
    match (shape.label, labels) {
        (LabelKind::None, _) => Ok(()),
        (LabelKind::Score | LabelKind::Binary, Labels::Scores { values, per_row: 1 }) => {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return bad(format!("a score is {value}"));
            }
            let is_binary = |value: &&f32| **value == 0.0 || **value == 1.0;
            match values.iter().find(|value| !is_binary(value)) {
                Some(value) if shape.label == LabelKind::Binary => {
                    bad(format!("a label is {value}; for scores there are cosent and cosine"))
                }
                _ if values.iter().all(|value| *value == values[0]) => {
                    bad(format!("all are {}, which teaches nothing", values[0]))
                }
                _ => Ok(()),
            }
        }
        (LabelKind::Margins, Labels::Scores { per_row, .. })
            if *per_row == columns - 2 || *per_row == columns - 1 =>
        {
            Ok(())
        }
        (LabelKind::Class, Labels::Classes(classes)) => {
            match classes.iter().all(|class| *class == classes[0]) {
                true => bad("all rows have the same label".into()),
                false => Ok(()),
            }
        }
        (LabelKind::Vector, Labels::Vectors { width, .. }) if *width == network.width() => Ok(()),
        (LabelKind::Vector, Labels::Vectors { width, .. }) => bad(format!(
            "the vectors have {width} components, model '{}' gives {}",
            network.name(),
            network.width()
        )),
        _ => bad("the rows have other labels".into()),
    }
}
