//! Semantic search in two stages: candidates by codes of 8 bits or 1 bit a component, then their
//! exact cosines.
//!
//! Codes are made once for a corpus and read for each query, a quarter or a thirty-second of what
//! the vectors would be. The `k * oversample` rows with the best codes are candidates, and the best
//! `k` of them are the result: each score is the exact cosine, but a row that the codes misplace by
//! far is missed. The exact search is [`crate::neighbours::top_k`]; it takes many queries together
//! and is as fast for hundreds of them. Codes are for queries that come one or a few at a time.
//!
//! Blocks of codes stay in cache while several queries go over them. Candidates are the best by the
//! score of the codes, then by row, so the result is the same for any number of threads.

use rayon::prelude::*;

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours::{Neighbour, Neighbours};
use crate::quantize::{self, Ranges};
use crate::shortlist::Shortlist;
use crate::unit::UnitVectors;
use crate::{code_dots, hamming};

/// Queries that are searched for together; the memory for candidates is theirs.
const QUERIES_PER_BATCH: usize = 512;

/// Queries that go over a block of codes before the next block is read.
const QUERIES_PER_GROUP: usize = 16;

/// Bytes of a block of codes: what a first-level cache holds beside the rest.
const BLOCK_BYTES: usize = 1 << 15;

/// Components of which sums of products still fit into 32 bits, twice.
const INT8_DIMENSION_MAX: usize = 30_000;

/// What a component becomes in the candidate stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// 8 bits; rows are compared by dot products of codes.
    Int8,
    /// 1 bit, its sign; rows are compared by Hamming distance.
    Binary,
}

/// How a search goes.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// Rows that are found for each query, at most; at least 1.
    pub k: usize,
    /// Least cosine of a row that is found.
    pub min_score: f32,
    /// Candidates per row that is wanted; at least 1.
    pub oversample: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { k: 10, min_score: -1.0, oversample: 4 }
    }
}

/// A corpus with its codes.
///
/// # Examples
/// ```
/// use sembla_operators::search::{CodedCorpus, Coding, SearchOptions};
/// use sembla_operators::{Unbounded, UnitVectors};
///
/// let corpus = UnitVectors::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.9, 0.1])?;
/// let corpus = CodedCorpus::new(corpus, Coding::Int8, &Unbounded)?;
/// let query = UnitVectors::new(2, vec![0.0, 1.0])?;
/// let found = corpus.search(&query, &SearchOptions::default(), &Unbounded)?;
/// assert_eq!(found.of(0)[0].row, 1);
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub struct CodedCorpus<'a> {
    vectors: UnitVectors,
    /// The rows that have a direction; only they have codes.
    rows: Vec<u32>,
    codes: Codes,
    _loan: Loan<'a>,
}

/// The codes of the rows of a corpus, one after another.
enum Codes {
    Int8 {
        ranges: Ranges,
        codes: Vec<i8>,
        /// Per row the sum of its codes.
        sums: Vec<i32>,
    },
    Binary(Vec<u8>),
}

/// The codes of a query.
enum QueryCodes {
    Uint8(Vec<u8>),
    Binary(Vec<u8>),
}

/// A row by its place among those with codes.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    score: i32,
    place: u32,
}

impl Candidate {
    fn best_first(&self, other: &Self) -> std::cmp::Ordering {
        other.score.cmp(&self.score).then(self.place.cmp(&other.place))
    }
}

impl<'a> CodedCorpus<'a> {
    /// Makes the codes of a corpus. Memory: a byte or a bit for each component, and 8 bytes a row.
    ///
    /// # Errors
    /// Vectors that are too long for [`Coding::Int8`], what the host says.
    pub fn new(vectors: UnitVectors, coding: Coding, host: &'a dyn Host) -> Result<Self> {
        let dimension = vectors.dimension();
        if coding == Coding::Int8 && dimension > INT8_DIMENSION_MAX {
            return Err(OperatorError::Option(format!(
                "candidates => 'int8' takes vectors of at most {INT8_DIMENSION_MAX} components, got {dimension}"
            )));
        }
        let bytes_per_row = match coding {
            Coding::Int8 => dimension + size_of::<i32>(),
            Coding::Binary => quantize::packed_len(dimension),
        };
        let loan = Loan::new(host, vectors.rows() * (bytes_per_row + size_of::<u32>()))?;
        let rows: Vec<u32> =
            (0..vectors.rows() as u32).filter(|row| vectors.has_direction(*row as usize)).collect();
        let codes = match coding {
            Coding::Int8 => Codes::int8(&vectors, &rows, host)?,
            Coding::Binary => Codes::binary(&vectors, &rows, host)?,
        };
        Ok(Self { vectors, rows, codes, _loan: loan })
    }

    /// The vectors themselves.
    pub fn vectors(&self) -> &UnitVectors {
        &self.vectors
    }

    /// The most similar rows of the candidates of each query, best first (equal: the lower row).
    ///
    /// Cost: one pass over the codes for each query, and `k * oversample` cosines.
    ///
    /// # Errors
    /// Options that can't be, different dimensions, what the host says.
    pub fn search(
        &self,
        queries: &UnitVectors,
        options: &SearchOptions,
        host: &dyn Host,
    ) -> Result<Neighbours> {
        let SearchOptions { k, oversample, .. } = *options;
        if k == 0 || oversample == 0 {
            let name = if k == 0 { "top_k" } else { "oversample" };
            return Err(OperatorError::Option(format!("{name} must be >= 1, got 0")));
        }
        queries.check_dimension(&self.vectors)?;
        let limit = k.saturating_mul(oversample).min(self.rows.len());
        let batch_rows = queries.rows().min(QUERIES_PER_BATCH);
        let lists = segments(batch_rows) * batch_rows;
        let _lists_loan = Loan::new(host, lists * 2 * limit * size_of::<Candidate>())?;
        let _found_loan = Loan::new(host, 2 * Neighbours::bytes(queries.rows(), k.min(limit)))?;
        let mut found = Vec::with_capacity(queries.rows());
        for start in (0..queries.rows()).step_by(QUERIES_PER_BATCH) {
            let end = queries.rows().min(start + QUERIES_PER_BATCH);
            found.extend(self.search_batch(queries, start..end, limit, options, host)?);
            host.progress("searching", end as u64, queries.rows() as u64);
        }
        Ok(Neighbours::from_rows(found))
    }

    fn search_batch(
        &self,
        queries: &UnitVectors,
        batch: std::ops::Range<usize>,
        limit: usize,
        options: &SearchOptions,
        host: &dyn Host,
    ) -> Result<Vec<Vec<Neighbour>>> {
        let segments = segments(batch.len());
        let segment_rows = self.rows.len().div_ceil(segments).max(1);
        let groups: Vec<_> = batch.clone().step_by(QUERIES_PER_GROUP).collect();
        let tasks = groups.len() * segments;
        let lists: Result<Vec<Vec<Shortlist<Candidate>>>> = (0..tasks)
            .into_par_iter()
            .map(|task| {
                let start = groups[task / segments];
                let group = start..batch.end.min(start + QUERIES_PER_GROUP);
                let start = (task % segments * segment_rows).min(self.rows.len());
                let places = start..self.rows.len().min(start + segment_rows);
                let codes = group.map(|query| self.codes.of_query(queries.row(query)));
                self.candidates(&codes.collect::<Result<Vec<_>>>()?, places, limit, host)
            })
            .collect();
        let mut merged: Vec<Vec<Shortlist<Candidate>>> = batch.clone().map(|_| vec![]).collect();
        for (task, lists) in lists?.into_iter().enumerate() {
            let first = task / segments * QUERIES_PER_GROUP;
            for (query, list) in lists.into_iter().enumerate() {
                merged[first + query].push(list);
            }
        }
        let rescored = batch.into_par_iter().zip(merged).map(|(query, lists)| {
            check(host)?;
            let candidates = lists.into_iter().reduce(Shortlist::merged);
            let candidates = candidates.map(Shortlist::into_best).unwrap_or_default();
            Ok(self.rescored(queries, query, &candidates, options))
        });
        rescored.collect()
    }

    /// The candidates of some queries among some places.
    fn candidates(
        &self,
        queries: &[QueryCodes],
        places: std::ops::Range<usize>,
        limit: usize,
        host: &dyn Host,
    ) -> Result<Vec<Shortlist<Candidate>>> {
        let empty = || Shortlist::new(limit, Candidate::best_first);
        let mut lists: Vec<_> = queries.iter().map(|_| empty()).collect();
        let block_rows = (BLOCK_BYTES / self.codes.bytes_per_row(self.vectors.dimension())).max(1);
        let mut scores = vec![0; block_rows];
        for start in places.clone().step_by(block_rows) {
            check(host)?;
            let block = start..places.end.min(start + block_rows);
            for (query, list) in queries.iter().zip(&mut lists) {
                let scores = &mut scores[..block.len()];
                self.codes.score(query, block.clone(), scores);
                // Of equal scores the first place is best, and places ascend.
                let mut least = list.bound().map_or(i32::MIN, |bound| bound.score);
                for (score, place) in scores.iter().zip(block.clone()) {
                    if *score > least {
                        list.push(Candidate { score: *score, place: place as u32 });
                        least = list.bound().map_or(i32::MIN, |bound| bound.score);
                    }
                }
            }
        }
        Ok(lists)
    }

    /// The candidates with the best cosines.
    fn rescored(
        &self,
        queries: &UnitVectors,
        query: usize,
        candidates: &[Candidate],
        options: &SearchOptions,
    ) -> Vec<Neighbour> {
        if !queries.has_direction(query) {
            return Vec::new();
        }
        let rows = candidates.iter().map(|candidate| self.rows[candidate.place as usize]);
        let mut found: Vec<Neighbour> = rows
            .map(|row| {
                let score = queries.cosine(query, &self.vectors, row as usize);
                Neighbour { row, score }
            })
            .filter(|neighbour| neighbour.score >= options.min_score)
            .collect();
        found.sort_by(Neighbour::best_first);
        found.truncate(options.k);
        found
    }
}

/// Parts of the corpus that so many queries search at the same time: one, unless the queries alone
/// would leave threads without work.
fn segments(queries: usize) -> usize {
    let groups = queries.div_ceil(QUERIES_PER_GROUP).max(1);
    (2 * rayon::current_num_threads()).div_ceil(groups)
}

impl Codes {
    /// One range for all components, so that sums of products of codes are in proportion to sums of
    /// products.
    fn int8(vectors: &UnitVectors, rows: &[u32], host: &dyn Host) -> Result<Self> {
        let dimension = vectors.dimension();
        let largest = vectors.values().par_iter().map(|x| x.abs()).reduce(|| 0.0, f32::max);
        let ranges = Ranges::new(&vec![-largest; dimension], &vec![largest; dimension])?;
        let mut codes = vec![0; rows.len() * dimension];
        let mut sums = vec![0; rows.len()];
        codes.par_chunks_exact_mut(dimension).zip(&mut sums).zip(rows).try_for_each(
            |((codes, sum), row)| -> Result<()> {
                check(host)?;
                let mut row_codes = Vec::with_capacity(dimension);
                ranges.int8(vectors.row(*row as usize), &mut row_codes)?;
                *sum = row_codes.iter().map(|code| i32::from(*code)).sum();
                codes.copy_from_slice(&row_codes);
                Ok(())
            },
        )?;
        Ok(Self::Int8 { ranges, codes, sums })
    }

    fn binary(vectors: &UnitVectors, rows: &[u32], host: &dyn Host) -> Result<Self> {
        let length = quantize::packed_len(vectors.dimension());
        let mut codes = vec![0; rows.len() * length];
        codes.par_chunks_exact_mut(length).zip(rows).try_for_each(|(codes, row)| {
            check(host)?;
            let mut row_codes = Vec::with_capacity(length);
            quantize::ubinary(vectors.row(*row as usize), &mut row_codes);
            codes.copy_from_slice(&row_codes);
            Ok::<_, OperatorError>(())
        })?;
        Ok(Self::Binary(codes))
    }

    fn bytes_per_row(&self, dimension: usize) -> usize {
        match self {
            Self::Int8 { .. } => dimension,
            Self::Binary(_) => quantize::packed_len(dimension),
        }
    }

    fn of_query(&self, query: &[f32]) -> Result<QueryCodes> {
        match self {
            Self::Int8 { ranges, .. } => {
                let mut codes = Vec::with_capacity(query.len());
                ranges.uint8(query, &mut codes)?;
                Ok(QueryCodes::Uint8(codes))
            }
            Self::Binary(_) => {
                let mut codes = Vec::with_capacity(quantize::packed_len(query.len()));
                quantize::ubinary(query, &mut codes);
                Ok(QueryCodes::Binary(codes))
            }
        }
    }

    /// How similar a query and each row of a block are, by their codes; more is better.
    fn score(&self, query: &QueryCodes, block: std::ops::Range<usize>, scores: &mut [i32]) {
        match (self, query) {
            (Self::Int8 { codes, sums, .. }, QueryCodes::Uint8(query)) => {
                let length = query.len();
                let codes = &codes[block.start * length..block.end * length];
                code_dots::each(query, codes, scores);
                // A code stands for the middle of its step, half a step above it, and the codes of
                // queries are 128 more: of 2·Σ(u - 128 + ½)(c + ½), what depends on the row c.
                for (score, sum) in scores.iter_mut().zip(&sums[block]) {
                    *score = 2 * *score - 255 * sum;
                }
            }
            (Self::Binary(codes), QueryCodes::Binary(query)) => {
                let length = query.len();
                let codes = &codes[block.start * length..block.end * length];
                hamming::distances(query, codes, scores);
                scores.iter_mut().for_each(|score| *score = -*score);
            }
            // A query gets the codes of the corpus that it searches.
            _ => scores.fill(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unbounded;
    use crate::host::tests::Limited;
    use crate::neighbours;
    use crate::test_rows::{random_rows, random_topics};

    const CODINGS: [Coding; 2] = [Coding::Int8, Coding::Binary];

    /// One query after the other: all scores by the codes, sorted; the best of them by cosine.
    fn slow_search(
        corpus: &UnitVectors,
        queries: &UnitVectors,
        coding: Coding,
        options: &SearchOptions,
    ) -> Vec<Vec<Neighbour>> {
        let largest = corpus.values().iter().fold(0.0_f32, |max, x| x.abs().max(max));
        let dimension = corpus.dimension();
        let ranges =
            Ranges::new(&vec![-largest; dimension], &vec![largest; dimension]).expect("equal");
        let score = |a: &[f32], b: &[f32]| match coding {
            Coding::Int8 => {
                let (mut x, mut y) = (Vec::new(), Vec::new());
                ranges.int8(a, &mut x).expect("equal");
                ranges.int8(b, &mut y).expect("equal");
                let middles =
                    x.iter().zip(&y).map(|(x, y)| (2 * i64::from(*x) + 1, 2 * i64::from(*y) + 1));
                middles.map(|(x, y)| x * y).sum::<i64>()
            }
            Coding::Binary => {
                let (mut x, mut y) = (Vec::new(), Vec::new());
                quantize::ubinary(a, &mut x);
                quantize::ubinary(b, &mut y);
                -(hamming::distance(&x, &y).expect("equal") as i64)
            }
        };
        let mut found = Vec::new();
        for query in 0..queries.rows() {
            let mut candidates: Vec<usize> =
                (0..corpus.rows()).filter(|row| corpus.has_direction(*row)).collect();
            candidates
                .sort_by_key(|row| std::cmp::Reverse(score(queries.row(query), corpus.row(*row))));
            candidates.truncate(options.k * options.oversample);
            let mut best: Vec<Neighbour> = candidates
                .into_iter()
                .filter(|_| queries.has_direction(query))
                .map(|row| Neighbour { row: row as u32, score: queries.cosine(query, corpus, row) })
                .filter(|neighbour| neighbour.score >= options.min_score)
                .collect();
            best.sort_by(|x, y| y.score.total_cmp(&x.score).then(x.row.cmp(&y.row)));
            best.truncate(options.k);
            found.push(best);
        }
        found
    }

    fn rows(found: &Neighbours) -> Vec<Vec<Neighbour>> {
        (0..found.rows()).map(|row| found.of(row).to_vec()).collect()
    }

    #[test]
    fn a_search_is_what_the_plain_way_gives() {
        for (corpus_rows, query_rows) in [(0, 2), (1, 0), (1, 1), (70, 40), (400, 530)] {
            let corpus = random_rows(corpus_rows, 11, 31);
            let queries = random_rows(query_rows, 11, 32);
            for coding in CODINGS {
                let coded = CodedCorpus::new(corpus.clone(), coding, &Unbounded).expect("coded");
                for (k, oversample, min_score) in [(1, 1, -1.0), (5, 4, 0.3), (1000, 1, -1.0)] {
                    let options = SearchOptions { k, oversample, min_score };
                    let found = coded.search(&queries, &options, &Unbounded).expect("found");
                    let wanted = slow_search(&corpus, &queries, coding, &options);
                    assert_eq!(rows(&found), wanted, "{corpus_rows} {coding:?} {options:?}");
                }
                let all = SearchOptions { k: 5, oversample: 1000, min_score: -1.0 };
                let found = coded.search(&queries, &all, &Unbounded).expect("found");
                let exact = neighbours::top_k(&queries, &corpus, 5, -1.0, &Unbounded);
                assert_eq!(found, exact.expect("found"), "all rows are candidates");
            }
        }
    }

    #[test]
    fn candidates_hold_most_of_the_exact_result() {
        let vectors = random_topics(3100, 50, 64, 1.0, 3);
        let corpus = vectors.select(&(0..3000).collect::<Vec<_>>());
        let queries = vectors.select(&(3000..3100).collect::<Vec<_>>());
        let exact = neighbours::top_k(&queries, &corpus, 10, -1.0, &Unbounded).expect("found");
        for (coding, recall_min) in [(Coding::Int8, 0.995), (Coding::Binary, 0.6)] {
            let coded = CodedCorpus::new(corpus.clone(), coding, &Unbounded).expect("coded");
            let found =
                coded.search(&queries, &SearchOptions::default(), &Unbounded).expect("found");
            let common = |row: usize| {
                found.of(row).iter().filter(|found| exact.of(row).contains(found)).count()
            };
            let recall = (0..100).map(common).sum::<usize>() as f64 / 1000.0;
            assert!(recall >= recall_min, "{coding:?}: {recall}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let coded =
            CodedCorpus::new(random_rows(9, 4, 1), Coding::Int8, &Unbounded).expect("coded");
        let queries = random_rows(2, 4, 2);
        let refused = |options: &SearchOptions| {
            coded.search(&queries, options, &Unbounded).expect_err("refused").to_string()
        };
        let options = SearchOptions { k: 0, ..SearchOptions::default() };
        assert_eq!(refused(&options), "top_k must be >= 1, got 0");
        let options = SearchOptions { oversample: 0, ..SearchOptions::default() };
        assert_eq!(refused(&options), "oversample must be >= 1, got 0");
        let other = random_rows(2, 5, 2);
        assert!(coded.search(&other, &SearchOptions::default(), &Unbounded).is_err());
        let poor = Limited { limit: 10, ..Limited::default() };
        assert!(CodedCorpus::new(random_rows(9, 4, 1), Coding::Binary, &poor).is_err());
    }
}
