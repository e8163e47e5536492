//! Contrastive losses on the cosine distance `1 - cos`: pairs of label 1 are drawn together, pairs
//! of label 0 pushed apart up to a margin; the online form takes only the hard ones of a batch.

use super::vectors::{Cosine, row, two_rows};
use super::{Input, LabelKind, Loss, LossDef, LossOptions, RowShape};

/// The margin of both, unless another is given.
const MARGIN: f32 = 0.5;

const SHAPE: RowShape = RowShape {
    texts_min: 2,
    texts_max: 2,
    label: LabelKind::Binary,
    scores_pairs: false,
    words: "sentence1, sentence2 and a label 0 or 1",
};

pub(super) static CONTRASTIVE: LossDef = LossDef {
    name: "contrastive",
    aliases: &[],
    about: "pairs that belong together (1) or not (0)",
    shape: SHAPE,
    unique: false,
    build: |options: LossOptions| {
        Box::new(Contrastive { margin: f64::from(options.margin.unwrap_or(MARGIN)), online: false })
    },
};

pub(super) static ONLINE: LossDef = LossDef {
    name: "online_contrastive",
    aliases: &[],
    about: "the same, but only the hard pairs of each batch count",
    shape: SHAPE,
    unique: false,
    build: |options: LossOptions| {
        Box::new(Contrastive { margin: f64::from(options.margin.unwrap_or(MARGIN)), online: true })
    },
};

#[derive(Debug)]
struct Contrastive {
    margin: f64,
    online: bool,
}

impl Loss for Contrastive {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let (rows, width, labels) = (input.rows(), input.width, input.labels.scores());
        let pair = |i| (row(input.columns[0], width, i), row(input.columns[1], width, i));
        let cosines: Vec<Cosine> = (0..rows).map(|i| Cosine::of(pair(i).0, pair(i).1)).collect();
        let distances: Vec<f64> = cosines.iter().map(|cosine| 1.0 - cosine.value).collect();
        let of = |label: f32| {
            distances.iter().zip(labels).filter(move |(_, l)| **l == label).map(|(d, _)| *d)
        };
        let mean = |label: f32| of(label).sum::<f64>() / of(label).count().max(1) as f64;
        let has = |label: f32| of(label).next().is_some();
        // A negative is hard if it is nearer than the farthest positive, and the other way round.
        let near = if has(1.0) { of(1.0).fold(f64::MIN, f64::max) } else { mean(0.0) };
        let far = if has(0.0) { of(0.0).fold(f64::MAX, f64::min) } else { mean(1.0) };
        let mut loss = 0.0;
        for i in 0..rows {
            let (d, label) = (distances[i], f64::from(labels[i]));
            let (mut together, mut apart) = (label, 1.0 - label);
            if self.online {
                together = f64::from(u8::from(label == 1.0 && d > far));
                apart = f64::from(u8::from(label == 0.0 && d < near));
            }
            let room = (self.margin - d).max(0.0);
            // The plain form is the mean of halves, the online form the sum of wholes.
            let share = if self.online { 1.0 } else { 0.5 / rows as f64 };
            loss += share * (together * d * d + apart * room * room);
            let slope = 2.0 * share * (together * d - apart * room);
            cosines[i].back(-slope, pair(i), two_rows(out, (0, 1), width, i));
        }
        loss
    }
}
