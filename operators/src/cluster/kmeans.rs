//! Spherical k-means: each row belongs to the centre with the highest cosine, each centre is the
//! direction of the mean of its rows, in turns until nothing changes (Dhillon and Modha 2001).
//!
//! Finding the highest cosine is a search of each row's one nearest neighbour among the centres, so
//! it runs on the same kernel as all searches.

use super::seeding::{Random, plus_plus};
use super::{means, members};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, Quiet};
use crate::neighbours::{self, Neighbours};
use crate::unit::UnitVectors;

/// Turns after which it ends, changed or not.
const TURNS_MAX: usize = 100;

/// It ends when the mean cosine distance sinks by less than this share of itself in a turn.
const GAIN_MIN: f64 = 1e-5;

/// A row is the same as its centre, so that it is no use as a new one, below this distance.
const SAME: f32 = 1e-6;

/// Centres and the rows that are nearest to each.
pub(super) struct Partition {
    /// Each row's centre.
    pub(super) centre_of: Vec<u32>,
    /// Each row's cosine with its centre.
    scores: Vec<f32>,
}

impl Partition {
    /// The mean cosine distance of rows to their centres.
    fn cost(&self) -> f64 {
        let distances = self.scores.iter().map(|score| 1.0 - f64::from(*score));
        distances.sum::<f64>() / self.scores.len() as f64
    }

    /// Gives centres without rows the rows that are farthest from theirs.
    fn fill_empty(&mut self, k: usize) {
        let mut sizes = vec![0_usize; k];
        self.centre_of.iter().for_each(|centre| sizes[*centre as usize] += 1);
        let empty: Vec<usize> = (0..k).filter(|centre| sizes[*centre] == 0).collect();
        if empty.is_empty() {
            return;
        }
        let mut farthest: Vec<usize> =
            (0..self.scores.len()).filter(|row| 1.0 - self.scores[*row] > SAME).collect();
        farthest.sort_by(|a, b| self.scores[*a].total_cmp(&self.scores[*b]));
        let mut farthest = farthest.into_iter();
        for centre in empty {
            let row = farthest.find(|row| sizes[self.centre_of[*row] as usize] > 1);
            let Some(row) = row else { return };
            sizes[self.centre_of[row] as usize] -= 1;
            sizes[centre] += 1;
            self.centre_of[row] = centre as u32;
            self.scores[row] = 1.0;
        }
    }
}

/// The best of `runs` k-means, each from its own start.
pub(super) fn kmeans(
    vectors: &UnitVectors,
    k: usize,
    runs: usize,
    seed: u64,
    host: &dyn Host,
) -> Result<Vec<Option<u32>>> {
    let _centres = Loan::new(host, 3 * k * vectors.dimension() * size_of::<f32>())?;
    let mut random = Random::new(seed);
    let mut best: Option<Partition> = None;
    for _ in 0..runs {
        let start = vectors.select(&plus_plus(vectors, k, &mut random, host)?);
        let found = turns(vectors, start, TURNS_MAX, host)?;
        if best.as_ref().is_none_or(|best| found.cost() < best.cost()) {
            best = Some(found);
        }
    }
    Ok(best.map(|best| best.centre_of.into_iter().map(Some).collect()).unwrap_or_default())
}

/// Takes turns from a start until nothing changes, little is gained, or `turns_max` are taken.
pub(super) fn turns(
    vectors: &UnitVectors,
    mut centres: UnitVectors,
    turns_max: usize,
    host: &dyn Host,
) -> Result<Partition> {
    let k = centres.rows();
    let mut partition = nearest_centres(vectors, &centres, host)?;
    for turn in 0..turns_max {
        host.progress("moving centres", turn as u64, turns_max as u64);
        partition.fill_empty(k);
        centres = moved(vectors, &partition, &centres, host)?;
        let next = nearest_centres(vectors, &centres, host)?;
        let same = next.centre_of == partition.centre_of;
        let gain = partition.cost() - next.cost();
        let little = gain.abs() < GAIN_MIN * partition.cost();
        partition = next;
        if same || little {
            break;
        }
    }
    Ok(partition)
}

/// Each row's nearest centre.
pub(super) fn nearest_centres(
    vectors: &UnitVectors,
    centres: &UnitVectors,
    host: &dyn Host,
) -> Result<Partition> {
    let _found = Loan::new(host, Neighbours::bytes(vectors.rows(), 1))?;
    let found = neighbours::top_k(vectors, centres, 1, -1.0, &Quiet(host))?;
    let nearest = |row| {
        let none = || OperatorError::Bug(format!("row {row} is near no centre"));
        found.of(row).first().copied().ok_or_else(none)
    };
    let nearest: Vec<_> = (0..vectors.rows()).map(nearest).collect::<Result<_>>()?;
    Ok(Partition {
        centre_of: nearest.iter().map(|centre| centre.row).collect(),
        scores: nearest.iter().map(|centre| centre.score).collect(),
    })
}

/// The directions of the means; a centre without rows, or whose rows cancel out, stays.
fn moved(
    vectors: &UnitVectors,
    partition: &Partition,
    centres: &UnitVectors,
    host: &dyn Host,
) -> Result<UnitVectors> {
    let centre_of: Vec<_> = partition.centre_of.iter().copied().map(Some).collect();
    let mut values = means(vectors, &members(&centre_of, centres.rows()), host)?;
    for (centre, mean) in values.chunks_exact_mut(vectors.dimension()).enumerate() {
        if mean.iter().all(|x| *x == 0.0) {
            mean.copy_from_slice(centres.row(centre));
        }
    }
    UnitVectors::new(vectors.dimension(), values)
}
