//! Distillation of rankings: the shares that a softmax gives to the documents of a query must be
//! those of the teacher's scores. The divergence of the two, as a mean over queries.

use super::vectors::{add, dot, row, row_mut};
use super::{Input, LabelKind, Labels, Loss, LossDef, RowShape};

pub(super) static DISTIL_KL: LossDef = LossDef {
    name: "distil_kl",
    aliases: &["distill_kl", "distill_kl_div"],
    about: "anchors with a positive and negatives whose scores a teacher gave",
    shape: RowShape {
        texts_min: 3,
        texts_max: 16,
        label: LabelKind::Margins,
        scores_pairs: false,
        words: "anchor, positive, negatives and a list with the teacher's score of each (or the margin of each negative)",
    },
    unique: false,
    build: |_| Box::new(DistilKl),
};

#[derive(Debug)]
struct DistilKl;

impl Loss for DistilKl {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let Labels::Scores { values, per_row } = input.labels else { return 0.0 };
        let (rows, width, documents) = (input.rows(), input.width, input.columns.len() - 1);
        let mut loss = 0.0;
        for i in 0..rows {
            let labels = &values[i * per_row..(i + 1) * per_row];
            let anchor = row(input.columns[0], width, i);
            let of = |number: usize| row(input.columns[1 + number], width, i);
            let own: Vec<f64> = (0..documents).map(|number| dot(anchor, of(number))).collect();
            // A softmax doesn't change when the same is added to all: margins serve as scores.
            let given: Vec<f64> = match *per_row == documents {
                true => labels.iter().map(|label| f64::from(*label)).collect(),
                false => std::iter::once(0.0)
                    .chain(labels.iter().map(|margin| -f64::from(*margin)))
                    .collect(),
            };
            let (own, given) = (log_softmax(&own), log_softmax(&given));
            for number in 0..documents {
                let share = given[number].exp();
                loss += share * (given[number] - own[number]) / rows as f64;
                let slope = ((own[number].exp() - share) / rows as f64) as f32;
                add(row_mut(&mut out[0], width, i), of(number), slope);
                add(row_mut(&mut out[1 + number], width, i), anchor, slope);
            }
        }
        loss
    }
}

/// The logarithms of the shares of a softmax.
fn log_softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
    scores.iter().map(|score| score - largest - sum.ln()).collect()
}
