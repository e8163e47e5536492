//! The plain way: one row against all others. What the fast way is compared with.

use rayon::prelude::*;

use super::{Neighbour, Neighbours, Pair, PairSink};
use crate::error::Result;
use crate::host::{Host, check};
use crate::unit::UnitVectors;

/// What [`super::top_k`] promises; `within` leaves each row itself out.
pub(super) fn top_k(
    queries: &UnitVectors,
    corpus: &UnitVectors,
    k: usize,
    min_score: f32,
    within: bool,
    host: &dyn Host,
) -> Result<Neighbours> {
    let rows: Result<Vec<Vec<Neighbour>>> = (0..queries.rows())
        .into_par_iter()
        .map(|query| {
            check(host)?;
            let mut found = similar(queries, query, corpus, min_score);
            found.retain(|neighbour| !within || neighbour.row as usize != query);
            found.sort_by(|x, y| y.score.total_cmp(&x.score).then(x.row.cmp(&y.row)));
            found.truncate(k);
            Ok(found)
        })
        .collect();
    let mut neighbours = Neighbours { found: Vec::new(), starts: vec![0] };
    for row in rows? {
        neighbours.found.extend(row);
        neighbours.starts.push(neighbours.found.len());
    }
    Ok(neighbours)
}

/// What [`super::pairs_between`] promises; `within` gives each pair once.
pub(super) fn pairs(
    a: &UnitVectors,
    b: &UnitVectors,
    threshold: f32,
    within: bool,
    host: &dyn Host,
    sink: &PairSink<'_>,
) -> Result<()> {
    (0..a.rows()).into_par_iter().try_for_each(|row| {
        check(host)?;
        let found = similar(a, row, b, threshold);
        let pairs: Vec<Pair> = found
            .into_iter()
            .filter(|other| !within || other.row as usize > row)
            .map(|other| Pair { a: row as u32, b: other.row, score: other.score })
            .collect();
        if pairs.is_empty() { Ok(()) } else { sink(&pairs) }
    })
}

/// All rows of `corpus` that are similar enough to a query.
fn similar(
    queries: &UnitVectors,
    query: usize,
    corpus: &UnitVectors,
    min_score: f32,
) -> Vec<Neighbour> {
    if !queries.has_direction(query) {
        return Vec::new();
    }
    (0..corpus.rows())
        .filter(|row| corpus.has_direction(*row))
        .map(|row| Neighbour { row: row as u32, score: queries.cosine(query, corpus, row) })
        .filter(|neighbour| neighbour.score >= min_score)
        .collect()
}
