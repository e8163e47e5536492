//! The fast way against the plain one.

use std::sync::Mutex;

use super::*;
use crate::error::OperatorError;
use crate::host::Unbounded;
use crate::host::tests::Limited;
use crate::similarity::tests::random_vector;

/// Vectors in a few clusters, with duplicates (exact ties) and rows without a direction.
fn vectors(rows: usize, dimension: usize, seed: u64) -> UnitVectors {
    let noise = random_vector(rows * dimension, seed);
    let centres = random_vector(5 * dimension, seed + 1);
    let mut values = Vec::with_capacity(rows * dimension);
    for row in 0..rows {
        for component in 0..dimension {
            let centre = centres[(row % 5) * dimension + component];
            values.push(centre + 0.5 * noise[row * dimension + component]);
        }
    }
    for row in (3..rows).step_by(11) {
        let (before, now) = values.split_at_mut(row * dimension);
        now[..dimension].copy_from_slice(&before[(row - 3) * dimension..][..dimension]);
    }
    for row in (5..rows).step_by(37) {
        values[row * dimension..][..dimension].fill(0.0);
    }
    UnitVectors::new(dimension, values).expect("rows")
}

/// Vectors that all point nearly the same way, where 8 bits can't tell them apart.
fn bundle(rows: usize, dimension: usize, seed: u64) -> UnitVectors {
    let noise = random_vector(rows * dimension, seed);
    let value = |(i, x): (usize, &f32)| 1.0 + (i % dimension) as f32 / 50.0 + 0.01 * x;
    UnitVectors::new(dimension, noise.iter().enumerate().map(value).collect()).expect("rows")
}

#[test]
fn the_best_within_are_those_of_the_plain_way() {
    for (rows, dimension) in [(0, 8), (1, 8), (2, 5), (33, 7), (129, 384), (700, 32), (2100, 20)] {
        for vectors in [vectors(rows, dimension, 1), bundle(rows, dimension, 2)] {
            for (k, min_score) in [(0, -1.0), (1, -1.0), (10, -1.0), (10, 0.7), (90, -1.0)] {
                let slow = slow::top_k(&vectors, &vectors, k, min_score, true, &Unbounded);
                for machine in Machine::available() {
                    let fast = best_within(&vectors, k, min_score, machine, &Unbounded);
                    assert!(fast == slow, "{machine:?}: {rows} x {dimension}, {k}, {min_score}");
                }
            }
        }
    }
}

#[test]
fn the_best_between_are_those_of_the_plain_way() {
    for (left, right, dimension) in
        [(0, 5, 8), (5, 0, 8), (1, 9000, 12), (7, 70, 33), (130, 2100, 24), (900, 40, 384)]
    {
        let (queries, corpus) = (vectors(left, dimension, 3), vectors(right, dimension, 4));
        for (k, min_score) in [(1, -1.0), (10, 0.2), (5000, -1.0)] {
            let slow = slow::top_k(&queries, &corpus, k, min_score, false, &Unbounded);
            for machine in Machine::available() {
                let fast = best_of(&queries, &corpus, k, min_score, machine, &Unbounded);
                assert!(fast == slow, "{machine:?}: {left}, {right} x {dimension}, {k}");
            }
        }
    }
}

/// Collects the pairs that a search gives away, in order.
fn collected(search: impl FnOnce(&PairSink<'_>) -> Result<()>) -> Vec<Pair> {
    let pairs = Mutex::new(Vec::new());
    search(&|found| {
        pairs.lock().expect("no panic").extend_from_slice(found);
        Ok(())
    })
    .expect("found");
    let mut pairs = pairs.into_inner().expect("no panic");
    pairs.sort_by(Pair::best_first);
    pairs
}

#[test]
fn pairs_from_a_threshold_on_are_those_of_the_plain_way() {
    for (rows, dimension) in [(0, 8), (1, 8), (40, 9), (300, 384), (1500, 16)] {
        for a in [vectors(rows, dimension, 5), bundle(rows, dimension, 6)] {
            let b = vectors(rows / 2 + 1, dimension, 7);
            for threshold in [0.3, 0.8, 0.9999] {
                let slow = collected(|sink| slow::pairs(&a, &a, threshold, true, &Unbounded, sink));
                for machine in Machine::available() {
                    let sweep = Sweep::new(&a, None, machine, &Unbounded).expect("prepared");
                    let fast = collected(|sink| {
                        let collect = GiveAway { left: &a, right: &a, threshold, sink };
                        sweep.run(Pairs::Within, None, &collect)
                    });
                    assert!(fast == slow, "{machine:?}: {rows} x {dimension}, {threshold}");
                }
                let slow =
                    collected(|sink| slow::pairs(&a, &b, threshold, false, &Unbounded, sink));
                let fast = collected(|sink| pairs_between(&a, &b, threshold, &Unbounded, sink));
                assert!(fast == slow, "between: {rows} x {dimension}, {threshold}");
            }
        }
    }
}

#[test]
fn a_threshold_that_is_a_score_includes_it() {
    let vectors = vectors(400, 48, 8);
    let score = vectors.cosine(0, &vectors, 7);
    let pairs = collected(|sink| pairs_within(&vectors, score, &Unbounded, sink));
    assert!(pairs.contains(&Pair { a: 0, b: 7, score }));
    let above = f32::from_bits(score.to_bits() + 1);
    let pairs = collected(|sink| pairs_within(&vectors, above, &Unbounded, sink));
    assert!(!pairs.iter().any(|pair| (pair.a, pair.b) == (0, 7)));
}

#[test]
fn the_number_of_threads_does_not_show() {
    let vectors = vectors(3000, 40, 9);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let five = rayon::ThreadPoolBuilder::new().num_threads(5).build().expect("a pool");
    let run = || top_k_within(&vectors, 7, -1.0, &Unbounded).expect("found");
    assert!(one.install(run) == five.install(run));
}

#[test]
fn the_search_ends_when_host_or_sink_say_so() {
    let vectors = vectors(2000, 16, 10);
    let stopped = Limited { limit: usize::MAX, cancelled: true, ..Limited::default() };
    assert_eq!(top_k_within(&vectors, 3, -1.0, &stopped), Err(OperatorError::Cancelled));
    let poor = Limited { limit: 10_000, ..Limited::default() };
    assert!(matches!(top_k_within(&vectors, 3, -1.0, &poor), Err(OperatorError::Memory(_))));
    let full = |_: &[Pair]| Err(OperatorError::Caller("full".into()));
    let failed = pairs_within(&vectors, 0.0, &Unbounded, &full);
    assert_eq!(failed, Err(OperatorError::Caller("full".into())));
}

#[test]
fn other_dimensions_are_refused() {
    let (a, b) = (vectors(20, 16, 11), vectors(20, 17, 12));
    assert!(matches!(top_k(&a, &b, 1, 0.0, &Unbounded), Err(OperatorError::Dimension(_))));
}
