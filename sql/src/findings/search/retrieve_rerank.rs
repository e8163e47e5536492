//! `retrieve_rerank(corpus, query => 'text' | queries => …, reranker => 'model')`: candidates by
//! vectors, put in order by a cross-encoder.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::documents::{Documents, FoundChunk};
use sembla_operators::{Loan, Neighbour, Neighbours, UnitVectors, host, neighbours};

use super::hits::{self, Hit};
use super::reranker::{RERANKER, Reranker};
use crate::SqlError;
use crate::relations::declaration::{Declaration, InputDef, Need, Planning};
use crate::relations::finding::{Emit, Finding, FindingHost};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

/// Pairs of about this number of queries are scored together, so that batches are full of texts of
/// like length.
const PAIRS_TOGETHER: usize = 1 << 16;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "retrieve_rerank",
    about: "The top_k rows of a corpus for a query: the candidates_k nearest by vectors, re-ranked by a cross-encoder. \
            query_id, rank (from 1), id, score (of the cross-encoder), retrieval_score (cosine), and the other columns of the \
            corpus. With group_by, the top_k documents, each as good as the best of its rows that the cross-encoder has seen.",
    example: "SELECT rank, score, text FROM retrieve_rerank('questions.parquet', query => 'lost card', reranker => 'my-cross-encoder')",
    inputs: &[
        InputDef { texts: Need::Must, ..hits::CORPUS },
        InputDef { texts: Need::Must, ..hits::QUERIES },
    ],
    options: &[
        hits::TOP_K,
        hits::FILTER,
        hits::GROUP_BY,
        hits::CHUNKS_PER_DOCUMENT,
        hits::candidates_k(
            "Rows that the cross-encoder looks at; with group_by, documents, of each chunks_per_document rows.",
        ),
        RERANKER,
    ],
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Search {
    top_k: usize,
    candidates_k: usize,
    reranker: Reranker,
    /// How many chunks of each document are wanted; `None` where hits are rows.
    chunks_per_document: Option<usize>,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let options = planning.options;
    let reranker = Reranker::given(planning)?.ok_or_else(|| {
        SqlError::Statement(
            "reranker is missing; name a cross-encoder with reranker => 'model'".into(),
        )
    })?;
    Ok(Arc::new(Search {
        top_k: options.count("top_k").unwrap_or(1),
        candidates_k: options.count("candidates_k").unwrap_or(1),
        reranker,
        chunks_per_document: hits::chunks_per_document(planning)?,
    }))
}

impl Finding for Search {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let retrieval = column("retrieval_score", DataType::Float32);
        hits::columns(inputs).into_iter().chain([retrieval]).collect()
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(corpus), Some(queries)] = tables else { return Ok(()) };
        let chunks = self.chunks_per_document.unwrap_or(1);
        let together = (PAIRS_TOGETHER / self.candidates_k.saturating_mul(chunks)).max(1);
        let documents = match self.chunks_per_document {
            Some(_) => hits::documents(corpus)?,
            None => Documents::default(),
        };
        for (start, some) in hits::chunks(queries, together) {
            host::check(host)?;
            let _loan = Loan::new(host, 2 * Neighbours::bytes(some.len(), self.candidates_k))?;
            let vectors = queries.vectors().select(&some);
            let found: Vec<Vec<Neighbour>> = match self.chunks_per_document {
                Some(chunks) => self.of_documents(&vectors, corpus, &documents, chunks, host)?,
                None => {
                    let (corpus, k) = (corpus.vectors(), self.candidates_k);
                    let found = neighbours::top_k(&vectors, corpus, k, -1.0, host)?;
                    (0..found.rows()).map(|query| found.of(query).to_vec()).collect()
                }
            };
            let scored = self.scored(corpus, queries, start, &found, host)?;
            let (hits, retrieval) = self.ranked(scored, &documents);
            let retrieval: ArrayRef = Arc::new(Float32Array::from(retrieval));
            hits::give(corpus, queries, &hits, vec![retrieval], emit)?;
        }
        Ok(())
    }
}

/// A pair that the cross-encoder has seen.
struct Scored {
    query: u32,
    row: u32,
    cosine: f32,
    score: f32,
}

impl Search {
    /// Of each of the nearest documents its nearest chunks, for some queries.
    fn of_documents(
        &self,
        vectors: &UnitVectors,
        corpus: &Table,
        documents: &Documents,
        chunks: usize,
        host: &dyn FindingHost,
    ) -> Result<Vec<Vec<Neighbour>>, SqlError> {
        let wanted = (self.candidates_k, -1.0);
        let best = hits::nearest_documents(vectors, corpus, documents, wanted, host)?;
        let of_query = |(query, best): (usize, Vec<FoundChunk>)| {
            let nearest = best.iter().flat_map(|found| {
                let query = (vectors, query);
                documents.nearest(found.document, query, corpus.vectors(), chunks, -1.0)
            });
            nearest.collect()
        };
        Ok(best.into_iter().enumerate().map(of_query).collect())
    }

    /// The candidates of some queries with the cross-encoder's scores, query by query, the best
    /// first.
    fn scored(
        &self,
        corpus: &Table,
        queries: &Table,
        start: u32,
        found: &[Vec<Neighbour>],
        host: &dyn FindingHost,
    ) -> Result<Vec<Scored>, SqlError> {
        let candidates: Vec<(u32, u32, f32)> = (start..)
            .zip(found)
            .flat_map(|(query, found)| found.iter().map(move |hit| (query, hit.row, hit.score)))
            // A vector can stand without its text.
            .filter(|(query, row, _)| {
                queries.text(*query as usize).is_some() && corpus.text(*row as usize).is_some()
            })
            .collect();
        let texts: Vec<(&str, &str)> = candidates
            .iter()
            .filter_map(|(query, row, _)| {
                Some((queries.text(*query as usize)?, corpus.text(*row as usize)?))
            })
            .collect();
        let scores = self.reranker.score(&texts, host)?;
        let scored = candidates.into_iter().zip(scores);
        let mut scored: Vec<Scored> = scored
            .map(|((query, row, cosine), score)| Scored { query, row, cosine, score })
            .collect();
        // Stable: of equal scores the nearer comes first.
        scored.sort_by(|a, b| a.query.cmp(&b.query).then(b.score.total_cmp(&a.score)));
        Ok(scored)
    }

    /// The hits, and the cosine of each.
    fn ranked(&self, scored: Vec<Scored>, documents: &Documents) -> (Vec<Hit>, Vec<f32>) {
        let (mut hits, mut retrieval) = (Vec::new(), Vec::new());
        for of_one in scored.chunk_by(|a, b| a.query == b.query) {
            // Without documents each row is one by itself.
            let mut ranks: HashMap<u32, u32> = HashMap::new();
            for pair in of_one {
                let document = documents.of(pair.row).unwrap_or(pair.row);
                let next = ranks.len() as u32 + 1;
                let rank = *ranks.entry(document).or_insert(next);
                if rank as usize <= self.top_k {
                    let Scored { query, row, cosine, score } = *pair;
                    hits.push((Hit { query, rank, row, score }, cosine));
                }
            }
        }
        // Chunks of a document stand together, each query's documents by rank.
        hits.sort_by_key(|(hit, _)| (hit.query, hit.rank));
        let hits: Vec<Hit> = hits
            .into_iter()
            .map(|(hit, cosine)| {
                retrieval.push(cosine);
                hit
            })
            .collect();
        (hits, retrieval)
    }
}
