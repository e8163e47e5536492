//! Measures of partitions against scikit-learn's figures, and against plain definitions on random
//! partitions.

use super::*;
use crate::similarity::tests::random_vector;

fn table(labels: &[u64], clusters: &[u64]) -> Contingency {
    let mut table = Contingency::default();
    labels.iter().zip(clusters).for_each(|(label, cluster)| table.add(*label, *cluster));
    table
}

/// ARI, NMI, AMI, homogeneity, completeness, V-measure.
fn figures(table: &Contingency) -> [f64; 6] {
    [
        table.adjusted_rand_index(),
        table.normalized_mutual_information(),
        table.adjusted_mutual_information(),
        table.homogeneity(),
        table.completeness(),
        table.v_measure(),
    ]
    .map(|figure| figure.expect("rows"))
}

fn near(got: &[f64], want: &[f64]) {
    let close = got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-10);
    assert!(close && got.len() == want.len(), "{got:?} and {want:?}");
}

#[test]
fn figures_are_those_of_scikit_learn() {
    let squares: Vec<u64> = (0..60).map(|i| i * i % 7).collect();
    let cubes: Vec<u64> = (0..60).map(|i| (i * i * i + i) % 5).collect();
    let cases: [(&[u64], &[u64], [f64; 6]); 9] = [
        (
            &[0, 0, 1, 1, 2, 2, 2, 3],
            &[0, 0, 1, 2, 2, 2, 1, 3],
            [
                0.26956521739130435,
                0.6881041381073281,
                0.3198955157736437,
                0.6881041381073281,
                0.6881041381073281,
                0.6881041381073281,
            ],
        ),
        (
            &[0, 0, 0, 1, 1, 1],
            &[0, 0, 1, 1, 2, 2],
            [
                0.24242424242424243,
                0.5158037429793889,
                0.2987924581708901,
                0.6666666666666669,
                0.420619835714305,
                0.5158037429793889,
            ],
        ),
        (&[0, 1, 2, 3], &[0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        (&[0, 0, 0, 0], &[0, 1, 2, 3], [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        (&[0, 0, 1, 1], &[0, 1, 0, 1], [-0.5, 0.0, -0.5, 0.0, 0.0, 0.0]),
        (&[0, 0], &[5, 5], [1.0; 6]),
        (&[0, 1, 2], &[2, 1, 0], [1.0; 6]),
        (&[0], &[0], [1.0; 6]),
        (
            &squares,
            &cubes,
            [
                -0.022206309620813682,
                0.008802369279535338,
                -0.041712566703012544,
                0.007484284563962943,
                0.010683960647549118,
                0.008802369279535338,
            ],
        ),
    ];
    for (labels, clusters, want) in cases {
        near(&figures(&table(labels, clusters)), &want);
    }
}

fn random_partition(rows: usize, parts: u64, seed: u64) -> Vec<u64> {
    let part = |x: &f32| ((f64::from(*x) + 1.0) / 2.0 * parts as f64) as u64;
    random_vector(rows, seed).iter().map(part).collect()
}

/// The Rand index, adjusted, from each pair of rows.
fn rand_index_by_pairs(labels: &[u64], clusters: &[u64]) -> f64 {
    let (mut both, mut label, mut cluster, mut pairs) = (0.0, 0.0, 0.0, 0.0);
    for i in 0..labels.len() {
        for j in 0..i {
            let (same_label, same_cluster) = (labels[i] == labels[j], clusters[i] == clusters[j]);
            both += f64::from(u8::from(same_label && same_cluster));
            label += f64::from(u8::from(same_label));
            cluster += f64::from(u8::from(same_cluster));
            pairs += 1.0;
        }
    }
    let expected = label * cluster / pairs;
    (both - expected) / ((label + cluster) / 2.0 - expected)
}

#[test]
fn the_rand_index_is_what_counting_pairs_gives() {
    for (rows, parts) in [(10, 3), (50, 2), (80, 9), (200, 40)] {
        let labels = random_partition(rows, parts, 11);
        let clusters = random_partition(rows, parts + 1, 12);
        let fast = table(&labels, &clusters).adjusted_rand_index().expect("rows");
        near(&[fast], &[rand_index_by_pairs(&labels, &clusters)]);
    }
}

/// The mean mutual information over all orders of the clusters.
fn mean_over_permutations(labels: &[u64], clusters: &mut Vec<u64>, from: usize) -> (f64, u64) {
    if from == clusters.len() {
        let contingency = table(labels, clusters);
        return (Table::of(&contingency).expect("rows").mutual_information(), 1);
    }
    let (mut sum, mut count) = (0.0, 0);
    for other in from..clusters.len() {
        clusters.swap(from, other);
        let (part, permutations) = mean_over_permutations(labels, clusters, from + 1);
        sum += part;
        count += permutations;
        clusters.swap(from, other);
    }
    (sum, count)
}

#[test]
fn expected_information_is_the_mean_over_all_permutations() {
    for (labels, clusters) in [
        (vec![0, 0, 1, 1, 2, 2, 2], vec![0, 1, 1, 1, 2, 2, 2]),
        (vec![0, 0, 0, 1], vec![0, 1, 1, 1]),
    ] {
        let (sum, count) = mean_over_permutations(&labels, &mut clusters.clone(), 0);
        let contingency = table(&labels, &clusters);
        let expected = Table::of(&contingency).expect("rows").expected_mutual_information();
        near(&[expected], &[sum / count as f64]);
    }
}

#[test]
fn factorials_agree_where_the_two_ways_meet() {
    let slow = |n: u64| (1..=n).map(|k| (k as f64).ln()).sum::<f64>();
    for n in (0..80).chain([1000, 100_000]) {
        assert!((ln_factorial(n) - slow(n)).abs() <= 1e-12 * slow(n).max(1.0), "{n}");
    }
}

#[test]
fn tables_merge_and_names_do_not_matter() {
    let labels = random_partition(90, 6, 1);
    let clusters = random_partition(90, 5, 2);
    let whole = table(&labels, &clusters);
    let mut merged = table(&labels[..40], &clusters[..40]);
    merged.merge(&table(&labels[40..], &clusters[40..]));
    assert_eq!(merged, whole);
    assert_eq!(figures(&merged).map(f64::to_bits), figures(&whole).map(f64::to_bits));
    let renamed: Vec<u64> = clusters.iter().map(|cluster| u64::MAX - cluster * 1000).collect();
    near(&figures(&table(&labels, &renamed)), &figures(&whole));
}

#[test]
fn purity_counts_the_most_frequent_labels() {
    let purity = table(&[0, 0, 1, 1, 1, 2], &[0, 0, 0, 1, 1, 1]).purity();
    near(&[purity.expect("rows")], &[4.0 / 6.0]);
}

#[test]
fn without_rows_nothing_is_measured() {
    let mut empty = Contingency::default();
    empty.add_count(1, 2, 0);
    assert_eq!(empty.adjusted_rand_index(), None);
    assert_eq!(empty.normalized_mutual_information(), None);
    assert_eq!(empty.adjusted_mutual_information(), None);
    assert_eq!(empty.v_measure(), None);
    assert_eq!(empty.purity(), None);
}
