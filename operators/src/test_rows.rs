//! Vectors that tests compare fast and slow ways on: random, with what goes wrong easily.

use crate::similarity::tests::random_vector;
use crate::unit::UnitVectors;

/// Random vectors on a coarse grid, so that many cosines are equal; about every eighth row repeats
/// an earlier one, and about every sixteenth has no direction.
pub(crate) fn random_rows(rows: usize, dimension: usize, seed: u64) -> UnitVectors {
    let mut values: Vec<f32> =
        random_vector(rows * dimension, seed).iter().map(|x| (x * 2.5).round()).collect();
    for (row, luck) in random_vector(rows, seed + 1000).into_iter().enumerate() {
        let (before, at) = values.split_at_mut(row * dimension);
        let at = &mut at[..dimension];
        if luck < -0.875 {
            at.fill(0.0);
        } else if luck < -0.625 && row > 0 {
            at.copy_from_slice(&before[row / 2 * dimension..][..dimension]);
        }
    }
    UnitVectors::new(dimension, values).expect("whole rows")
}

/// Random vectors around random centres, as texts of some topics are: `spread` is how long the
/// noise is beside the centre.
pub(crate) fn random_topics(
    rows: usize,
    topics: usize,
    dimension: usize,
    spread: f32,
    seed: u64,
) -> UnitVectors {
    let centres = random_vector(topics * dimension, seed);
    let mut values = random_vector(rows * dimension, seed + 1);
    for (row, values) in values.chunks_exact_mut(dimension).enumerate() {
        let centre = &centres[row * row % topics * dimension..][..dimension];
        values.iter_mut().zip(centre).for_each(|(noise, centre)| {
            *noise = centre + spread * *noise;
        });
    }
    UnitVectors::new(dimension, values).expect("whole rows")
}
