//! `hybrid_search(corpus, query => 'text' | queries => …)`: by meaning and by words at once, the
//! two rankings fused by reciprocal ranks.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::fusion::{Fused, RANK_CONSTANT, reciprocal_rank_fusion};
use sembla_operators::{Loan, Neighbours, host, neighbours};

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
            rankings), vector_rank and text_rank (NULL where a ranking lacks the row), and the other columns of the corpus.",
    example: "SELECT rank, text FROM hybrid_search('questions.parquet', query => 'lost card')",
    inputs: &[
        InputDef { texts: Need::Must, ..hits::CORPUS },
        InputDef { texts: Need::Must, ..hits::QUERIES },
    ],
    options: &[
        hits::TOP_K,
        hits::FILTER,
        hits::candidates_k("Rows of each ranking that are fused."),
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
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let options = planning.options;
    Ok(Arc::new(Search {
        top_k: options.count("top_k").unwrap_or(1),
        candidates_k: options.count("candidates_k").unwrap_or(1),
        rrf_k: options.number("rrf_k").unwrap_or(RANK_CONSTANT),
        language: options.text("language").unwrap_or("en").to_string(),
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
