//! Students of a model: which of its layers they keep. How they are trained is the trainer's, with
//! the loss [`mse`](crate::losses::find) on the teacher's vectors.

use sembla_models::ModelSpec;
use sembla_models::trainable::Trainable;

use crate::error::{Result, TrainError};

/// Layers of 12 that are kept, by their count, in the published experiments of
/// Sentence-Transformers.
const OF_TWELVE: [(usize, &[usize]); 6] = [
    (1, &[5]),
    (2, &[3, 7]),
    (3, &[3, 7, 11]),
    (4, &[1, 4, 7, 10]),
    (6, &[0, 2, 4, 6, 8, 10]),
    (8, &[0, 1, 3, 4, 6, 7, 9, 10]),
];

/// Which `count` of `all` layers a student keeps, numbered from 0: those of the published
/// experiments where there are twelve, else the middles of as many equal stretches (the lower of
/// two middles).
///
/// ```
/// use sembla_training::distil::spaced;
///
/// assert_eq!(spaced(12, 3), [3, 7, 11]);
/// assert_eq!(spaced(6, 3), [0, 2, 4]);
/// assert_eq!(spaced(6, 6), [0, 1, 2, 3, 4, 5]);
/// ```
pub fn spaced(all: usize, count: usize) -> Vec<usize> {
    if let (12, Some((_, layers))) = (all, OF_TWELVE.iter().find(|(of, _)| *of == count)) {
        return layers.to_vec();
    }
    (0..count).map(|layer| ((2 * layer + 1) * all).div_ceil(2 * count) - 1).collect()
}

/// Opens a model and keeps `count` of its layers, evenly [`spaced`].
///
/// # Errors
/// Those of the directory, and a count that the model doesn't have.
pub fn with_layers(spec: &ModelSpec, count: usize) -> Result<Trainable> {
    spread(Trainable::open(spec)?, count)
}

/// Keeps `count` layers of an open model, evenly [`spaced`].
///
/// # Errors
/// A count that the model doesn't have.
pub fn spread(mut model: Trainable, count: usize) -> Result<Trainable> {
    let all = model.layers();
    if count == 0 || count > all {
        return Err(TrainError::Option(match all {
            0 => format!("model '{}' is static and has no layers to choose from", model.name()),
            _ => format!("model '{}' has {all} layers; {count} can't be kept", model.name()),
        }));
    }
    model.keep_layers(&spaced(all, count))?;
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_layers_ascend_and_are_spread_over_all() {
        for all in 1..=24 {
            for count in 1..=all {
                let kept = spaced(all, count);
                assert_eq!(kept.len(), count);
                assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "{all} {count}: {kept:?}");
                assert!(kept[count - 1] < all);
                let gaps = kept.windows(2).map(|pair| pair[1] - pair[0]);
                assert!(gaps.max().unwrap_or(0) <= 2 * all / count + 1, "{all} {count}: {kept:?}");
            }
        }
        assert_eq!(spaced(12, 1), [5]);
        assert_eq!(spaced(6, 4), [0, 2, 3, 5]);
    }
}
