//! Losses of models that score pairs: the score must be the label, as a probability or as it is.

use super::{Input, LabelKind, Loss, LossDef, RowShape};

const SHAPE: RowShape = RowShape {
    texts_min: 2,
    texts_max: 2,
    label: LabelKind::Score,
    scores_pairs: true,
    words: "query, document and score",
};

pub(super) static BCE: LossDef = LossDef {
    name: "bce",
    aliases: &["binary_cross_entropy"],
    about: "pairs with a label or a score from 0 to 1, for a cross-encoder",
    shape: SHAPE,
    unique: false,
    build: |_| Box::new(Bce),
};

pub(super) static SCORE_MSE: LossDef = LossDef {
    name: "score_mse",
    aliases: &[],
    about: "pairs with a teacher's score, for a cross-encoder",
    shape: SHAPE,
    unique: false,
    build: |_| Box::new(ScoreMse),
};

#[derive(Debug)]
struct Bce;

impl Loss for Bce {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let count = input.rows() as f64;
        let mut loss = 0.0;
        let rows = input.columns[0].iter().zip(input.labels.scores());
        for ((logit, label), out) in rows.zip(&mut out[0]) {
            let (x, y) = (f64::from(*logit), f64::from(*label));
            loss += (x.max(0.0) - x * y + (-x.abs()).exp().ln_1p()) / count;
            *out += ((1.0 / (1.0 + (-x).exp()) - y) / count) as f32;
        }
        loss
    }
}

#[derive(Debug)]
struct ScoreMse;

impl Loss for ScoreMse {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let count = input.rows() as f64;
        let mut loss = 0.0;
        let rows = input.columns[0].iter().zip(input.labels.scores());
        for ((score, label), out) in rows.zip(&mut out[0]) {
            let difference = f64::from(*score) - f64::from(*label);
            loss += difference * difference / count;
            *out += (2.0 * difference / count) as f32;
        }
        loss
    }
}
