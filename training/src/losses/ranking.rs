//! Multiple negatives ranking (InfoNCE, in-batch negatives): the positive of each anchor must be
//! nearer than all other texts of the batch, hard negatives among them.
//!
//! `mean over i of -log softmax_j(scale · cos(anchor_i, document_j))[i]`.

use super::vectors::{unit_rows, unit_rows_back};
use super::{Input, LabelKind, Loss, LossDef, LossOptions, RowShape};
use crate::gemm::{View, multiply};

pub(super) static MULTIPLE_NEGATIVES: LossDef = LossDef {
    name: "mnrl",
    aliases: &["multiple_negatives_ranking", "infonce"],
    about: "pairs that belong together; all other texts of the batch are negatives",
    shape: RowShape {
        texts_min: 2,
        texts_max: 16,
        label: LabelKind::None,
        scores_pairs: false,
        words: "anchor, positive and any number of negatives",
    },
    unique: true,
    build: |options: LossOptions| {
        Box::new(MultipleNegatives { scale: options.scale.unwrap_or(20.0) })
    },
};

#[derive(Debug)]
struct MultipleNegatives {
    scale: f32,
}

impl Loss for MultipleNegatives {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let (rows, width) = (input.rows(), input.width);
        let (anchors, anchor_lengths) = unit_rows(input.columns[0], width);
        let (mut documents, mut lengths) = (Vec::new(), Vec::new());
        for column in &input.columns[1..] {
            let (units, of_column) = unit_rows(column, width);
            documents.extend(units);
            lengths.extend(of_column);
        }
        let count = lengths.len();
        let mut scores = vec![0f32; rows * count];
        let documents_view = View::new(&documents, count, width);
        let anchors_view = View::new(&anchors, rows, width);
        multiply(anchors_view, documents_view.transposed(), &mut scores, false);
        let mut loss = 0.0;
        for (number, row) in scores.chunks_exact_mut(count).enumerate() {
            loss += softmax_gradient(row, number, f64::from(self.scale)) / rows as f64;
            row.iter_mut().for_each(|slope| *slope *= self.scale / rows as f32);
        }
        let slopes = View::new(&scores, rows, count);
        let mut of_anchors = vec![0f32; anchors.len()];
        multiply(slopes, documents_view, &mut of_anchors, false);
        let mut of_documents = vec![0f32; documents.len()];
        multiply(slopes.transposed(), anchors_view, &mut of_documents, false);
        unit_rows_back(&anchors, &anchor_lengths, &of_anchors, width, &mut out[0]);
        let size = rows * width;
        for (number, out) in out[1..].iter_mut().enumerate() {
            let (at, row) = (number * size..(number + 1) * size, number * rows);
            let lengths = &lengths[row..row + rows];
            unit_rows_back(&documents[at.clone()], lengths, &of_documents[at], width, out);
        }
        loss
    }
}

/// Turns cosines into the gradient of `-log softmax(scale · row)[target]` by the scaled ones, and
/// gives that value.
fn softmax_gradient(row: &mut [f32], target: usize, scale: f64) -> f64 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |cosine: f32| (scale * f64::from(cosine - largest)).exp();
    let sum: f64 = row.iter().map(|cosine| weight(*cosine)).sum();
    let loss = sum.ln() - scale * f64::from(row[target] - largest);
    row.iter_mut().for_each(|cosine| *cosine = (weight(*cosine) / sum) as f32);
    row[target] -= 1.0;
    loss
}
