//! The rows of `hard_negatives`: samples become columns, some thousand rows at a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float32Builder, Int64Array, ListBuilder, StringArray};

use super::{Negatives, Output};
use crate::SqlError;
use crate::relations::finding::{Emit, Found};
use crate::relations::table::Table;

/// Rows that are given together.
const ROWS_TOGETHER: usize = 8192;

/// A query with rows of the corpus and their scores.
pub(super) struct Sample {
    pub(super) query: u32,
    pub(super) positives: Vec<(u32, f32)>,
    pub(super) negatives: Vec<(u32, f32)>,
}

/// Rows that are given some thousand at a time.
pub(super) struct Rows<'a> {
    found: &'a Negatives,
    queries: &'a Table,
    corpus: &'a Table,
    samples: Vec<Sample>,
    count: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(found: &'a Negatives, queries: &'a Table, corpus: &'a Table) -> Self {
        Self { found, queries, corpus, samples: Vec::new(), count: 0 }
    }

    /// Takes a sample, and gives rows when there are enough.
    ///
    /// # Errors
    /// What `emit` says.
    pub(super) fn add(&mut self, sample: Sample, emit: &mut Emit<'_>) -> Result<(), SqlError> {
        self.count += sample.positives.len() * sample.negatives.len().max(1);
        self.samples.push(sample);
        if self.count >= ROWS_TOGETHER { self.flush(emit) } else { Ok(()) }
    }

    /// Gives the rows of all samples so far.
    ///
    /// # Errors
    /// What `emit` says.
    pub(super) fn flush(&mut self, emit: &mut Emit<'_>) -> Result<(), SqlError> {
        let samples = std::mem::take(&mut self.samples);
        self.count = 0;
        let columns = match self.found.output {
            Output::Triplet => self.tuples(&samples, 1),
            Output::Tuple => self.tuples(&samples, self.found.options.k),
            Output::LabeledPair => self.labeled(&samples),
        };
        if columns.first().is_none_or(|column| column.is_empty()) {
            return Ok(());
        }
        emit(Found { columns, rows: Vec::new() })
    }

    /// A row for each positive and each full set of so many negatives.
    fn tuples(&self, samples: &[Sample], width: usize) -> Vec<ArrayRef> {
        let (mut anchors, mut positives) = (Vec::new(), Vec::new());
        let mut negatives = vec![Vec::new(); width];
        let mut scores = ListBuilder::new(Float32Builder::new());
        for sample in samples {
            for (positive, score) in &sample.positives {
                for set in sample.negatives.chunks_exact(width) {
                    anchors.push(sample.query);
                    positives.push(*positive);
                    scores.values().append_value(*score);
                    for ((row, score), column) in set.iter().zip(&mut negatives) {
                        column.push(*row);
                        scores.values().append_value(*score);
                    }
                    scores.append(true);
                }
            }
        }
        let mut columns = vec![texts(self.queries, &anchors), texts(self.corpus, &positives)];
        columns.extend(negatives.iter().map(|rows| texts(self.corpus, rows)));
        if self.found.has_scores {
            columns.push(Arc::new(scores.finish()));
        }
        columns
    }

    /// A row for each positive, then for each negative.
    fn labeled(&self, samples: &[Sample]) -> Vec<ArrayRef> {
        let (mut anchors, mut documents) = (Vec::new(), Vec::new());
        let (mut labels, mut scores) = (Vec::new(), Vec::new());
        for sample in samples {
            let sides = [(1, &sample.positives), (0, &sample.negatives)];
            for (label, (row, score)) in
                sides.iter().flat_map(|(label, rows)| rows.iter().map(move |row| (label, row)))
            {
                anchors.push(sample.query);
                documents.push(*row);
                labels.push(*label);
                scores.push(*score);
            }
        }
        let last: ArrayRef = match self.found.has_scores {
            true => Arc::new(Float32Array::from(scores)),
            false => Arc::new(Int64Array::from(labels)),
        };
        vec![texts(self.queries, &anchors), texts(self.corpus, &documents), last]
    }
}

/// The texts of some rows.
fn texts(table: &Table, rows: &[u32]) -> ArrayRef {
    let texts = rows.iter().map(|row| table.text(*row as usize).unwrap_or_default());
    Arc::new(StringArray::from_iter_values(texts))
}
