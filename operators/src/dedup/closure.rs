//! Closures: rows that similar rows connect, directly or through others.
//!
//! Connecting needs no memory for pairs: each is used when it is found, and the result does not
//! depend on their order.

use std::collections::HashMap;

use rayon::prelude::*;

use super::pairs::Similar;
use super::places::Places;
use super::{Dropped, Side, near};
use crate::error::Result;
use crate::forest::Forest;
use crate::host::{Host, Loan, check};
use crate::neighbours::{self, Pair};
use crate::unit::{self, UnitVectors};

/// Rows that are connected, as slices of one list.
pub(super) struct Clusters {
    /// All rows, those of a cluster together and ascending.
    rows: Vec<u32>,
    /// Where each cluster ends.
    ends: Vec<usize>,
}

impl Clusters {
    /// The clusters, by their first rows.
    fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.rows[start..*end])
    }
}

/// The clusters of the `open` rows, which are ascending. Rows that are not open connect nothing.
pub(super) fn clusters(similar: &Similar<'_>, open: &[u32], host: &dyn Host) -> Result<Clusters> {
    let _loan = Loan::new(host, 4 * open.len() * size_of::<u32>())?;
    let forest = match similar {
        Similar::Pairs { pairs, .. } => {
            let places = Places::new(open);
            let forest = Forest::new(open.len());
            for pair in &pairs.pairs {
                if let (Some(a), Some(b)) = (places.of(pair.a), places.of(pair.b)) {
                    forest.unite(a, b);
                }
            }
            forest
        }
        Similar::Vectors { vectors, threshold } if open.len() == vectors.rows() => {
            connected(vectors, *threshold, host)?
        }
        Similar::Vectors { vectors, threshold } => {
            let bytes = open.len() * vectors.dimension() * size_of::<f32>();
            let _copy_loan = Loan::new(host, bytes)?;
            connected(&vectors.select(open), *threshold, host)?
        }
    };
    Ok(into_clusters(&forest, open))
}

/// The forest of rows with a cosine of at least `threshold`.
fn connected(vectors: &UnitVectors, threshold: f32, host: &dyn Host) -> Result<Forest> {
    let forest = Forest::new(vectors.rows());
    let sink = |pairs: &[Pair]| {
        pairs.iter().for_each(|pair| forest.unite(pair.a, pair.b));
        Ok(())
    };
    neighbours::pairs_within(vectors, threshold, host, &sink)?;
    Ok(forest)
}

/// The rows of all clusters, those nearest to the centre of their cluster first (equally near: the
/// lower row). The centre is the mean of the rows' vectors.
pub(super) fn nearest_to_centre_first(
    clusters: &Clusters,
    vectors: &UnitVectors,
    host: &dyn Host,
) -> Result<Vec<u32>> {
    let _loan = Loan::new(host, clusters.rows.len() * 4 * size_of::<u32>())?;
    let slices: Vec<&[u32]> = clusters.iter().collect();
    let near: Result<Vec<Vec<(f32, u32)>>> = slices
        .into_par_iter()
        .map(|rows| {
            check(host)?;
            if let [row] = rows {
                return Ok(vec![(1.0, *row)]);
            }
            let centre = centre(vectors, rows);
            let nearness = |row: u32| unit::cosine(vectors.row(row as usize), &centre);
            Ok(rows.iter().map(|row| (nearness(*row), *row)).collect())
        })
        .collect();
    let mut near = near?.concat();
    near.par_sort_unstable_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
    Ok(near.into_iter().map(|(_, row)| row).collect())
}

/// The direction of the mean of some rows.
fn centre(vectors: &UnitVectors, rows: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0_f64; vectors.dimension()];
    for row in rows {
        let row = vectors.row(*row as usize);
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let mut centre: Vec<f32> = sum.into_iter().map(|x| x as f32).collect();
    unit::normalize(&mut centre);
    centre
}

/// The rows that are dropped: all of a cluster but the first in `order`.
pub(super) fn drops(
    clusters: &Clusters,
    similar: &Similar<'_>,
    order: &[u32],
    host: &dyn Host,
) -> Result<Vec<(u32, Dropped)>> {
    let _loan = Loan::new(host, order.len() * (size_of::<u32>() + size_of::<(u32, Dropped)>()))?;
    let places = Places::new(order);
    let mut drops = Vec::new();
    for rows in clusters.iter() {
        let Some(best) = rows.iter().copied().min_by_key(|row| places.of(*row)) else {
            continue;
        };
        let others = rows.iter().copied().filter(|row| *row != best);
        drops.extend(others.map(|row| (row, near(Side::Here, best, None))));
    }
    check(host)?;
    score(&mut drops, similar);
    Ok(drops)
}

/// Gives each dropped row its similarity to its representative, as far as it is known.
fn score(drops: &mut [(u32, Dropped)], similar: &Similar<'_>) {
    match similar {
        Similar::Vectors { vectors, .. } | Similar::Pairs { vectors: Some(vectors), .. } => {
            drops.par_iter_mut().for_each(|(row, drop)| {
                let representative = drop.representative as usize;
                drop.score = Some(vectors.cosine(*row as usize, vectors, representative));
            });
        }
        Similar::Pairs { pairs, vectors: None } => {
            let mut places: HashMap<u32, usize> = HashMap::new();
            places.extend(drops.iter().enumerate().map(|(place, (row, _))| (*row, place)));
            for pair in &pairs.pairs {
                for (row, other) in [(pair.a, pair.b), (pair.b, pair.a)] {
                    let Some(place) = places.get(&row) else { continue };
                    let drop = &mut drops[*place].1;
                    if drop.representative == other {
                        drop.score = Some(drop.score.map_or(pair.score, |x| x.max(pair.score)));
                    }
                }
            }
        }
    }
}

/// The groups, whose members are places in `open`, as clusters of what is at those places.
fn into_clusters(forest: &Forest, open: &[u32]) -> Clusters {
    let mut places: Vec<(u32, u32)> =
        (0..open.len() as u32).map(|place| (forest.root(place), place)).collect();
    places.par_sort_unstable();
    let clusters = places.chunk_by(|x, y| x.0 == y.0);
    let ends = clusters.scan(0, |end, cluster| {
        *end += cluster.len();
        Some(*end)
    });
    Clusters {
        ends: ends.collect(),
        rows: places.iter().map(|(_, place)| open[*place as usize]).collect(),
    }
}
