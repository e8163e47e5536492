//! Cosine similarity: the cosine of a pair must be its score. The mean of squared differences.

use super::vectors::{Cosine, row, two_rows};
use super::{Input, LabelKind, Loss, LossDef, RowShape};

pub(super) static COSINE: LossDef = LossDef {
    name: "cosine",
    aliases: &["cosine_similarity"],
    about: "pairs with a similarity score that the cosine should equal",
    shape: RowShape {
        texts_min: 2,
        texts_max: 2,
        label: LabelKind::Score,
        scores_pairs: false,
        words: "sentence1, sentence2 and score",
    },
    unique: false,
    build: |_| Box::new(CosineSimilarity),
};

#[derive(Debug)]
struct CosineSimilarity;

impl Loss for CosineSimilarity {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let (rows, width) = (input.rows(), input.width);
        let mut loss = 0.0;
        for (i, label) in input.labels.scores().iter().enumerate() {
            let pair = (row(input.columns[0], width, i), row(input.columns[1], width, i));
            let cosine = Cosine::of(pair.0, pair.1);
            let difference = cosine.value - f64::from(*label);
            loss += difference * difference / rows as f64;
            let slope = 2.0 * difference / rows as f64;
            cosine.back(slope, pair, two_rows(out, (0, 1), width, i));
        }
        loss
    }
}
