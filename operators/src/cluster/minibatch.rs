//! Mini-batch k-means (Sculley 2010) by `linfa-clustering`, on unit vectors: each batch moves the
//! centres that are nearest to its rows, less and less.
//!
//! One batch is one call of the library, so the host is asked in between. The distance is ours:
//! the library's own is a sum without vector instructions.

use linfa::traits::FitWith;
use linfa::{DatasetBase, ParamGuard};
use linfa_clustering::{IncrKMeansError, KMeans, KMeansInit};
use linfa_nn::distance::{Distance, L2Dist};
use ndarray::{Array2, ArrayView, Dimension};

use super::kmeans::nearest_centres;
use super::seeding::{Random, plus_plus};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::lanes;
use crate::trend::Trend;
use crate::unit::UnitVectors;

/// Rows of a batch.
const BATCH_ROWS: usize = 1024;

/// How many times it goes over all rows at most.
const EPOCHS_MAX: usize = 100;

/// Euclidean distance, in the order of sums of this crate.
#[derive(Clone, Debug)]
struct Euclidean;

impl Distance<f32> for Euclidean {
    fn distance<D: Dimension>(&self, a: ArrayView<f32, D>, b: ArrayView<f32, D>) -> f32 {
        self.rdistance(a, b).sqrt()
    }

    fn rdistance<D: Dimension>(&self, a: ArrayView<f32, D>, b: ArrayView<f32, D>) -> f32 {
        match (a.as_slice(), b.as_slice()) {
            (Some(a), Some(b)) => lanes::squared_distance(a, b) as f32,
            _ => a.iter().zip(&b).map(|(x, y)| (x - y) * (x - y)).sum(),
        }
    }

    fn rdist_to_dist(&self, rdist: f32) -> f32 {
        rdist.sqrt()
    }

    fn dist_to_rdist(&self, dist: f32) -> f32 {
        dist * dist
    }
}

/// Each row's centre.
pub(super) fn minibatch(
    vectors: &UnitVectors,
    k: usize,
    seed: u64,
    host: &dyn Host,
) -> Result<Vec<Option<u32>>> {
    let mut random = Random::new(seed);
    let start = vectors.select(&plus_plus(vectors, k, &mut random, host)?);
    let centre_of = nearest_moved(vectors, &start, &mut random, host)?;
    Ok(centre_of.into_iter().map(Some).collect())
}

/// Each row's centre after centres that are known already were moved. There is at least one of
/// each, and all have a direction.
pub(crate) fn moved_from(
    vectors: &UnitVectors,
    start: &UnitVectors,
    seed: u64,
    host: &dyn Host,
) -> Result<Vec<u32>> {
    nearest_moved(vectors, start, &mut Random::new(seed), host)
}

fn nearest_moved(
    vectors: &UnitVectors,
    start: &UnitVectors,
    random: &mut Random,
    host: &dyn Host,
) -> Result<Vec<u32>> {
    let rows = start.rows() + BATCH_ROWS;
    let _centres = Loan::new(host, 4 * rows * vectors.dimension() * size_of::<f32>())?;
    let centres = moved_by_batches(vectors, start, random, host)?;
    Ok(nearest_centres(vectors, &centres, host)?.centre_of)
}

/// The centres after all batches.
fn moved_by_batches(
    vectors: &UnitVectors,
    start: &UnitVectors,
    random: &mut Random,
    host: &dyn Host,
) -> Result<UnitVectors> {
    let (rows, dimension) = (vectors.rows(), vectors.dimension());
    // The library wants a generator of its own kind, though batches and start are chosen here.
    let generator = checked(KMeans::<f32, L2Dist>::params(start.rows()))?.rng().clone();
    let centres = matrix(start.rows(), dimension, start.values().to_vec())?;
    let params = KMeans::params_with(start.rows(), generator, Euclidean);
    let params = checked(params.init_method(KMeansInit::Precomputed(centres)))?;
    let mut model = None;
    let mut trend = Trend::default();
    for epoch in 0..EPOCHS_MAX {
        host.progress("moving centres", epoch as u64, EPOCHS_MAX as u64);
        let order = random.sample(rows, rows);
        for batch in order.chunks(BATCH_ROWS) {
            check(host)?;
            let values = vectors.select(batch).values().to_vec();
            let records = matrix(batch.len(), dimension, values)?;
            let (moved, ended) = match params.fit_with(model, &DatasetBase::from(records)) {
                Ok(moved) => (moved, true),
                Err(IncrKMeansError::NotConverged(moved)) => (moved, false),
                Err(error) => return Err(OperatorError::Bug(error.to_string())),
            };
            let share = batch.len() as f64 / rows as f64;
            let ended = trend.stalls(f64::from(moved.inertia()), share) || ended;
            if ended {
                return centres_of(&moved, dimension);
            }
            model = Some(moved);
        }
    }
    let none = || OperatorError::Bug("no batch was seen".into());
    centres_of(&model.ok_or_else(none)?, dimension)
}

fn checked<P: ParamGuard>(params: P) -> Result<P::Checked>
where
    P::Error: std::fmt::Display,
{
    params.check().map_err(|error| OperatorError::Bug(error.to_string()))
}

fn matrix(rows: usize, columns: usize, values: Vec<f32>) -> Result<Array2<f32>> {
    let bug = |error: ndarray::ShapeError| OperatorError::Bug(error.to_string());
    Array2::from_shape_vec((rows, columns), values).map_err(bug)
}

fn centres_of(model: &KMeans<f32, Euclidean>, dimension: usize) -> Result<UnitVectors> {
    UnitVectors::new(dimension, model.centroids().iter().copied().collect())
}
