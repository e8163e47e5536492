//! t-SNE on the exact nearest neighbours, from a given start.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bhtsne::{Neighbor, tSNE};

use super::{MapOptions, rounded};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours;
use crate::unit::UnitVectors;

/// How much Barnes–Hut may approximate.
const THETA: f32 = 0.5;

/// The spread of the start along its first axis: small, so that neighbourhoods can still sort
/// themselves (Kobak and Berens 2019).
const START_SPREAD: f64 = 1e-4;

/// Fewer rows than this have no neighbourhoods to show; they stay where they start, as do rows that
/// are all equal.
const ROWS_MIN: usize = 5;

/// What unwinds out of the fit when the host stops it.
struct Stopped;

/// The places of rows that all have a direction.
pub(super) fn fit(
    vectors: &UnitVectors,
    start: &[[f64; 2]],
    options: &MapOptions,
    host: &dyn Host,
) -> Result<Vec<[f32; 2]>> {
    let rows = vectors.rows();
    if rows < ROWS_MIN || start.iter().all(|place| *place == start[0]) {
        return Ok(rounded(start));
    }
    let perplexity = options.perplexity.min((rows - 1) as f32 / 3.0);
    let count = (3.0 * perplexity) as usize;
    let bytes = rows * count * 4 * size_of::<Neighbor<f32>>();
    let _loan = Loan::new(host, bytes)?;
    let neighbours = neighbours(vectors, count, host)?;
    let start = scaled(start);
    let data = vec![(); rows];
    let places = on_one_thread(|| {
        let mut tsne: tSNE<'_, f32, ()> = tSNE::new(&data);
        tsne.perplexity(perplexity).epochs(options.epochs).initial_embedding(start);
        let early = (options.epochs / 3).min(250);
        tsne.stop_lying_epoch(early).momentum_switch_epoch(early);
        tsne.epoch_callback(|epoch, _| {
            host.progress("drawing the map", epoch as u64 + 1, options.epochs as u64);
            if check(host).is_err() {
                // The library has no other way to end a fit early.
                resume_unwind(Box::new(Stopped));
            }
        });
        tsne.barnes_hut_with_neighbors(THETA, &neighbours);
        tsne.embedding()
    })?;
    Ok(places.as_chunks::<2>().0.to_vec())
}

/// Runs a fit on one thread of its own, where the library's sums have one order.
fn on_one_thread<T: Send>(fit: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|error| OperatorError::Bug(format!("t-SNE's thread: {error}")))?;
    catch_unwind(AssertUnwindSafe(|| pool.install(fit))).map_err(|payload| {
        if payload.is::<Stopped>() {
            OperatorError::Cancelled
        } else {
            OperatorError::Bug("t-SNE panicked".to_string())
        }
    })
}

/// The nearest rows of each row with their distances; as many for each.
fn neighbours(
    vectors: &UnitVectors,
    count: usize,
    host: &dyn Host,
) -> Result<Vec<Vec<Neighbor<f32>>>> {
    let found = neighbours::top_k_within(vectors, count, -1.0, host)?;
    let distance = |cosine: f32| (2.0 - 2.0 * cosine).max(0.0).sqrt();
    let rows = (0..vectors.rows()).map(|row| {
        let row = found.of(row).iter();
        row.map(|n| Neighbor { index: n.row as usize, distance: distance(n.score) }).collect()
    });
    Ok(rows.collect())
}

/// The start, scaled to its spread and row after row.
fn scaled(start: &[[f64; 2]]) -> Vec<f32> {
    let square: f64 = start.iter().map(|place| place[0] * place[0]).sum();
    let deviation = (square / start.len() as f64).sqrt();
    let scale = if deviation > 0.0 { START_SPREAD / deviation } else { 0.0 };
    start.iter().flatten().map(|x| (x * scale) as f32).collect()
}
