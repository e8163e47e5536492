//! Agglomerative clustering against scikit-learn's results, kodama's trees, and a plain way.

use kodama::Method;

use super::super::tests::{banking77, canonical, golden_json, grouped_rows, random_rows};
use super::*;
use crate::host::Unbounded;
use crate::host::tests::Limited;
use crate::similarity::tests::random_vector;

const LINKAGES: [Linkage; 4] =
    [Linkage::Average, Linkage::Complete, Linkage::Single, Linkage::Ward];

fn groups(vectors: &UnitVectors, linkage: Linkage, cut: Cut) -> Vec<Option<usize>> {
    let found = agglomerative(vectors, linkage, cut, 10_000, 0, &Unbounded).expect("groups");
    assert_eq!(found.micro_clusters, None);
    canonical(&found.groups)
}

#[test]
fn partitions_are_those_of_scikit_learn() {
    let (Some(vectors), Some(golden)) = (banking77(1000), golden_json("agglomerative.json.gz"))
    else {
        return;
    };
    for (name, linkage, threshold) in [
        ("average_cosine_0.4", Linkage::Average, 0.4),
        ("ward_1.5", Linkage::Ward, 1.5),
        ("complete_cosine_0.6", Linkage::Complete, 0.6),
    ] {
        let expected: Vec<Option<u64>> =
            golden[name].as_array().expect(name).iter().map(|label| label.as_u64()).collect();
        assert_eq!(expected.len(), 1000);
        let found = groups(&vectors, linkage, Cut::Threshold(threshold));
        assert_eq!(found, canonical(&expected), "{name}");
    }
}

#[test]
fn trees_are_those_of_kodama() {
    for (rows, seed) in [(2, 1), (3, 2), (10, 3), (60, 4), (200, 5)] {
        let vectors = UnitVectors::new(6, random_vector(rows * 6, seed)).expect("rows");
        for (linkage, method) in LINKAGES.into_iter().zip([
            Method::Average,
            Method::Complete,
            Method::Single,
            Method::Ward,
        ]) {
            let pairs = (0..rows).flat_map(|a| (a + 1..rows).map(move |b| (a, b)));
            let mut condensed: Vec<f64> = pairs
                .map(|(a, b)| {
                    let cosine = lanes::dot(vectors.row(a), vectors.row(b));
                    if linkage == Linkage::Ward {
                        (2.0 - 2.0 * cosine).sqrt()
                    } else {
                        1.0 - cosine
                    }
                })
                .collect();
            let tree = kodama::linkage(&mut condensed, rows, method);
            for k in [1, 2, 5, rows / 2, rows] {
                if k == 0 || k > rows {
                    continue;
                }
                let mut expected: Vec<Vec<usize>> = (0..rows).map(|row| vec![row]).collect();
                for step in &tree.steps()[..rows - k] {
                    let mut merged = std::mem::take(&mut expected[step.cluster1]);
                    merged.append(&mut expected[step.cluster2]);
                    expected.push(merged);
                }
                let mut labels = vec![None; rows];
                for (label, group) in expected.iter().enumerate() {
                    group.iter().for_each(|row| labels[*row] = Some(label));
                }
                let found = groups(&vectors, linkage, Cut::Count(k));
                assert_eq!(found, canonical(&labels), "{linkage:?}, {k} of {rows}");
            }
        }
    }
}

/// How far apart two groups of rows are, by the linkage's definition.
fn definition(vectors: &UnitVectors, linkage: Linkage, a: &[u32], b: &[u32]) -> f64 {
    if linkage == Linkage::Ward {
        let (m, n) = (a.len() as f64, b.len() as f64);
        let groups = [a.to_vec(), b.to_vec()];
        let means = means(vectors, &groups, &Unbounded).expect("means");
        let (a, b) = means.split_at(vectors.dimension());
        return (2.0 * m * n / (m + n) * lanes::squared_distance(a, b)).sqrt();
    }
    let distances: Vec<f64> = a
        .iter()
        .flat_map(|a| b.iter().map(|b| (*a as usize, *b as usize)))
        .map(|(a, b)| (1.0 - lanes::dot(vectors.row(a), vectors.row(b))).max(0.0))
        .collect();
    match linkage {
        Linkage::Single => distances.iter().copied().fold(f64::INFINITY, f64::min),
        Linkage::Complete => distances.iter().copied().fold(0.0, f64::max),
        _ => distances.iter().sum::<f64>() / distances.len() as f64,
    }
}

/// Merges the nearest two groups, by definition, while they are below the threshold.
fn slow(vectors: &UnitVectors, linkage: Linkage, threshold: f64) -> Vec<Option<usize>> {
    let mut groups: Vec<Vec<u32>> = (0..vectors.rows() as u32).map(|row| vec![row]).collect();
    loop {
        let pairs = (0..groups.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
        let nearest = pairs
            .map(|(a, b)| (definition(vectors, linkage, &groups[a], &groups[b]), a, b))
            .min_by(|x, y| x.0.total_cmp(&y.0));
        let Some((_, a, b)) = nearest.filter(|(distance, ..)| *distance < threshold) else { break };
        let mut merged = groups.swap_remove(b);
        groups[a].append(&mut merged);
    }
    let mut labels = vec![None; vectors.rows()];
    for (label, group) in groups.iter().enumerate() {
        group.iter().for_each(|row| labels[*row as usize] = Some(label));
    }
    canonical(&labels)
}

#[test]
fn groups_are_what_the_definitions_give() {
    for (rows, seed) in [(1, 1), (2, 2), (30, 3), (50, 4)] {
        let all = random_rows(rows, 5, seed);
        let directed: Vec<u32> =
            (0..rows).filter(|row| all.has_direction(*row)).map(|row| row as u32).collect();
        let vectors = all.select(&directed);
        for linkage in LINKAGES {
            for threshold in [0.0, 0.07, 0.31, 0.83, 1.99] {
                let found = groups(&vectors, linkage, Cut::Threshold(threshold));
                assert_eq!(found, slow(&vectors, linkage, threshold), "{linkage:?} {threshold}");
            }
        }
    }
}

#[test]
fn micro_clusters_stand_in_for_too_many_rows() {
    let vectors = grouped_rows(2000, 4, 0.3, 8);
    let expected: Vec<Option<usize>> = (0..2000).map(|row| Some(row % 4)).collect();
    // This host has not even half of what the distances between 2,000 rows take.
    let poor = Limited { limit: 3_900_000, ..Limited::default() };
    for linkage in [Linkage::Average, Linkage::Complete, Linkage::Ward] {
        let few = agglomerative(&vectors, linkage, Cut::Count(4), 100, 3, &Unbounded).expect("few");
        assert!(few.micro_clusters.is_some_and(|count| count <= 100 && count > 50));
        assert_eq!(canonical(&few.groups), expected, "{linkage:?}");
        let refused =
            agglomerative(&vectors, linkage, Cut::Count(4), 2000, 3, &poor).expect("fits");
        assert!(refused.micro_clusters.is_some_and(|count| count < 500));
        assert_eq!(canonical(&refused.groups), expected, "{linkage:?}");
    }
    let error = agglomerative(&vectors, Linkage::Ward, Cut::Count(101), 100, 3, &Unbounded);
    assert!(error.err().is_some_and(|error| error.to_string().contains("raise rows_max")));
}

#[test]
fn weights_count_as_so_many_rows() {
    // Micro-clusters of equal rows are exact: the same tree as that of the rows.
    let corners = UnitVectors::new(5, random_vector(60, 21)).expect("12 rows");
    let copies: Vec<u32> = (0..12).flat_map(|row| vec![row; 1 + (row as usize * 5) % 7]).collect();
    let vectors = corners.select(&copies);
    for linkage in [Linkage::Average, Linkage::Ward] {
        let weights: Vec<f32> =
            (0..12).map(|row| copies.iter().filter(|copy| **copy == row).count() as f32).collect();
        let points = Points { values: corners.values(), dimension: 5, weights };
        let light = cut_tree(points, linkage, Cut::Count(4), &Unbounded).expect("groups");
        let light: Vec<_> = copies.iter().map(|row| light[*row as usize]).collect();
        assert_eq!(canonical(&light), groups(&vectors, linkage, Cut::Count(4)), "{linkage:?}");
    }
}
