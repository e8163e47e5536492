//! What all algorithms promise alike, and what their tests share.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::*;
use crate::evaluate::Contingency;
use crate::host::Unbounded;
use crate::host::tests::Limited;
use crate::similarity::tests::random_vector;

/// Random vectors, some of which are equal and some of which have no direction.
pub(super) fn random_rows(rows: usize, dimension: usize, seed: u64) -> UnitVectors {
    let mut values = random_vector(rows * dimension, seed);
    for row in (4..rows).step_by(7) {
        values.copy_within((row - 3) * dimension..(row - 2) * dimension, row * dimension);
    }
    for row in (5..rows).step_by(11) {
        values[row * dimension..(row + 1) * dimension].fill(0.0);
    }
    UnitVectors::new(dimension, values).expect("rows")
}

/// Random vectors around `groups` far corners, row by row in turn.
pub(super) fn grouped_rows(rows: usize, groups: usize, spread: f32, seed: u64) -> UnitVectors {
    let dimension = groups + 4;
    let mut values = random_vector(rows * dimension, seed);
    values.iter_mut().for_each(|x| *x *= spread);
    for row in 0..rows {
        values[row * dimension + row % groups] += 1.0;
    }
    UnitVectors::new(dimension, values).expect("rows")
}

/// Clusters numbered in the order of their first rows, so that equal partitions are equal.
pub(super) fn canonical<T: Copy + Eq + std::hash::Hash>(
    clusters: &[Option<T>],
) -> Vec<Option<usize>> {
    let mut numbers = HashMap::new();
    let number = |cluster: &Option<T>| {
        let next = numbers.len();
        cluster.map(|cluster| *numbers.entry(cluster).or_insert(next))
    };
    clusters.iter().map(number).collect()
}

/// A file of results of other libraries, which lie outside the project.
pub(super) fn golden(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/goldens").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// The first rows of banking77's test set, embedded by all-MiniLM-L6-v2.
pub(super) fn banking77(rows: usize) -> Option<UnitVectors> {
    let bytes = std::fs::read(golden("banking77_test.f32")?).expect("readable");
    let values = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Some(UnitVectors::new(384, values.take(rows * 384).collect()).expect("rows"))
}

/// The JSON in a golden file.
pub(super) fn golden_json(name: &str) -> Option<serde_json::Value> {
    let file = std::fs::File::open(golden(name)?).expect("readable");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    Some(serde_json::from_str(&text).expect("json"))
}

fn algorithms() -> Vec<Algorithm> {
    let agglomerative =
        |linkage, cut| Algorithm::Agglomerative { linkage, cut, rows_max: 1000, seed: 1 };
    vec![
        Algorithm::KMeans { k: 3, runs: 2, seed: 1 },
        Algorithm::MiniBatch { k: 3, seed: 1 },
        agglomerative(Linkage::Average, Cut::Count(3)),
        agglomerative(Linkage::Complete, Cut::Threshold(0.5)),
        agglomerative(Linkage::Single, Cut::Threshold(0.2)),
        agglomerative(Linkage::Ward, Cut::Count(3)),
        Algorithm::Dbscan { eps: 0.3, min_size: 3 },
        Algorithm::Hdbscan { min_size: 5, min_samples: 5 },
    ]
}

#[test]
fn far_groups_are_found_by_all() {
    let vectors = grouped_rows(91, 3, 0.3, 5);
    let expected: Vec<Option<usize>> = (0..91).map(|row| Some(row % 3)).collect();
    for algorithm in algorithms() {
        let found = cluster(&vectors, &algorithm, &Unbounded).expect("clusters");
        assert_eq!(canonical(&found.cluster_of), expected, "{algorithm:?}");
        assert_eq!(found.sizes, [31, 30, 30], "{algorithm:?}");
        assert_eq!(found.cluster_of[0], Some(0), "the largest is first");
        assert_eq!(found.members()[1], (0..30).map(|i| i * 3 + 1).collect::<Vec<u32>>());
        assert_eq!(found.micro_clusters, None);
        let scores = found.scores(&vectors);
        assert!(scores.iter().all(|score| score.is_some_and(|score| score > 0.7)));
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let vectors = random_rows(400, 16, 3);
    let on = |threads, algorithm: &Algorithm| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| cluster(&vectors, algorithm, &Unbounded)).expect("clusters")
    };
    for algorithm in algorithms() {
        assert_eq!(on(1, &algorithm), on(7, &algorithm), "{algorithm:?}");
    }
}

#[test]
fn rows_without_a_direction_belong_to_nothing_and_change_nothing() {
    let vectors = random_rows(200, 8, 9);
    let directed: Vec<u32> = (0..200).filter(|row| vectors.has_direction(*row as usize)).collect();
    assert!(directed.len() < 200);
    for algorithm in algorithms() {
        let all = cluster(&vectors, &algorithm, &Unbounded).expect("clusters");
        let some = cluster(&vectors.select(&directed), &algorithm, &Unbounded).expect("clusters");
        let picked: Vec<_> = directed.iter().map(|row| all.cluster_of[*row as usize]).collect();
        assert_eq!(picked, some.cluster_of, "{algorithm:?}");
        assert_eq!(all.centroids, some.centroids);
        let lost = (0..200).filter(|row| !vectors.has_direction(*row));
        assert!(lost.into_iter().all(|row| all.cluster_of[row].is_none()));
    }
}

#[test]
fn few_rows_are_clustered_or_refused() {
    let none = UnitVectors::new(4, vec![]).expect("no rows");
    let zeros = UnitVectors::new(4, vec![0.0; 8]).expect("two rows");
    let one = UnitVectors::new(4, vec![1.0, 0.0, 0.0, 0.0]).expect("one row");
    for algorithm in algorithms() {
        let found = cluster(&none, &algorithm, &Unbounded).expect("no clusters");
        assert_eq!((found.clusters(), found.cluster_of.len()), (0, 0));
        let found = cluster(&zeros, &algorithm, &Unbounded).expect("no clusters");
        assert_eq!(found.cluster_of, [None, None]);
        match cluster(&one, &algorithm, &Unbounded) {
            Ok(found) => assert_eq!(found.cluster_of.len(), 1),
            Err(error) => assert_eq!(
                error.to_string(),
                "k is 3, but only 1 row has a vector to cluster; lower k"
            ),
        }
    }
}

#[test]
fn equal_rows_are_one_cluster() {
    let vectors = UnitVectors::new(2, [3.0, 4.0].repeat(60)).expect("rows");
    for algorithm in algorithms() {
        let found = cluster(&vectors, &algorithm, &Unbounded).expect("clusters");
        let by_count = matches!(algorithm, Algorithm::Agglomerative { cut: Cut::Count(_), .. });
        let hdbscan = matches!(algorithm, Algorithm::Hdbscan { .. });
        if !by_count && !hdbscan {
            assert_eq!(found.sizes, [60], "{algorithm:?}");
        }
    }
}

#[test]
fn hosts_stop_the_work_and_bound_its_memory() {
    let vectors = random_rows(300, 8, 2);
    let stopped = Limited { limit: usize::MAX, cancelled: true, ..Limited::default() };
    let poor = Limited { limit: 1000, ..Limited::default() };
    for algorithm in algorithms() {
        assert_eq!(cluster(&vectors, &algorithm, &stopped), Err(OperatorError::Cancelled));
        let refused = cluster(&vectors, &algorithm, &poor);
        assert!(matches!(refused, Err(OperatorError::Memory(_))), "{algorithm:?}");
        assert_eq!(poor.lent.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}

/// The intents of banking77's test set as numbers, and all its vectors.
fn banking77_labelled() -> Option<(UnitVectors, Vec<u64>)> {
    let path = golden("../data/banking77/test.csv")?;
    let text = std::fs::read_to_string(path).expect("readable");
    // The last field of a record is the intent, which has neither commas nor quotes.
    let mut numbers = HashMap::new();
    let records = text.lines().skip(1).filter_map(|line| line.rsplit_once(','));
    let intents = records.map(|(_, intent)| intent);
    let is_name = |intent: &&str| {
        !intent.is_empty() && intent.chars().all(|c| c.is_ascii_alphanumeric() || "_?".contains(c))
    };
    let labels: Vec<u64> = intents
        .filter(is_name)
        .map(|intent| {
            let next = numbers.len() as u64;
            *numbers.entry(intent).or_insert(next)
        })
        .collect();
    assert_eq!((labels.len(), numbers.len()), (3080, 77));
    Some((banking77(3080)?, labels))
}

#[test]
fn intents_of_bank_customers_are_found_as_well_as_by_scikit_learn() {
    let Some((vectors, labels)) = banking77_labelled() else { return };
    let agglomerative = |linkage| Algorithm::Agglomerative {
        linkage,
        cut: Cut::Count(77),
        rows_max: 20_000,
        seed: 0,
    };
    // scikit-learn's adjusted Rand index on these vectors, and how far below it we may be: where
    // chance starts it, the range of its own seeds.
    for (algorithm, figure, slack) in [
        (Algorithm::KMeans { k: 77, runs: 1, seed: 0 }, 0.4939, 0.03),
        (Algorithm::MiniBatch { k: 77, seed: 0 }, 0.4878, 0.04),
        (agglomerative(Linkage::Average), 0.2542, 0.001),
        (agglomerative(Linkage::Complete), 0.3305, 0.001),
        (agglomerative(Linkage::Ward), 0.5059, 0.001),
        (Algorithm::Dbscan { eps: 0.25, min_size: 5 }, 0.0123, 0.001),
        (Algorithm::Hdbscan { min_size: 5, min_samples: 5 }, 0.0264, 0.002),
    ] {
        let found = cluster(&vectors, &algorithm, &Unbounded).expect("clusters");
        let mut table = Contingency::default();
        for (label, cluster) in labels.iter().zip(&found.cluster_of) {
            table.add(*label, cluster.map_or(u64::MAX, u64::from));
        }
        let index = table.adjusted_rand_index().expect("rows");
        let shared = table.normalized_mutual_information().expect("rows");
        eprintln!("{algorithm:?}: ARI {index:.4} NMI {shared:.4} clusters {}", found.clusters());
        assert!(index > figure - slack, "{algorithm:?}: {index}");
    }
}
