//! Classification: how well a linear classifier on a model's vectors tells labels apart when it is
//! shown few texts of each. The texts are drawn as MTEB draws them, with NumPy's random numbers.

use std::collections::{BTreeSet, HashMap};

use sembla_models::Embeddings;
use sembla_operators::Host;
use sembla_operators::evaluate::{RandomState, classification_metrics};
use sembla_operators::logistic::{LogisticOptions, fit};

use super::score::{SEED, operator, undefined};
use super::tables::Table;
use crate::failure::{Failure, Result};

/// Classifiers whose mean accuracy is the score.
const EXPERIMENTS: usize = 10;

/// Texts of each label that a classifier is shown.
const TEXTS_PER_LABEL: usize = 8;

/// What scikit-learn's `LogisticRegression(max_iter=100)` is asked for.
const OPTIONS: LogisticOptions = LogisticOptions { l2: 1.0, steps_max: 100, tolerance: 1e-4 };

/// The values of a column `split` that count, in lower case.
const TRAIN: &str = "train";
const TEST: &str = "test";

/// Texts with the numbers of their labels.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Labelled {
    pub(super) texts: Vec<String>,
    pub(super) labels: Vec<u32>,
}

/// What classifiers learn from, and what they are tested on.
#[derive(Debug, PartialEq)]
pub(super) struct Classes {
    pub(super) train: Labelled,
    /// `None` where each classifier is tested on all that it wasn't shown.
    pub(super) test: Option<Labelled>,
    /// Rows of `train` that each classifier is shown.
    pub(super) drawn: Vec<Vec<usize>>,
}

impl Classes {
    /// Reads tables: one to learn from and one to be tested on, or one with all, whose column
    /// `split` may tell them apart.
    ///
    /// # Errors
    /// A `split` without both words.
    pub(super) fn of(mut tables: Vec<Table>) -> Result<Self> {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut labelled = |texts: Vec<String>, labels: Vec<String>| {
            let mut number = |label: String| {
                let next = numbers.len() as u32;
                *numbers.entry(label).or_insert(next)
            };
            Labelled { texts, labels: labels.into_iter().map(&mut number).collect() }
        };
        let mut read = |table: &mut Table| labelled(table.words(0), table.words(1));
        let (train, test) = match tables.as_mut_slice() {
            [train, test] => (read(train), Some(read(test))),
            [all] => {
                let split = all.words(2);
                let all = read(all);
                if split.is_empty() { (all, None) } else { all.split(&split)? }
            }
            _ => return Err(Failure::other("internal error: a task without a table")),
        };
        Ok(Self::drawn_of(train, test))
    }

    /// Draws what classifiers are shown; of a table of its own to learn from, nothing else stays.
    fn drawn_of(train: Labelled, test: Option<Labelled>) -> Self {
        let mut drawn = drawn(&train.labels);
        if test.is_none() {
            return Self { train, test, drawn };
        }
        let rows: BTreeSet<usize> = drawn.iter().flatten().copied().collect();
        let places: HashMap<usize, usize> = rows.iter().copied().zip(0..).collect();
        drawn.iter_mut().flatten().for_each(|row| *row = places[&*row]);
        let texts = rows.iter().map(|row| train.texts[*row].clone()).collect();
        let labels = rows.iter().map(|row| train.labels[*row]).collect();
        Self { train: Labelled { texts, labels }, test, drawn }
    }

    /// Texts to embed.
    pub(super) fn texts(&self) -> usize {
        self.train.texts.len() + self.test.as_ref().map_or(0, |test| test.texts.len())
    }

    /// The mean accuracy of the classifiers, from the vectors of all texts.
    ///
    /// # Errors
    /// Fewer than two labels, nothing to test on, and what the host says.
    pub(super) fn score(
        &self,
        train: &Embeddings,
        test: Option<&Embeddings>,
        host: &dyn Host,
    ) -> Result<f64> {
        let mut sum = 0.0;
        for rows in &self.drawn {
            sum += self.accuracy(rows, train, test, host)?;
        }
        Ok(sum / self.drawn.len().max(1) as f64)
    }

    fn accuracy(
        &self,
        rows: &[usize],
        train: &Embeddings,
        test: Option<&Embeddings>,
        host: &dyn Host,
    ) -> Result<f64> {
        let dimension = train.dimension;
        // Labels by number, in the order in which they are shown.
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let mut number = |label: u32| {
            let next = numbers.len() as u32;
            *numbers.entry(label).or_insert(next)
        };
        let shown: Vec<u32> = rows.iter().map(|row| number(self.train.labels[*row])).collect();
        let classes = numbers.len();
        if classes < 2 {
            return Err(undefined("the labels of the texts to learn from must differ"));
        }
        let vector = |row: &usize| &train.values[row * dimension..(row + 1) * dimension];
        let values: Vec<f32> = rows.iter().flat_map(vector).copied().collect();
        let found = fit(&values, dimension, &shown, classes, &OPTIONS, host).map_err(operator)?;
        let mut is_shown = vec![false; self.train.labels.len()];
        rows.iter().for_each(|row| is_shown[*row] = true);
        let (vectors, labels) = match (&self.test, test) {
            (Some(labelled), Some(vectors)) => (vectors, &labelled.labels),
            _ => (train, &self.train.labels),
        };
        let is_tested = |row: &usize| self.test.is_some() || !is_shown[*row];
        // A label that was not shown is one more class, which no classifier predicts.
        let outcome = |row: usize| {
            let vector = &vectors.values[row * dimension..(row + 1) * dimension];
            let truth = numbers.get(&labels[row]).copied().unwrap_or(classes as u32);
            (truth, found.predict(vector))
        };
        let outcomes = (0..labels.len()).filter(is_tested).map(outcome);
        let metrics = classification_metrics(outcomes, classes + 1);
        let metrics = metrics.ok_or_else(|| {
            undefined("there must be texts that a classifier was not shown (8 of each label are)")
        })?;
        Ok(metrics.accuracy)
    }
}

impl Labelled {
    /// The rows to learn from and to be tested on; others are left out.
    fn split(self, words: &[String]) -> Result<(Self, Option<Self>)> {
        let (mut train, mut test) = (Self::default(), Self::default());
        for ((text, label), word) in self.texts.into_iter().zip(self.labels).zip(words) {
            let side = match word.to_ascii_lowercase().as_str() {
                TRAIN => &mut train,
                TEST => &mut test,
                _ => continue,
            };
            side.texts.push(text);
            side.labels.push(label);
        }
        if train.texts.is_empty() || test.texts.is_empty() {
            return Err(Failure::user(
                "column 'split' must have rows with 'train' and with 'test'",
            ));
        }
        Ok((train, Some(test)))
    }
}

/// Rows that each classifier is shown.
fn drawn(labels: &[u32]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let draw = |_| {
        // The order of the last experiment is shuffled again, each time by the same numbers.
        RandomState::new(SEED).shuffle(&mut order);
        let mut taken: HashMap<u32, usize> = HashMap::new();
        let is_wanted = |row: &usize| {
            let count = taken.entry(labels[*row]).or_insert(0);
            *count += 1;
            *count <= TEXTS_PER_LABEL
        };
        order.iter().copied().filter(is_wanted).collect()
    };
    (0..EXPERIMENTS).map(draw).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Texts that are the numbers of rows.
    pub(in crate::eval) fn classes(train: &[u32], test: &[u32]) -> Classes {
        let labelled = |labels: &[u32]| Labelled {
            texts: (0..labels.len()).map(|row| row.to_string()).collect(),
            labels: labels.to_vec(),
        };
        Classes::drawn_of(labelled(train), Some(labelled(test)))
    }

    #[test]
    fn every_label_is_shown_eight_times_and_a_split_tells_rows_apart() {
        let labels: Vec<u32> = (0..90).map(|row| row % 3).collect();
        for rows in drawn(&labels) {
            for label in 0..3 {
                assert_eq!(rows.iter().filter(|row| labels[**row] == label).count(), 8);
            }
        }
        let all = Labelled {
            texts: ["a", "b", "c", "d"].map(String::from).to_vec(),
            labels: vec![0, 1, 0, 1],
        };
        let words = ["train", "Test", "dev", "train"].map(String::from);
        let (train, test) = all.split(&words).expect("both");
        assert_eq!((train.texts, train.labels), (vec!["a".into(), "d".into()], vec![0, 1]));
        assert_eq!(test.expect("a test").texts, ["b"]);
        let none = Labelled { texts: vec!["a".into()], labels: vec![0] };
        assert!(none.split(&["train".into()]).is_err());
    }
}
