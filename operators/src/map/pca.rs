//! The principal components of vectors, for pictures.
//!
//! Subspace iteration on the covariance (Halko, Martinsson and Tropp 2011, with Rayleigh–Ritz at
//! the end), which is never formed: each step multiplies the centred rows twice. The start is fixed
//! and sums run in blocks of fixed size, so the result depends on the input alone. Each component
//! points to where its largest entry is positive.

use rayon::prelude::*;

use crate::error::Result;
use crate::host::{Host, check};
use crate::unit::UnitVectors;

/// Directions besides those that are wanted, which make the wanted ones converge fast.
const EXTRA_DIRECTIONS: usize = 10;

/// Steps at most.
const STEPS_MAX: usize = 100;

/// The steps end when no eigenvalue changes by more than this share.
const CHANGE_MIN: f64 = 1e-9;

/// Rows whose products are summed by one thread.
const ROWS_PER_TASK: usize = 256;

/// The plane of the largest variance of some vectors.
pub(super) struct Plane {
    mean: Vec<f64>,
    directions: Vec<Vec<f64>>,
}

impl Plane {
    /// The plane of these vectors.
    ///
    /// # Errors
    /// What the host says.
    pub(super) fn fit(vectors: &UnitVectors, host: &dyn Host) -> Result<Self> {
        let mean = mean(vectors);
        let directions = directions(vectors, &mean, 2, host)?;
        Ok(Self { mean, directions })
    }

    /// The coordinates of each vector; 0 along a direction that there isn't.
    pub(super) fn places(&self, vectors: &UnitVectors) -> Vec<[f64; 2]> {
        let along = |row: usize, number: usize| -> f64 {
            let Some(direction) = self.directions.get(number) else { return 0.0 };
            let components = vectors.row(row).iter().zip(&self.mean).zip(direction);
            components.map(|((x, mean), d)| (f64::from(*x) - mean) * d).sum()
        };
        (0..vectors.rows()).into_par_iter().map(|row| [along(row, 0), along(row, 1)]).collect()
    }
}

/// The directions of the largest variance, the largest first; fewer than wanted in fewer
/// dimensions.
fn directions(
    vectors: &UnitVectors,
    mean: &[f64],
    wanted: usize,
    host: &dyn Host,
) -> Result<Vec<Vec<f64>>> {
    let dimension = vectors.dimension();
    let size = (wanted + EXTRA_DIRECTIONS).min(dimension);
    let mut basis = start(dimension, size);
    orthonormalize(&mut basis);
    let mut values: Vec<f64> = vec![0.0; size];
    for _ in 0..STEPS_MAX {
        check(host)?;
        let image = covariance_times(vectors, mean, &basis, host)?;
        let (turned, found) = rayleigh_ritz(&basis, &image);
        let scale = found.first().copied().unwrap_or(0.0).abs();
        let change = |(new, old): (&f64, &f64)| (new - old).abs() <= CHANGE_MIN * scale;
        let settled = found.iter().zip(&values).take(wanted).all(change);
        values = found;
        if settled {
            basis = turned;
            break;
        }
        basis = image;
        orthonormalize(&mut basis);
    }
    basis.truncate(wanted);
    basis.iter_mut().for_each(|direction| point_up(direction));
    Ok(basis)
}

/// Fixed directions that favour none, from a small generator.
fn start(dimension: usize, size: usize) -> Vec<Vec<f64>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..size).map(|_| (0..dimension).map(|_| next()).collect()).collect()
}

fn mean(vectors: &UnitVectors) -> Vec<f64> {
    let mut mean = vec![0.0; vectors.dimension()];
    for row in 0..vectors.rows() {
        mean.iter_mut().zip(vectors.row(row)).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    mean.iter_mut().for_each(|sum| *sum /= vectors.rows().max(1) as f64);
    mean
}

/// `Σ (x - m) ((x - m) · b) / n` for each direction `b`.
fn covariance_times(
    vectors: &UnitVectors,
    mean: &[f64],
    basis: &[Vec<f64>],
    host: &dyn Host,
) -> Result<Vec<Vec<f64>>> {
    let rows: Vec<usize> = (0..vectors.rows()).collect();
    let blocks: Result<Vec<Vec<Vec<f64>>>> = rows
        .par_chunks(ROWS_PER_TASK)
        .map(|rows| {
            check(host)?;
            let mut sums = vec![vec![0.0; mean.len()]; basis.len()];
            let mut centred = vec![0.0; mean.len()];
            for row in rows {
                let components = centred.iter_mut().zip(vectors.row(*row)).zip(mean);
                components.for_each(|((c, x), mean)| *c = f64::from(*x) - mean);
                for (sum, direction) in sums.iter_mut().zip(basis) {
                    let length = dot(&centred, direction);
                    sum.iter_mut().zip(&centred).for_each(|(sum, c)| *sum += c * length);
                }
            }
            Ok(sums)
        })
        .collect();
    let mut image = vec![vec![0.0; mean.len()]; basis.len()];
    for block in blocks? {
        for (sum, part) in image.iter_mut().flatten().zip(block.iter().flatten()) {
            *sum += part;
        }
    }
    let rows = vectors.rows().max(1) as f64;
    image.iter_mut().flatten().for_each(|x| *x /= rows);
    Ok(image)
}

/// Turns an orthonormal basis to the eigenvectors within its span, the largest eigenvalue first.
fn rayleigh_ritz(basis: &[Vec<f64>], image: &[Vec<f64>]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let matrix: Vec<Vec<f64>> =
        basis.iter().map(|b| image.iter().map(|image| dot(b, image)).collect()).collect();
    let (values, vectors) = eigen(matrix);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let turned = order.iter().map(|column| {
        let mut direction = vec![0.0; basis.first().map_or(0, Vec::len)];
        for (b, row) in basis.iter().zip(&vectors) {
            direction.iter_mut().zip(b).for_each(|(d, x)| *d += row[*column] * x);
        }
        direction
    });
    (turned.collect(), order.iter().map(|column| values[*column]).collect())
}

/// Eigenvalues and eigenvectors (as columns) of a small symmetric matrix, by Jacobi's rotations.
fn eigen(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = a.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|i| (0..size).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..50 {
        let off: f64 =
            (0..size).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j].powi(2)).sum();
        let all: f64 = a.iter().flatten().map(|x| x * x).sum();
        if off <= 1e-30 * all {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                if a[p][q] != 0.0 {
                    rotate(&mut a, &mut vectors, p, q);
                }
            }
        }
    }
    ((0..size).map(|i| a[i][i]).collect(), vectors)
}

/// Turns the plane of `p` and `q` so that their entry vanishes.
fn rotate(a: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cos = 1.0 / (t * t + 1.0).sqrt();
    let sin = t * cos;
    let turn = |x: f64, y: f64| (cos * x - sin * y, sin * x + cos * y);
    for row in a.iter_mut().chain(vectors.iter_mut()) {
        (row[p], row[q]) = turn(row[p], row[q]);
    }
    let (above, below) = a.split_at_mut(q);
    let (Some(row_p), Some(row_q)) = (above.get_mut(p), below.first_mut()) else { return };
    row_p.iter_mut().zip(row_q).for_each(|(x, y)| (*x, *y) = turn(*x, *y));
}

/// Makes directions orthogonal and of length one (modified Gram–Schmidt, twice). One that depends
/// on those before it becomes zero.
fn orthonormalize(basis: &mut [Vec<f64>]) {
    for i in 0..basis.len() {
        let (before, rest) = basis.split_at_mut(i);
        let Some(direction) = rest.first_mut() else { return };
        let length = dot(direction, direction).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let along = dot(direction, other);
                direction.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let left = dot(direction, direction).sqrt();
        let scale = if left > 1e-12 * length { 1.0 / left } else { 0.0 };
        direction.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Flips a direction so that its largest entry (of equal ones the first) is positive.
fn point_up(direction: &mut [f64]) {
    let largest = direction
        .iter()
        .copied()
        .fold(0.0, |most: f64, x| if x.abs() > most.abs() { x } else { most });
    if largest < 0.0 {
        direction.iter_mut().for_each(|x| *x = -*x);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut lanes = [0.0; 4];
    for (x, y) in a.0.iter().zip(b.0) {
        lanes.iter_mut().zip(x).zip(y).for_each(|((sum, x), y)| *sum += x * y);
    }
    let rest: f64 = a.1.iter().zip(b.1).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unbounded;
    use crate::similarity::tests::random_vector;

    /// The plain way: the whole covariance, and all its eigenvectors.
    fn slow(vectors: &UnitVectors, wanted: usize) -> Vec<Vec<f64>> {
        let mean = mean(vectors);
        let size = vectors.dimension();
        let mut covariance = vec![vec![0.0; size]; size];
        for row in 0..vectors.rows() {
            let x: Vec<f64> =
                vectors.row(row).iter().zip(&mean).map(|(x, m)| f64::from(*x) - m).collect();
            for i in 0..size {
                for j in 0..size {
                    covariance[i][j] += x[i] * x[j];
                }
            }
        }
        let (values, columns) = eigen(covariance);
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        let column = |c: usize| -> Vec<f64> { columns.iter().map(|row| row[c]).collect() };
        order.into_iter().take(wanted).map(column).collect()
    }

    #[test]
    fn directions_are_those_of_the_whole_covariance() {
        for (rows, dimension) in [(500, 24), (30, 40), (200, 3), (2000, 13)] {
            let mut values = random_vector(rows * dimension, 3);
            for row in values.chunks_mut(dimension) {
                row.iter_mut().zip(0..).for_each(|(x, i)| *x /= 1.0 + i as f32);
            }
            let vectors = UnitVectors::new(dimension, values).expect("rows");
            let fast = directions(&vectors, &mean(&vectors), 2, &Unbounded).expect("directions");
            for (fast, slow) in fast.iter().zip(slow(&vectors, 2)) {
                let cosine = dot(fast, &slow).abs();
                assert!(cosine > 1.0 - 1e-5, "{rows} x {dimension}: {cosine}");
                let largest = fast.iter().max_by(|a, b| a.abs().total_cmp(&b.abs()));
                assert!(largest.is_some_and(|x| *x > 0.0));
            }
        }
    }

    #[test]
    fn one_row_equal_rows_and_one_dimension() {
        let places = |dimension, values| {
            let vectors = UnitVectors::new(dimension, values).expect("rows");
            Plane::fit(&vectors, &Unbounded).expect("a plane").places(&vectors)
        };
        assert_eq!(places(3, vec![1.0, 2.0, 3.0]), [[0.0, 0.0]]);
        assert!(places(2, [3.0, 4.0].repeat(9)).iter().flatten().all(|x| x.abs() < 1e-6));
        assert_eq!(places(1, vec![1.0, -1.0]), [[1.0, 0.0], [-1.0, 0.0]]);
        assert!(places(4, vec![]).is_empty());
    }
}
