//! Mini-batch k-means as scikit-learn's `MiniBatchKMeans` runs it, down to the random numbers, so
//! that a V-measure can be compared with a published one. For clusters of one's own there is
//! [`crate::cluster`], which is faster and looks at directions only.
//!
//! Sums differ in their last bits from those of the BLAS that scikit-learn calls. So a row that
//! lies between two centres, or a random number between two rows, may now and then go the other
//! way, and the rest of the run with it.

use rayon::prelude::*;

use super::numpy::RandomState;
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::lanes;
use crate::trend::Trend;

/// Passes over as many rows as there are, at most.
const PASSES_MAX: usize = 100;

/// Rows that the start is chosen of, in batches.
const START_BATCHES: usize = 3;

/// A centre with less than this share of the rows of the largest is put elsewhere.
const REASSIGNED_BELOW: f32 = 0.01;

/// Rows that one thread assigns before it looks at the host.
const ROWS_PER_TASK: usize = 256;

/// Rows of vectors, one after another.
#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [f32],
    dimension: usize,
}

impl<'a> Rows<'a> {
    fn len(self) -> usize {
        self.values.len() / self.dimension
    }

    fn row(self, row: usize) -> &'a [f32] {
        &self.values[row * self.dimension..][..self.dimension]
    }

    fn select(self, rows: &[u32]) -> Vec<f32> {
        rows.iter().flat_map(|row| self.row(*row as usize)).copied().collect()
    }
}

/// The cluster in `0..k` of each row of `values`, whose rows have `dimension` components, by
/// `MiniBatchKMeans(n_clusters=k, batch_size=batch, random_state=seed)`. Some clusters may stay
/// empty.
///
/// Time is `batch · k · dimension` a step, with a few dozen steps as a rule; memory beyond the
/// result is that of two sets of centres and a batch.
///
/// # Errors
/// [`OperatorError::Option`] for a `k` or `batch` of 0 or a `k` above the rows,
/// [`OperatorError::Data`] for values that are no whole number of rows, what the host says.
pub fn mini_batch_k_means(
    values: &[f32],
    dimension: usize,
    k: usize,
    batch: usize,
    seed: u32,
    host: &dyn Host,
) -> Result<Vec<u32>> {
    if dimension == 0 || !values.len().is_multiple_of(dimension) {
        return Err(OperatorError::Data(format!(
            "{} values are not a whole number of vectors of {dimension} components",
            values.len()
        )));
    }
    let rows = Rows { values, dimension };
    if k == 0 || batch == 0 || k > rows.len() || u32::try_from(rows.len()).is_err() {
        return Err(OperatorError::Option(format!(
            "k and the batch must be >= 1 and k at most the rows, got k {k}, batch {batch}, {} rows",
            rows.len()
        )));
    }
    let batch = batch.min(rows.len());
    let _centres = Loan::new(host, (2 * k + batch.max(START_BATCHES * batch)) * dimension * 4)?;
    let mut random = RandomState::new(seed);
    let start_rows = start_rows(rows.len(), k, batch);
    // Rows that several starts would be compared on. There is one start, but they are drawn.
    random.integers(rows.len() as u32, start_rows);
    let centres = if start_rows < rows.len() {
        let drawn = random.integers(rows.len() as u32, start_rows);
        let sample = rows.select(&drawn);
        plus_plus(Rows { values: &sample, dimension }, k, &mut random, host)?
    } else {
        plus_plus(rows, k, &mut random, host)?
    };
    let centres = moved(rows, centres, batch, &mut random, host)?;
    Ok(nearest(rows, &centres, host)?.0)
}

/// How many rows the start is chosen of.
fn start_rows(rows: usize, k: usize, batch: usize) -> usize {
    let some = START_BATCHES * batch;
    if some < k { START_BATCHES * k } else { some }.min(rows)
}

/// k-means++ (Arthur and Vassilvitskii 2007) with some candidates for each centre, of which the one
/// that leaves the least distance is taken.
fn plus_plus(
    rows: Rows<'_>,
    k: usize,
    random: &mut RandomState,
    host: &dyn Host,
) -> Result<Vec<f32>> {
    let n = rows.len();
    let candidates = 2 + (k as f64).ln() as usize;
    let first = drawn(&cumulated(n), 1, random)[0];
    let mut centres = rows.row(first).to_vec();
    let mut closest = distances(rows, first, None, host)?;
    let mut potential: f32 = sum(&closest);
    for _ in 1..k {
        check(host)?;
        let draws: Vec<f64> =
            (0..candidates).map(|_| random.uniform() * f64::from(potential)).collect();
        let mut running = 0.0_f32;
        let until: Vec<f32> = closest
            .iter()
            .map(|distance| {
                running += distance;
                running
            })
            .collect();
        let mut best: Option<(f32, usize, Vec<f32>)> = None;
        for draw in draws {
            let candidate = until.partition_point(|sum| f64::from(*sum) < draw).min(n - 1);
            let left = distances(rows, candidate, Some(&closest), host)?;
            let total = sum(&left);
            if best.as_ref().is_none_or(|(least, _, _)| total < *least) {
                best = Some((total, candidate, left));
            }
        }
        if let Some((total, candidate, left)) = best {
            centres.extend_from_slice(rows.row(candidate));
            (potential, closest) = (total, left);
        }
    }
    Ok(centres)
}

/// The squared distance of each row from one of them, or what it was before, if that is less.
fn distances(
    rows: Rows<'_>,
    from: usize,
    before: Option<&[f32]>,
    host: &dyn Host,
) -> Result<Vec<f32>> {
    check(host)?;
    let from = rows.row(from);
    let distance = |row: usize| {
        let distance = lanes::squared_distance(rows.row(row), from).max(0.0) as f32;
        before.map_or(distance, |before| before[row].min(distance))
    };
    Ok((0..rows.len()).into_par_iter().map(distance).collect())
}

fn sum(values: &[f32]) -> f32 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() as f32
}

/// The running sum of equal probabilities, as NumPy takes it.
fn cumulated(rows: usize) -> Vec<f64> {
    let share = f64::from(1.0 / rows as f32);
    let mut until: Vec<f64> = Vec::with_capacity(rows);
    for row in 0..rows {
        until.push(if row == 0 { share } else { until[row - 1] + share });
    }
    let last = until.last().copied().unwrap_or(1.0);
    until.iter_mut().for_each(|sum| *sum /= last);
    until
}

/// `count` rows by their probabilities; rows may repeat.
fn drawn(until: &[f64], count: usize, random: &mut RandomState) -> Vec<usize> {
    let row = |draw: f64| until.partition_point(|sum| *sum <= draw).min(until.len() - 1);
    (0..count).map(|_| row(random.uniform())).collect()
}

/// The centres after all batches.
fn moved(
    rows: Rows<'_>,
    mut centres: Vec<f32>,
    batch: usize,
    random: &mut RandomState,
    host: &dyn Host,
) -> Result<Vec<f32>> {
    let dimension = rows.dimension;
    let k = centres.len() / dimension;
    let until = cumulated(rows.len());
    let mut counts = vec![0.0_f32; k];
    let mut since_reassigned = 0;
    let mut trend = Trend::default();
    // scikit-learn takes it of one row more.
    let share = batch as f64 / (rows.len() + 1) as f64;
    let steps = PASSES_MAX * rows.len() / batch;
    for step in 0..steps {
        host.progress("moving centres", step as u64, steps as u64);
        let chosen: Vec<u32> =
            drawn(&until, batch, random).into_iter().map(|row| row as u32).collect();
        let values = rows.select(&chosen);
        let sample = Rows { values: &values, dimension };
        since_reassigned += batch;
        let reassign = counts.contains(&0.0) || since_reassigned >= 10 * k;
        if reassign {
            since_reassigned = 0;
        }
        let (labels, inertia) = nearest(sample, &centres, host)?;
        move_centres(sample, &labels, &mut centres, &mut counts);
        if reassign {
            reassigned(sample, &mut centres, &mut counts, random);
        }
        if step > 0 && trend.stalls(inertia / batch as f64, share) {
            break;
        }
    }
    Ok(centres)
}

/// Moves each centre to the mean of all rows that it had so far.
fn move_centres(rows: Rows<'_>, labels: &[u32], centres: &mut [f32], counts: &mut [f32]) {
    let mut of_centre: Vec<Vec<usize>> = vec![Vec::new(); counts.len()];
    for (row, label) in labels.iter().enumerate() {
        of_centre[*label as usize].push(row);
    }
    let each = centres.par_chunks_exact_mut(rows.dimension).zip(counts).zip(of_centre);
    each.filter(|(_, members)| !members.is_empty()).for_each(|((centre, count), members)| {
        centre.iter_mut().for_each(|x| *x *= *count);
        for row in &members {
            centre.iter_mut().zip(rows.row(*row)).for_each(|(sum, x)| *sum += x);
        }
        *count += members.len() as f32;
        let share = 1.0 / *count;
        centre.iter_mut().for_each(|x| *x *= share);
    });
}

/// Puts centres that have few rows on rows of the batch.
fn reassigned(rows: Rows<'_>, centres: &mut [f32], counts: &mut [f32], random: &mut RandomState) {
    let most = counts.iter().copied().fold(0.0, f32::max);
    let mut is_moved: Vec<bool> = counts.iter().map(|n| *n < REASSIGNED_BELOW * most).collect();
    // Half of a batch at most.
    let moved_max = rows.len() / 2;
    if 2 * is_moved.iter().filter(|moved| **moved).count() > rows.len() {
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by(|a, b| counts[*a].total_cmp(&counts[*b]));
        order.iter().skip(moved_max).for_each(|centre| is_moved[*centre] = false);
    }
    let moved: Vec<usize> = (0..counts.len()).filter(|centre| is_moved[*centre]).collect();
    if moved.is_empty() {
        return;
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    random.shuffle(&mut order);
    for (centre, row) in moved.iter().zip(order) {
        centres[centre * rows.dimension..][..rows.dimension].copy_from_slice(rows.row(row));
    }
    let kept = counts.iter().zip(&is_moved).filter(|(_, moved)| !**moved).map(|(count, _)| *count);
    let least = kept.fold(f32::INFINITY, f32::min);
    moved.iter().for_each(|centre| counts[*centre] = least);
}

/// The nearest centre of each row, the first of equal ones, and the sum of squared distances.
fn nearest(rows: Rows<'_>, centres: &[f32], host: &dyn Host) -> Result<(Vec<u32>, f64)> {
    let half_squares: Vec<f64> = centres
        .chunks_exact(rows.dimension)
        .map(|centre| lanes::dot(centre, centre) / 2.0)
        .collect();
    let of_row = |row: &[f32]| {
        let mut best = (f64::INFINITY, 0);
        for (index, centre) in centres.chunks_exact(rows.dimension).enumerate() {
            let distance = half_squares[index] - lanes::dot(row, centre);
            if distance < best.0 {
                best = (distance, index);
            }
        }
        let centre = &centres[best.1 * rows.dimension..][..rows.dimension];
        (best.1 as u32, lanes::squared_distance(row, centre))
    };
    let tasks = rows.values.par_chunks(rows.dimension * ROWS_PER_TASK);
    let found: Vec<Vec<(u32, f64)>> = tasks
        .map(|task| {
            check(host)?;
            Ok(task.chunks_exact(rows.dimension).map(of_row).collect())
        })
        .collect::<Result<_>>()?;
    let inertia = found.iter().flatten().map(|(_, distance)| distance).sum();
    Ok((found.into_iter().flatten().map(|(label, _)| label).collect(), inertia))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Contingency;
    use crate::host::Unbounded;
    use crate::host::tests::Limited;

    /// Rows around random centres, one after another, and the number of each row's centre.
    fn rows(count: usize, centres: usize, dimension: usize, noise: f64) -> (Vec<f32>, Vec<u32>) {
        let mut random = RandomState::new(1);
        let middle: Vec<f64> = (0..centres * dimension).map(|_| random.uniform()).collect();
        let labels = random.integers(centres as u32, count);
        let value = |(row, at): (usize, usize)| {
            let middle = middle[labels[row] as usize * dimension + at];
            (middle + noise * (random.uniform() - 0.5)) as f32
        };
        let places = (0..count).flat_map(|row| (0..dimension).map(move |at| (row, at)));
        (places.map(value).collect(), labels)
    }

    fn v_measure(labels: &[u32], found: &[u32]) -> f64 {
        let mut table = Contingency::default();
        labels.iter().zip(found).for_each(|(a, b)| table.add(u64::from(*a), u64::from(*b)));
        table.v_measure().expect("rows")
    }

    /// The clusters that scikit-learn 1.9.1 finds in the same rows: a sum over rows that depends on
    /// each label, and the V-measure.
    #[test]
    fn clusters_are_those_of_scikit_learn() {
        for (count, centres, dimension, noise, batch, sum, measure) in [
            (3000, 20, 8, 1.0, 500, 42_026_828, 0.520_714_468_868_164_9),
            (400, 7, 5, 0.8, 500, 240_817, 0.690_768_957_108_755_7),
            (1200, 60, 16, 1.5, 100, 20_325_460, 0.427_394_770_138_271_65),
        ] {
            let (values, labels) = rows(count, centres, dimension, noise);
            let found = mini_batch_k_means(&values, dimension, centres, batch, 42, &Unbounded);
            let found = found.expect("clusters");
            let places = found.iter().zip(1_u64..);
            let got = places.map(|(label, place)| u64::from(*label) * place).sum::<u64>();
            assert_eq!(got, sum, "{count} rows");
            assert!((v_measure(&labels, &found) - measure).abs() < 1e-12);
        }
    }

    #[test]
    fn what_cannot_be_clustered_is_refused() {
        let run = |k, batch, host: &dyn Host| {
            mini_batch_k_means(&[1.0, 2.0, 3.0, 4.0], 2, k, batch, 1, host)
        };
        assert!(run(0, 5, &Unbounded).is_err() && run(3, 5, &Unbounded).is_err());
        assert!(run(2, 0, &Unbounded).is_err());
        assert!(mini_batch_k_means(&[1.0; 3], 2, 1, 5, 1, &Unbounded).is_err());
        let stopped = Limited { limit: usize::MAX, cancelled: true, ..Limited::default() };
        assert_eq!(run(2, 5, &stopped), Err(OperatorError::Cancelled));
        assert_eq!(run(1, 5, &Unbounded), Ok(vec![0, 0]));
    }
}
