//! Where k-means starts: centres that are far from each other (k-means++), and the random numbers
//! that choose them.

use rayon::prelude::*;

use crate::error::Result;
use crate::host::{Host, check};
use crate::unit::UnitVectors;

/// Rows for each centre that is wanted, of which the start is chosen; more add time only.
const ROWS_PER_CENTRE: usize = 256;

/// Rows that one thread compares before it looks at the host.
const ROWS_PER_TASK: usize = 1024;

/// Random numbers that a seed decides: SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A number in `0.0..1.0`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// `count` different rows of `rows`, all of them if there are no more, in random order.
    pub(super) fn sample(&mut self, rows: usize, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..rows as u32).collect();
        let count = count.min(rows);
        for position in 0..count {
            let other = position + self.below(rows - position);
            order.swap(position, other);
        }
        order.truncate(count);
        order
    }
}

/// `k` rows to start from, by greedy k-means++ (Arthur and Vassilvitskii 2007): each next one is
/// the best of some that were drawn with a chance in proportion to the distance from those before.
///
/// Cost: `k·ln k` passes over [`ROWS_PER_CENTRE`]`·k` rows. `k` is at most the number of rows.
pub(super) fn plus_plus(
    vectors: &UnitVectors,
    k: usize,
    random: &mut Random,
    host: &dyn Host,
) -> Result<Vec<u32>> {
    let rows = random.sample(vectors.rows(), k.saturating_mul(ROWS_PER_CENTRE));
    let trials = 2 + (k as f64).ln() as usize;
    let mut chosen = vec![rows[random.below(rows.len())]];
    let mut nearest = distances(vectors, &rows, chosen[0], None, host)?;
    while chosen.len() < k {
        host.progress("choosing centres", chosen.len() as u64, k as u64);
        let mut best: Option<(f64, u32, Vec<f32>)> = None;
        let total: f64 = nearest.iter().map(|distance| f64::from(*distance)).sum();
        for _ in 0..trials {
            let candidate = rows[drawn(&nearest, random.unit() * total)];
            let left = distances(vectors, &rows, candidate, Some(&nearest), host)?;
            let sum: f64 = left.iter().map(|distance| f64::from(*distance)).sum();
            if best.as_ref().is_none_or(|(least, ..)| sum < *least) {
                best = Some((sum, candidate, left));
            }
        }
        if let Some((_, candidate, left)) = best {
            chosen.push(candidate);
            nearest = left;
        }
    }
    Ok(chosen)
}

/// The first position where the running sum passes `at`.
fn drawn(weights: &[f32], at: f64) -> usize {
    let mut sum = 0.0;
    let passes = |weight: &f32| {
        sum += f64::from(*weight);
        sum > at
    };
    weights.iter().position(passes).unwrap_or(weights.len() - 1)
}

/// The cosine distance of each row to `centre`, or what it had before if that is less.
fn distances(
    vectors: &UnitVectors,
    rows: &[u32],
    centre: u32,
    before: Option<&[f32]>,
    host: &dyn Host,
) -> Result<Vec<f32>> {
    let mut distances = before.map_or_else(|| vec![f32::INFINITY; rows.len()], <[f32]>::to_vec);
    let tasks = distances.par_chunks_mut(ROWS_PER_TASK).zip(rows.par_chunks(ROWS_PER_TASK));
    tasks.try_for_each(|(distances, rows)| {
        for (distance, row) in distances.iter_mut().zip(rows) {
            let cosine = vectors.cosine(*row as usize, vectors, centre as usize);
            *distance = distance.min(1.0 - cosine);
        }
        check(host)
    })?;
    Ok(distances)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::host::Unbounded;

    #[test]
    fn samples_are_different_rows() {
        let mut random = Random::new(1);
        for (rows, count) in [(0, 3), (1, 1), (10, 3), (10, 10), (10, 99), (1000, 500)] {
            let sample = random.sample(rows, count);
            assert_eq!(sample.len(), count.min(rows));
            assert_eq!(sample.iter().collect::<HashSet<_>>().len(), sample.len());
            assert!(sample.iter().all(|row| (*row as usize) < rows));
        }
        assert_ne!(Random::new(1).sample(100, 10), Random::new(2).sample(100, 10));
    }

    #[test]
    fn rows_are_drawn_in_proportion_to_their_weight() {
        let mut random = Random::new(3);
        let mut counts = [0; 4];
        for _ in 0..10_000 {
            counts[drawn(&[1.0, 0.0, 2.0, 1.0], random.unit() * 4.0)] += 1;
        }
        assert_eq!(counts[1], 0);
        for (count, expected) in [(counts[0], 2500_i32), (counts[2], 5000), (counts[3], 2500)] {
            assert!((expected - count).abs() < 200, "{counts:?}");
        }
    }

    #[test]
    fn a_start_has_a_row_of_each_far_group() {
        let corner = |row: usize| (0..8).map(move |i| if i == row % 8 { 1.0 } else { 0.0 });
        let vectors = UnitVectors::new(8, (0..800).flat_map(corner).collect()).expect("rows");
        for seed in 0..20 {
            let chosen = plus_plus(&vectors, 8, &mut Random::new(seed), &Unbounded).expect("rows");
            assert_eq!(chosen.iter().map(|row| row % 8).collect::<HashSet<_>>().len(), 8);
        }
    }
}
