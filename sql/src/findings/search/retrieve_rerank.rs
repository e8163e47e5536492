//! `retrieve_rerank(corpus, query => 'text' | queries => …, reranker => 'model')`: candidates by
//! vectors, put in order by a cross-encoder.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::{Loan, Neighbours, host, neighbours};

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
            corpus.",
    example: "SELECT rank, score, text FROM retrieve_rerank('questions.parquet', query => 'lost card', reranker => 'my-cross-encoder')",
    inputs: &[
        InputDef { texts: Need::Must, ..hits::CORPUS },
        InputDef { texts: Need::Must, ..hits::QUERIES },
    ],
    options: &[
        hits::TOP_K,
        hits::FILTER,
        hits::candidates_k("Rows that the cross-encoder looks at."),
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
        let together = (PAIRS_TOGETHER / self.candidates_k).max(1);
        for (start, some) in hits::chunks(queries, together) {
            host::check(host)?;
            let _loan = Loan::new(host, 2 * Neighbours::bytes(some.len(), self.candidates_k))?;
            let vectors = queries.vectors().select(&some);
            let found =
                neighbours::top_k(&vectors, corpus.vectors(), self.candidates_k, -1.0, host)?;
            self.rerank(corpus, queries, start, &found, host, emit)?;
        }
        Ok(())
    }
}

impl Search {
    /// Gives the best candidates of some queries in the order of the cross-encoder.
    fn rerank(
        &self,
        corpus: &Table,
        queries: &Table,
        start: u32,
        found: &Neighbours,
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let candidates: Vec<(u32, u32, f32)> = (0..found.rows())
            .flat_map(|query| {
                found.of(query).iter().map(move |hit| (start + query as u32, hit.row, hit.score))
            })
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
        let mut scored: Vec<((u32, u32, f32), f32)> = candidates.into_iter().zip(scores).collect();
        // Stable: of equal scores the nearer comes first.
        scored.sort_by(|a, b| a.0.0.cmp(&b.0.0).then(b.1.total_cmp(&a.1)));
        let (mut hits, mut retrieval) = (Vec::new(), Vec::new());
        for of_one in scored.chunk_by(|a, b| a.0.0 == b.0.0) {
            for (((query, row, cosine), score), rank) in of_one.iter().take(self.top_k).zip(1..) {
                hits.push(Hit { query: *query, rank, row: *row, score: *score });
                retrieval.push(*cosine);
            }
        }
        let retrieval: ArrayRef = Arc::new(Float32Array::from(retrieval));
        hits::give(corpus, queries, &hits, vec![retrieval], emit)
    }
}
