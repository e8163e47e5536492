//! Documents found by their chunks: a document is as good as its best chunk.
//!
//! The best `k` documents are not in the best `k` chunks: one document may have them all. So a
//! search for chunks is asked for more and more of them, until it has given `k` documents or all
//! that there are. The result is the exact ranking of chunks with only the first of each document
//! kept.

use std::collections::HashSet;

use crate::error::Result;
use crate::{Neighbour, UnitVectors};

/// Chunks that are asked for first, for each document that is wanted.
const CHUNKS_PER_DOCUMENT: usize = 4;

/// How many times more chunks are asked for when they were too few.
const GROWTH: usize = 4;

/// Chunks of all queries that are asked for at a time; a query alone may have more.
const CHUNKS_MAX: usize = 1 << 22;

/// A chunk that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundChunk {
    /// Its row.
    pub row: u64,
    /// The number of its document.
    pub document: u32,
    /// How good it is.
    pub score: f32,
}

/// The chunks of each document.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    of_rows: Vec<u32>,
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Documents {
    /// Documents by the number of each row's. Numbers are from 0 without gaps.
    pub fn new(of_rows: Vec<u32>) -> Self {
        let count = of_rows.iter().max().map_or(0, |most| *most as usize + 1);
        let mut starts = vec![0; count + 1];
        of_rows.iter().for_each(|document| starts[*document as usize + 1] += 1);
        for document in 0..count {
            starts[document + 1] += starts[document];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; of_rows.len()];
        for (row, document) in (0..).zip(&of_rows) {
            let place = &mut next[*document as usize];
            rows[*place as usize] = row;
            *place += 1;
        }
        Self { of_rows, starts, rows }
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows they have together.
    pub fn rows_len(&self) -> usize {
        self.of_rows.len()
    }

    /// The document of a row.
    pub fn of(&self, row: u32) -> Option<u32> {
        self.of_rows.get(row as usize).copied()
    }

    /// The rows of a document, ascending; none of a number that is none.
    pub fn rows(&self, document: u32) -> &[u32] {
        let at = |number: usize| self.starts.get(number).map(|start| *start as usize);
        let document = document as usize;
        let range = at(document).zip(at(document + 1));
        range.and_then(|(start, end)| self.rows.get(start..end)).unwrap_or_default()
    }

    /// The best chunks of a document for a query by cosine, at most `count`, of those with at least
    /// `min_score`.
    pub fn nearest(
        &self,
        document: u32,
        (queries, query): (&UnitVectors, usize),
        corpus: &UnitVectors,
        count: usize,
        min_score: f32,
    ) -> Vec<Neighbour> {
        let rows = self.rows(document).iter().filter(|row| corpus.has_direction(**row as usize));
        let scored = rows.map(|row| Neighbour {
            row: *row,
            score: queries.cosine(query, corpus, *row as usize),
        });
        let mut best: Vec<Neighbour> = scored.filter(|hit| hit.score >= min_score).collect();
        best.sort_unstable_by(Neighbour::best_first);
        best.truncate(count);
        best
    }
}

/// The best chunk of each of the best `wanted` documents for each of `queries` queries, best
/// first. `search` gives the best chunks of some queries, best first, at most as many as it is
/// asked for and fewer only where there are no more; `rows` is how many it has in all.
///
/// # Errors
/// Those of `search`.
pub fn best_documents<E>(
    queries: usize,
    wanted: usize,
    rows: usize,
    mut search: impl FnMut(&[u32], usize) -> Result<Vec<Vec<FoundChunk>>, E>,
) -> Result<Vec<Vec<FoundChunk>>, E> {
    let mut best: Vec<Vec<FoundChunk>> = vec![Vec::new(); queries];
    let mut pending: Vec<u32> = (0..queries as u32).collect();
    let mut asked = wanted.saturating_mul(CHUNKS_PER_DOCUMENT).clamp(1, rows.max(1));
    while !pending.is_empty() {
        let together = (CHUNKS_MAX / asked).max(1);
        let mut unfinished = Vec::new();
        for some in pending.chunks(together) {
            for (query, found) in some.iter().zip(search(some, asked)?) {
                let is_all = found.len() < asked || asked >= rows;
                let documents = first_of_each(found, wanted);
                if is_all || documents.len() >= wanted {
                    best[*query as usize] = documents;
                } else {
                    unfinished.push(*query);
                }
            }
        }
        pending = unfinished;
        asked = asked.saturating_mul(GROWTH).min(rows.max(1));
    }
    Ok(best)
}

/// The first chunk of each document, of at most `wanted` documents.
pub fn first_of_each(found: Vec<FoundChunk>, wanted: usize) -> Vec<FoundChunk> {
    let mut seen = HashSet::new();
    found.into_iter().filter(|chunk| seen.insert(chunk.document)).take(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_know_their_rows() {
        let documents = Documents::new(vec![0, 1, 0, 2, 1]);
        assert_eq!((documents.len(), documents.of(4), documents.of(5)), (3, Some(1), None));
        assert_eq!(documents.rows(0), [0, 2]);
        assert_eq!(documents.rows(1), [1, 4]);
        assert_eq!(documents.rows(9), [0; 0]);
        assert!(Documents::new(Vec::new()).is_empty());
    }

    #[test]
    fn the_best_documents_are_those_of_the_whole_ranking() {
        // Most of the best chunks are of document 0.
        let document = |row: u64| if row.is_multiple_of(97) { (row / 97) as u32 + 1 } else { 0 };
        let ranking: Vec<FoundChunk> = (0..1000)
            .map(|row| FoundChunk { row, document: document(row), score: -(row as f32) })
            .collect();
        for wanted in [1, 2, 5, 11, 12, 50] {
            let mut calls = 0;
            let best = best_documents(3, wanted, ranking.len(), |queries, asked| {
                calls += 1;
                let found = ranking.iter().take(asked).copied().collect::<Vec<_>>();
                Ok::<_, crate::OperatorError>(vec![found; queries.len()])
            });
            let best = best.expect("documents");
            assert_eq!(best.len(), 3);
            assert_eq!(best[2], first_of_each(ranking.clone(), wanted), "{wanted}");
            assert!(calls <= 6);
        }
    }
}
