//! HDBSCAN against the `hdbscan` crate, and its parts against plain ways.

use ::hdbscan::{Hdbscan, HdbscanHyperParams, NnAlgorithm};

use super::super::tests::{banking77, canonical, grouped_rows};
use super::*;
use crate::host::Unbounded;
use crate::similarity::tests::random_vector;

/// What the crate finds, by comparing all with all.
fn crate_clusters(vectors: &UnitVectors, min_size: usize, min_samples: usize) -> Vec<Option<i32>> {
    let rows: Vec<Vec<f32>> = (0..vectors.rows()).map(|row| vectors.row(row).to_vec()).collect();
    let params = HdbscanHyperParams::builder()
        .min_cluster_size(min_size)
        .min_samples(min_samples)
        .nn_algorithm(NnAlgorithm::BruteForce)
        .build();
    let labels = Hdbscan::new(&rows, params).cluster().expect("clusters");
    labels.into_iter().map(|label| (label >= 0).then_some(label)).collect()
}

#[test]
fn clusters_are_those_of_the_crate() {
    for seed in 0..12 {
        let spread = 0.3 + 0.04 * seed as f32;
        let vectors = grouped_rows(150, 4, spread, seed);
        let (min_size, min_samples) = (5 + seed as usize % 4, 3 + seed as usize % 5);
        let found = hdbscan(&vectors, min_size, min_samples, &Unbounded).expect("clusters");
        let expected = crate_clusters(&vectors, min_size, min_samples);
        assert_eq!(canonical(&found), canonical(&expected), "{seed}");
    }
}

#[test]
fn clusters_of_real_texts_are_those_of_the_crate() {
    let Some(vectors) = banking77(500) else { return };
    let found = canonical(&hdbscan(&vectors, 5, 5, &Unbounded).expect("clusters"));
    assert_eq!(found, canonical(&crate_clusters(&vectors, 5, 5)));
}

#[test]
fn the_spanning_tree_is_as_short_as_kruskals() {
    for (rows, seed) in [(1, 1), (2, 2), (30, 3), (90, 4)] {
        let vectors = UnitVectors::new(5, random_vector(rows * 5, seed)).expect("rows");
        let core = core_distances(&vectors, 4, &Unbounded).expect("distances");
        let found = spanning_tree::spanning_tree(&vectors, &core, &Unbounded).expect("edges");
        assert_eq!(found.len(), rows - 1);
        let apart = |a, b| spanning_tree::distance(&vectors, a, b).max(core[a]).max(core[b]);
        let mut all: Vec<(f32, usize, usize)> = (0..rows)
            .flat_map(|b| (0..b).map(move |a| (a, b)))
            .map(|(a, b)| (apart(a, b), a, b))
            .collect();
        all.sort_by(|x, y| x.0.total_cmp(&y.0));
        let mut group: Vec<usize> = (0..rows).collect();
        let mut lengths = Vec::new();
        for (length, a, b) in all {
            let (from, to) = (group[a], group[b]);
            if from != to {
                group.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
                lengths.push(length);
            }
        }
        assert_eq!(found.iter().map(|edge| edge.distance).collect::<Vec<_>>(), lengths);
    }
}

#[test]
fn core_distances_count_the_row_itself() {
    let vectors = UnitVectors::new(5, random_vector(200, 6)).expect("40 rows");
    for min_samples in [1, 2, 5, 40, 99] {
        let core = core_distances(&vectors, min_samples, &Unbounded).expect("distances");
        for (row, core) in core.iter().enumerate() {
            let mut all: Vec<f32> =
                (0..40).map(|other| spanning_tree::distance(&vectors, row, other)).collect();
            all.sort_by(f32::total_cmp);
            let slow = all[min_samples.min(40) - 1];
            assert!((core - slow).abs() < 1e-5, "{min_samples}: {core} and {slow}");
        }
    }
}

#[test]
fn few_or_equal_rows_are_noise() {
    for rows in [1, 4, 9] {
        let vectors = UnitVectors::new(3, random_vector(rows * 3, 1)).expect("rows");
        assert_eq!(hdbscan(&vectors, 10, 5, &Unbounded), Ok(vec![None; rows]));
    }
    let vectors = UnitVectors::new(2, [1.0, 1.0].repeat(30)).expect("rows");
    let found = hdbscan(&vectors, 20, 5, &Unbounded).expect("clusters");
    assert_eq!(found, vec![None; 30]);
}
