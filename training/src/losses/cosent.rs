//! CoSENT: of two pairs of texts, the one with the higher score must have the higher cosine.
//!
//! `log(1 + Σ over y_i < y_j of e^(scale·(cos_i - cos_j)))`.

use super::vectors::{Cosine, row, two_rows};
use super::{Input, LabelKind, Loss, LossDef, LossOptions, RowShape};

pub(super) static COSENT: LossDef = LossDef {
    name: "cosent",
    aliases: &[],
    about: "pairs with a similarity score; only the order of the scores counts",
    shape: RowShape {
        texts_min: 2,
        texts_max: 2,
        label: LabelKind::Score,
        scores_pairs: false,
        words: "sentence1, sentence2 and score",
    },
    unique: false,
    build: |options: LossOptions| {
        Box::new(CoSent { scale: f64::from(options.scale.unwrap_or(20.0)) })
    },
};

#[derive(Debug)]
struct CoSent {
    scale: f64,
}

impl Loss for CoSent {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let (rows, width, labels) = (input.rows(), input.width, input.labels.scores());
        let pair = |i| (row(input.columns[0], width, i), row(input.columns[1], width, i));
        let cosines: Vec<Cosine> = (0..rows).map(|i| Cosine::of(pair(i).0, pair(i).1)).collect();
        let score = |i: usize| self.scale * cosines[i].value;
        let ordered = || {
            (0..rows)
                .flat_map(move |low| (0..rows).map(move |high| (low, high)))
                .filter(|(low, high)| labels[*low] < labels[*high])
        };
        // The 1 of the formula is a difference of 0.
        let largest = ordered().map(|(i, j)| score(i) - score(j)).fold(0.0, f64::max);
        let sum: f64 = ordered().map(|(i, j)| (score(i) - score(j) - largest).exp()).sum();
        let loss = largest + (sum + (-largest).exp()).ln();
        let mut slopes = vec![0f64; rows];
        for (i, j) in ordered() {
            let weight = (score(i) - score(j) - loss).exp();
            slopes[i] += weight;
            slopes[j] -= weight;
        }
        for (i, slope) in slopes.into_iter().enumerate() {
            cosines[i].back(slope * self.scale, pair(i), two_rows(out, (0, 1), width, i));
        }
        loss
    }
}
