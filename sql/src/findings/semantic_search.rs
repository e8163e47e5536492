//! `semantic_search(corpus, query => 'text' | queries => …)`: the rows of a corpus that are nearest
//! to each query.

use std::sync::Arc;

use arrow::datatypes::Field;
use sembla_operators::{Host, Loan, Neighbours, host, neighbours};

use super::declaration::{Declaration, Planning};
use super::finding::{Emit, Finding};
use super::hits::{self, Hit};
use super::options::{OptionDef, cosine};
use super::roles::InputTypes;
use super::table::Table;
use crate::SqlError;

/// Queries that are answered together; their results are given before the next are asked.
const QUERIES_TOGETHER: usize = 4096;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "semantic_search",
    about: "The top_k rows of a corpus that mean most nearly what a query says: query_id, rank (from 1), id, score (cosine), \
            and the other columns of the corpus. Exact.",
    example: "SELECT rank, score, text FROM semantic_search('questions.parquet', query => 'my card is lost', top_k => 3)",
    inputs: &[hits::CORPUS, hits::QUERIES],
    options: &[
        hits::TOP_K,
        OptionDef { name: "threshold", kind: cosine(None), about: "Least score of a row." },
    ],
    carries: true,
    plan,
};

#[derive(Debug)]
struct Search {
    top_k: usize,
    min_score: f32,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let top_k = planning.options.count("top_k").unwrap_or(1);
    let min_score =
        neighbours::check_threshold(planning.options.number("threshold").unwrap_or(-1.0))?;
    Ok(Arc::new(Search { top_k, min_score }))
}

impl Finding for Search {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        hits::columns(inputs)
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn Host,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(corpus), Some(queries)] = tables else { return Ok(()) };
        for (start, some) in hits::chunks(queries, QUERIES_TOGETHER) {
            host::check(host)?;
            let _loan = Loan::new(host, Neighbours::bytes(some.len(), self.top_k))?;
            let vectors = queries.vectors().select(&some);
            let found =
                neighbours::top_k(&vectors, corpus.vectors(), self.top_k, self.min_score, host)?;
            let mut rows = Vec::new();
            for query in 0..found.rows() {
                rows.extend(found.of(query).iter().zip(1..).map(|(neighbour, rank)| Hit {
                    query: start + query as u32,
                    rank,
                    row: neighbour.row,
                    score: neighbour.score,
                }));
            }
            hits::give(corpus, queries, &rows, Vec::new(), emit)?;
        }
        Ok(())
    }
}
