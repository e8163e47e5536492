//! `hybrid_search(corpus, query => 'text' | queries => …)`: by meaning and by words at once, the
//! two rankings fused by reciprocal ranks.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::documents::FoundChunk;
use sembla_operators::fusion::{Fused, RANK_CONSTANT, reciprocal_rank_fusion};
use sembla_operators::text_index::TextIndex;
use sembla_operators::{Loan, Neighbour, Neighbours, host, neighbours};

use super::hits::{self, Hit};
use super::text_search::{self, LANGUAGE};
use crate::SqlError;
use crate::relations::declaration::{Declaration, InputDef, Need, Planning};
use crate::relations::finding::{Emit, Finding, FindingHost};
use crate::relations::options::{OptionDef, OptionKind};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

/// Queries that are answered together; their results are given before the next are asked.
const QUERIES_TOGETHER: usize = 1024;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "hybrid_search",
    about: "The top_k rows of a corpus by meaning and by words: query_id, rank (from 1), id, score (Σ 1 / (rrf_k + rank) over both \
            rankings), vector_rank and text_rank (NULL where a ranking lacks the row), and the other columns of the \
            corpus. With group_by, the top_k documents: rankings and ranks are of documents.",
    example: "SELECT rank, text FROM hybrid_search('questions.parquet', query => 'lost card')",
    inputs: &[
        InputDef { texts: Need::Must, ..hits::CORPUS },
        InputDef { texts: Need::Must, ..hits::QUERIES },
    ],
    options: &[
        hits::TOP_K,
        hits::FILTER,
        hits::GROUP_BY,
        hits::CHUNKS_PER_DOCUMENT,
        hits::candidates_k("Rows of each ranking that are fused; documents with group_by."),
        OptionDef {
            name: "rrf_k",
            kind: OptionKind::Number {
                least: 0.0,
                most: f64::MAX,
                what: "a number >= 0",
                default: Some(RANK_CONSTANT),
            },
            about: "Constant added to ranks in the fusion; the larger it is, the less the first ranks dominate.",
        },
        LANGUAGE,
    ],
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Search {
    top_k: usize,
    candidates_k: usize,
    rrf_k: f64,
    language: String,
    /// How many chunks of each document are wanted; `None` where hits are rows.
    chunks_per_document: Option<usize>,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let options = planning.options;
    Ok(Arc::new(Search {
        top_k: options.count("top_k").unwrap_or(1),
        candidates_k: options.count("candidates_k").unwrap_or(1),
        rrf_k: options.number("rrf_k").unwrap_or(RANK_CONSTANT),
        language: options.text("language").unwrap_or("en").to_string(),
        chunks_per_document: hits::chunks_per_document(planning)?,
    }))
}

impl Finding for Search {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let ranks =
            ["vector_rank", "text_rank"].map(|name| Field::new(name, DataType::UInt32, true));
        hits::columns(inputs).into_iter().chain(ranks).collect()
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(corpus), Some(queries)] = tables else { return Ok(()) };
        let (index, _loan) = text_search::index(corpus, &self.language, host)?;
        if let Some(chunks) = self.chunks_per_document {
            return self.documents((corpus, queries), &index, chunks, host, emit);
        }
        let texts = queries.texts();
        for (start, some) in hits::chunks(queries, QUERIES_TOGETHER) {
            host::check(host)?;
            let _loan = Loan::new(host, 2 * Neighbours::bytes(some.len(), self.candidates_k))?;
            let vectors = queries.vectors().select(&some);
            let by_vector =
                neighbours::top_k(&vectors, corpus.vectors(), self.candidates_k, -1.0, host)?;
            let asked: Vec<&str> =
                some.iter().filter_map(|row| texts.get(*row as usize).copied()).collect();
            let by_text = index.search_all(&asked, self.candidates_k, host)?;
            let mut fused = Vec::new();
            for (place, by_text) in by_text.iter().enumerate() {
                let by_vector: Vec<u32> = by_vector.of(place).iter().map(|hit| hit.row).collect();
                let by_text: Vec<u32> = by_text.iter().map(|hit| hit.row).collect();
                let rankings = [by_vector.as_slice(), by_text.as_slice()];
                let best = reciprocal_rank_fusion(&rankings, self.rrf_k, self.top_k)?;
                fused.push((start + place as u32, best));
            }
            give(corpus, queries, &fused, emit)?;
        }
        Ok(())
    }
}

impl Search {
    /// Gives the documents of both rankings, fused.
    fn documents(
        &self,
        (corpus, queries): (&Table, &Table),
        index: &TextIndex,
        chunks: usize,
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let documents = hits::documents(corpus)?;
        let texts = queries.texts();
        for (start, some) in hits::chunks(queries, QUERIES_TOGETHER) {
            host::check(host)?;
            let vectors = queries.vectors().select(&some);
            let wanted = (self.candidates_k, -1.0);
            let by_vector = hits::nearest_documents(&vectors, corpus, &documents, wanted, host)?;
            let asked: Vec<&str> =
                some.iter().filter_map(|row| texts.get(*row as usize).copied()).collect();
            let wanted = self.candidates_k;
            let by_text = text_search::best_by_text(index, &asked, &documents, wanted, host)?;
            let (mut rows, mut ranks) = (Vec::new(), [Vec::new(), Vec::new()]);
            for (place, (by_vector, by_text)) in by_vector.iter().zip(&by_text).enumerate() {
                let numbers =
                    [by_vector, by_text].map(|found| found.iter().map(|f| f.document).collect());
                let [first, second]: [Vec<u32>; 2] = numbers;
                let fused = reciprocal_rank_fusion(&[&first, &second], self.rrf_k, self.top_k)?;
                for (rank, best) in (1..).zip(fused) {
                    let near = documents.nearest(
                        best.row,
                        (&vectors, place),
                        corpus.vectors(),
                        usize::MAX,
                        -1.0,
                    );
                    for row in shown(&best, by_vector, by_text, &near).take(chunks) {
                        let (query, score) = (start + place as u32, best.score as f32);
                        rows.push(Hit { query, rank, row, score });
                        for (ranks, rank) in ranks.iter_mut().zip(&best.ranks) {
                            ranks.push(*rank);
                        }
                    }
                }
            }
            let ranks = ranks.map(|ranks| Arc::new(UInt32Array::from(ranks)) as ArrayRef);
            hits::give(corpus, queries, &rows, ranks.into(), emit)?;
        }
        Ok(())
    }
}

/// The rows of a document in the order in which they are shown: the one that its better rank comes
/// from, the one of its other rank, then the others by cosine.
fn shown<'a>(
    best: &Fused<u32>,
    by_vector: &[FoundChunk],
    by_text: &[FoundChunk],
    near: &'a [Neighbour],
) -> impl Iterator<Item = u32> + 'a {
    let at = |ranking: usize, found: &[FoundChunk]| {
        let rank = best.ranks.get(ranking).copied().flatten()?;
        Some((rank, found.get(rank as usize - 1)?.row as u32))
    };
    let mut first: Vec<(u32, u32)> =
        [at(0, by_vector), at(1, by_text)].into_iter().flatten().collect();
    first.sort_by_key(|(rank, _)| *rank);
    let mut seen = HashSet::new();
    let first = first.into_iter().map(|(_, row)| row);
    first.chain(near.iter().map(|hit| hit.row)).filter(move |row| seen.insert(*row))
}

/// Gives the fused rankings of some queries.
fn give(
    corpus: &Table,
    queries: &Table,
    fused: &[(u32, Vec<Fused<u32>>)],
    emit: &mut Emit<'_>,
) -> Result<(), SqlError> {
    let all =
        || fused.iter().flat_map(|(query, best)| (1..).zip(best).map(move |hit| (*query, hit)));
    let hits: Vec<Hit> = all()
        .map(|(query, (rank, best))| Hit { query, rank, row: best.row, score: best.score as f32 })
        .collect();
    let rank_in = |ranking: usize| -> ArrayRef {
        let ranks = all().map(|(_, (_, best))| best.ranks.get(ranking).copied().flatten());
        Arc::new(ranks.collect::<UInt32Array>())
    };
    hits::give(corpus, queries, &hits, vec![rank_in(0), rank_in(1)], emit)
}
