//! Silhouettes against their definition, from all pairs of rows.

use super::super::tests::random_rows;
use super::*;
use crate::host::Unbounded;

/// The definition, without means.
fn slow(vectors: &UnitVectors, cluster_of: &[Option<u32>]) -> Vec<Option<f32>> {
    let rows: Vec<usize> = (0..vectors.rows())
        .filter(|row| cluster_of[*row].is_some() && vectors.has_direction(*row))
        .collect();
    let mut clusters: Vec<Option<u32>> = rows.iter().map(|row| cluster_of[*row]).collect();
    clusters.sort();
    clusters.dedup();
    let mean = |row: usize, cluster: Option<u32>| {
        let others = rows.iter().filter(|other| **other != row && cluster_of[**other] == cluster);
        let distances: Vec<f64> =
            others.map(|other| 1.0 - f64::from(vectors.cosine(row, vectors, *other))).collect();
        (!distances.is_empty()).then(|| distances.iter().sum::<f64>() / distances.len() as f64)
    };
    let silhouette = |row: usize| {
        if clusters.len() < 2 || !rows.contains(&row) {
            return None;
        }
        let Some(within) = mean(row, cluster_of[row]) else { return Some(0.0) };
        let others = clusters.iter().filter(|cluster| **cluster != cluster_of[row]);
        let beside = others.filter_map(|cluster| mean(row, *cluster)).fold(f64::INFINITY, f64::min);
        let larger = within.max(beside);
        Some(if larger > 0.0 { ((beside - within) / larger) as f32 } else { 0.0 })
    };
    (0..vectors.rows()).map(silhouette).collect()
}

#[test]
fn silhouettes_are_what_the_definition_gives() {
    for (rows, clusters) in [(1, 1), (2, 2), (30, 3), (120, 7), (120, 1)] {
        let vectors = random_rows(rows, 6, rows as u64);
        let cluster_of: Vec<Option<u32>> = (0..rows as u32)
            .map(|row| (row % 9 != 8).then_some(1000 + row * row % clusters))
            .collect();
        let fast = silhouettes(&vectors, &cluster_of, &Unbounded).expect("silhouettes");
        let slow = slow(&vectors, &cluster_of);
        for (fast, slow) in fast.iter().zip(&slow) {
            match (fast, slow) {
                (Some(fast), Some(slow)) => assert!((fast - slow).abs() < 1e-5, "{fast} {slow}"),
                _ => assert_eq!(fast, slow),
            }
        }
        let counted: Vec<f64> = slow.iter().flatten().map(|one| f64::from(*one)).collect();
        match silhouette(&vectors, &cluster_of, &Unbounded).expect("a mean") {
            Some(mean) => {
                let slow = counted.iter().sum::<f64>() / counted.len() as f64;
                assert!((mean - slow).abs() < 1e-5);
            }
            None => assert!(counted.is_empty()),
        }
    }
}

#[test]
fn opposite_clusters_have_the_best_silhouette() {
    let vectors = UnitVectors::new(1, vec![1.0, 1.0, -1.0, -2.0]).expect("rows");
    let cluster_of = [Some(4), Some(4), Some(2), Some(2)];
    assert_eq!(silhouettes(&vectors, &cluster_of, &Unbounded), Ok(vec![Some(1.0); 4]));
    let error = silhouettes(&vectors, &cluster_of[..3], &Unbounded).expect_err("one is missing");
    assert_eq!(error.to_string(), "4 rows can't have 3 clusters; one is needed for each row");
}

#[test]
fn equal_rows_are_at_no_distance() {
    let rows = 50;
    let row = [0.3, -0.2, 0.9, 0.1, 0.7];
    let vectors = UnitVectors::new(row.len(), row.repeat(rows)).expect("rows");
    let cluster_of: Vec<Option<u32>> = (0..rows as u32).map(|row| Some(row % 2)).collect();
    let found = silhouettes(&vectors, &cluster_of, &Unbounded);
    assert_eq!(found, Ok(vec![Some(0.0); rows]));
}
