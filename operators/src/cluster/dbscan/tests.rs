//! DBSCAN against its definition.

use super::super::tests::{banking77, canonical, random_rows};
use super::*;
use crate::host::Unbounded;

/// The definition: dense rows joined by flooding, border rows to the nearest dense one.
fn slow(vectors: &UnitVectors, eps: f64, min_size: usize) -> Vec<Option<usize>> {
    let rows = vectors.rows();
    let near = |a: usize, b: usize| vectors.cosine(a, vectors, b) >= (1.0 - eps) as f32;
    let neighbours = |row| (0..rows).filter(move |other| *other != row && near(row, *other));
    let dense: Vec<bool> = (0..rows).map(|row| neighbours(row).count() + 1 >= min_size).collect();
    let mut groups = vec![None; rows];
    for first in 0..rows {
        let mut flood = vec![first];
        while let Some(row) = flood.pop() {
            if dense[row] && groups[row].is_none() {
                groups[row] = Some(first);
                flood.extend(neighbours(row));
            }
        }
    }
    let joined = |row| {
        let beside = neighbours(row).filter(|other| dense[*other]);
        let score = |other: &usize| vectors.cosine(row, vectors, *other);
        // Of equal ones the last is taken, so they come backwards.
        let beside: Vec<usize> = beside.collect();
        beside.into_iter().rev().max_by(|a, b| score(a).total_cmp(&score(b)))
    };
    let group = |row: usize| if dense[row] { groups[row] } else { groups[joined(row)?] };
    canonical(&(0..rows).map(group).collect::<Vec<_>>())
}

fn directed_rows(rows: usize, dimension: usize, seed: u64) -> UnitVectors {
    let all = random_rows(rows, dimension, seed);
    let directed: Vec<u32> =
        (0..rows).filter(|row| all.has_direction(*row)).map(|row| row as u32).collect();
    all.select(&directed)
}

#[test]
fn groups_are_what_the_definition_gives() {
    for (rows, seed) in [(1, 1), (2, 2), (40, 3), (150, 4), (300, 5)] {
        let vectors = directed_rows(rows, 4, seed);
        for eps in [0.0, 0.02, 0.1, 0.4, 1.2, 2.0] {
            for min_size in [1, 2, 5, 20] {
                let found = dbscan(&vectors, eps, min_size, &Unbounded).expect("groups");
                assert_eq!(canonical(&found), slow(&vectors, eps, min_size), "{eps} {min_size}");
            }
        }
    }
}

#[test]
fn groups_of_real_texts_are_what_the_definition_gives() {
    let Some(vectors) = banking77(700) else { return };
    for (eps, min_size) in [(0.25, 5), (0.4, 10)] {
        let found = dbscan(&vectors, eps, min_size, &Unbounded).expect("groups");
        assert_eq!(canonical(&found), slow(&vectors, eps, min_size));
    }
}

#[test]
fn ranks_order_by_score_and_then_by_row() {
    let ascending =
        [(-1.0, 3), (-0.5, 0), (0.0, 9), (-0.0, 2), (0.3, 7), (0.3, 1), (1.0, u32::MAX / 2)];
    let ranks: Vec<u64> = ascending.iter().map(|(score, row)| rank(*score, *row)).collect();
    assert!(ranks.is_sorted() && ranks.iter().all(|rank| *rank > 0));
    assert!(ascending.iter().zip(&ranks).all(|((_, row), rank)| ranked(*rank) == *row));
}
