//! Triplets: the anchor must be nearer to its positive than to its negative, by a margin, in a
//! straight line. With given triplets, or with all that the classes of a batch allow.

use super::vectors::{distance, distance_back, row, two_rows};
use super::{Input, LabelKind, Labels, Loss, LossDef, LossOptions, RowShape};

/// The margin of both, unless another is given.
const MARGIN: f32 = 5.0;

pub(super) static TRIPLET: LossDef = LossDef {
    name: "triplet",
    aliases: &[],
    about: "anchors with a positive that must be nearer than the negative by a margin",
    shape: RowShape {
        texts_min: 3,
        texts_max: 3,
        label: LabelKind::None,
        scores_pairs: false,
        words: "anchor, positive and negative",
    },
    unique: false,
    build: |options: LossOptions| {
        Box::new(Triplet { margin: f64::from(options.margin.unwrap_or(MARGIN)) })
    },
};

pub(super) static BATCH_ALL: LossDef = LossDef {
    name: "batch_all_triplet",
    aliases: &["batch_all"],
    about: "texts with a class; every triplet that a batch has",
    shape: RowShape {
        texts_min: 1,
        texts_max: 1,
        label: LabelKind::Class,
        scores_pairs: false,
        words: "text and label",
    },
    unique: false,
    build: |options: LossOptions| {
        Box::new(BatchAll { margin: f64::from(options.margin.unwrap_or(MARGIN)) })
    },
};

#[derive(Debug)]
struct Triplet {
    margin: f64,
}

impl Loss for Triplet {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let (rows, width) = (input.rows(), input.width);
        let mut loss = 0.0;
        for i in 0..rows {
            let [anchor, positive, negative] =
                [0, 1, 2].map(|column| row(input.columns[column], width, i));
            let (near, far) = (distance(anchor, positive), distance(anchor, negative));
            let over = near - far + self.margin;
            if over <= 0.0 {
                continue;
            }
            loss += over / rows as f64;
            let slope = 1.0 / rows as f64;
            let to = two_rows(out, (0, 1), width, i);
            distance_back(slope, near, (anchor, positive), to);
            let to = two_rows(out, (0, 2), width, i);
            distance_back(-slope, far, (anchor, negative), to);
        }
        loss
    }
}

#[derive(Debug)]
struct BatchAll {
    margin: f64,
}

impl Loss for BatchAll {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let (rows, width) = (input.rows(), input.width);
        let Labels::Classes(classes) = input.labels else { return 0.0 };
        let vectors = input.columns[0];
        let mut distances = vec![0f64; rows * rows];
        for i in 0..rows {
            for j in 0..i {
                let d = distance(row(vectors, width, i), row(vectors, width, j));
                distances[i * rows + j] = d;
                distances[j * rows + i] = d;
            }
        }
        let mut slopes = vec![0f64; rows * rows];
        let (mut sum, mut count) = (0.0, 0.0);
        for i in 0..rows {
            for j in (0..rows).filter(|j| *j != i && classes[*j] == classes[i]) {
                for k in (0..rows).filter(|k| classes[*k] != classes[i]) {
                    let over = distances[i * rows + j] - distances[i * rows + k] + self.margin;
                    if over > 1e-16 {
                        sum += over;
                        count += 1.0;
                        slopes[i * rows + j] += 1.0;
                        slopes[i * rows + k] -= 1.0;
                    }
                }
            }
        }
        if count == 0.0 {
            return 0.0;
        }
        for i in 0..rows {
            for j in 0..i {
                let slope = (slopes[i * rows + j] + slopes[j * rows + i]) / count;
                let (left, right) = out[0].split_at_mut(i * width);
                let to = (&mut right[..width], &mut left[j * width..(j + 1) * width]);
                let pair = (row(vectors, width, i), row(vectors, width, j));
                distance_back(slope, distances[i * rows + j], pair, to);
            }
        }
        sum / count
    }
}
