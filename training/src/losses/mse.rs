//! Losses of distillation: a text's vector must be the teacher's; or the difference of two scores
//! must be the teacher's. Means of squared differences.

use super::vectors::{add, dot, row, row_mut};
use super::{Input, LabelKind, Labels, Loss, LossDef, RowShape};

pub(super) static MSE: LossDef = LossDef {
    name: "mse",
    aliases: &[],
    about: "texts with a teacher's vector that the model should give",
    shape: RowShape {
        texts_min: 1,
        texts_max: 1,
        label: LabelKind::Vector,
        scores_pairs: false,
        words: "text and a vector",
    },
    unique: false,
    build: |_| Box::new(Mse),
};

pub(super) static MARGIN_MSE: LossDef = LossDef {
    name: "margin_mse",
    aliases: &[],
    about: "anchors with a positive and negatives whose score differences a teacher gave",
    shape: RowShape {
        texts_min: 3,
        texts_max: 16,
        label: LabelKind::Margins,
        scores_pairs: false,
        words: "anchor, positive, negatives and a score for each negative (its margin)",
    },
    unique: false,
    build: |_| Box::new(MarginMse),
};

#[derive(Debug)]
struct Mse;

impl Loss for Mse {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let Labels::Vectors { values, .. } = input.labels else { return 0.0 };
        let count = values.len() as f64;
        let mut loss = 0.0;
        for ((value, want), out) in input.columns[0].iter().zip(values).zip(&mut out[0]) {
            let difference = f64::from(*value) - f64::from(*want);
            loss += difference * difference / count;
            *out += (2.0 * difference / count) as f32;
        }
        loss
    }
}

#[derive(Debug)]
struct MarginMse;

impl Loss for MarginMse {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let Labels::Scores { values, per_row } = input.labels else { return 0.0 };
        let (rows, width, negatives) = (input.rows(), input.width, input.columns.len() - 2);
        let count = (rows * negatives) as f64;
        let mut loss = 0.0;
        for i in 0..rows {
            let anchor = row(input.columns[0], width, i);
            let positive = row(input.columns[1], width, i);
            let labels = &values[i * per_row..(i + 1) * per_row];
            for number in 0..negatives {
                let negative = row(input.columns[2 + number], width, i);
                // Either a margin for each negative, or a score for the positive and each negative.
                let want = match *per_row == negatives {
                    true => f64::from(labels[number]),
                    false => f64::from(labels[0]) - f64::from(labels[1 + number]),
                };
                let difference = dot(anchor, positive) - dot(anchor, negative) - want;
                loss += difference * difference / count;
                let slope = (2.0 * difference / count) as f32;
                add(row_mut(&mut out[0], width, i), positive, slope);
                add(row_mut(&mut out[0], width, i), negative, -slope);
                add(row_mut(&mut out[1], width, i), anchor, slope);
                add(row_mut(&mut out[2 + number], width, i), anchor, -slope);
            }
        }
        loss
    }
}
