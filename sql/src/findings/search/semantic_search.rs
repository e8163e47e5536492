//! `semantic_search(corpus, query => 'text' | queries => …)`: the rows of a corpus that are nearest
//! to each query.

use std::sync::Arc;

use arrow::datatypes::Field;
use sembla_operators::documents::FoundChunk;
use sembla_operators::search::{self, CodedCorpus, Coding};
use sembla_operators::{Host, Loan, Neighbours, UnitVectors, host, neighbours};

use super::{hits, indexed_search};
use crate::SqlError;
use crate::relations::declaration::{Declaration, Planning};
use crate::relations::finding::{Emit, Finding, FindingHost};
use crate::relations::options::{OptionDef, OptionKind, cosine};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

/// Queries that are answered together; their results are given before the next are asked.
const QUERIES_TOGETHER: usize = 4096;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "semantic_search",
    about: "The top_k rows of a corpus that are nearest in meaning to a query: query_id, rank (from 1), id, score (cosine), \
            and the other columns of the corpus. Exact, except over an index. With group_by, the top_k documents.",
    example: "SELECT rank, score, text FROM semantic_search('questions.parquet', query => 'my card is lost', top_k => 3)",
    inputs: &[hits::CORPUS, hits::QUERIES],
    options: &[
        hits::TOP_K,
        hits::FILTER,
        hits::GROUP_BY,
        hits::CHUNKS_PER_DOCUMENT,
        OptionDef {
            name: "threshold",
            kind: cosine(None),
            about: "Leave out rows with a lower score.",
        },
        OptionDef {
            name: "candidates",
            kind: OptionKind::Choice { of: &["exact", "int8", "binary"], default: Some("exact") },
            about: "'int8' and 'binary' choose candidates by quantised vectors, then score those exactly.",
        },
        OptionDef {
            name: "oversample",
            kind: OptionKind::Count { least: 1, default: Some(4) },
            about: "Candidates to score exactly, as a multiple of top_k.",
        },
        OptionDef {
            name: "expansion",
            kind: OptionKind::Count { least: 1, default: None },
            about: "For an index: size of the candidate list; larger is more accurate and slower.",
        },
    ],
    carries: true,
    takes_index: true,
    plan,
};

#[derive(Debug)]
struct Search {
    top_k: usize,
    min_score: f32,
    /// How candidates are chosen, and how many for each row that is wanted; `None` compares all.
    candidates: Option<(Coding, usize)>,
    /// How many chunks of each document are wanted; `None` where hits are rows.
    chunks_per_document: Option<usize>,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    if let Some(index) = planning.index {
        return indexed_search::plan(planning, index);
    }
    if planning.options.count("expansion").is_some() {
        return Err(SqlError::Statement(
            "expansion is for searches in a whole index; leave it out here, where all rows are compared".into(),
        ));
    }
    let top_k = planning.options.count("top_k").unwrap_or(1);
    let min_score =
        neighbours::check_threshold(planning.options.number("threshold").unwrap_or(-1.0))?;
    let oversample = planning.options.count("oversample").unwrap_or(1);
    let candidates = match planning.options.text("candidates") {
        Some("int8") => Some((Coding::Int8, oversample)),
        Some("binary") => Some((Coding::Binary, oversample)),
        _ => None,
    };
    let chunks_per_document = hits::chunks_per_document(planning)?;
    if candidates.is_some() && chunks_per_document.is_some() {
        return Err(SqlError::Statement(
            "group_by compares all rows exactly; leave out candidates, or search an index".into(),
        ));
    }
    Ok(Arc::new(Search { top_k, min_score, candidates, chunks_per_document }))
}

impl Finding for Search {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        hits::columns(inputs)
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(corpus), Some(queries)] = tables else { return Ok(()) };
        if let Some(chunks) = self.chunks_per_document {
            return self.documents(corpus, queries, chunks, host, emit);
        }
        let coded = self.candidates.map(|(coding, _)| code(corpus.vectors(), coding, host));
        let coded = coded.transpose()?;
        for (start, some) in hits::chunks(queries, QUERIES_TOGETHER) {
            host::check(host)?;
            let _loan = Loan::new(host, Neighbours::bytes(some.len(), self.top_k))?;
            let vectors = queries.vectors().select(&some);
            let found = match &coded {
                Some((coded, _)) => coded.search(&vectors, &self.coded_options(), host)?,
                None => {
                    neighbours::top_k(&vectors, corpus.vectors(), self.top_k, self.min_score, host)?
                }
            };
            let mut rows = Vec::new();
            for place in 0..found.rows() {
                let found = found.of(place).iter().map(|hit| (hit.row, hit.score));
                rows.extend(hits::ranked(start + place as u32, found));
            }
            hits::give(corpus, queries, &rows, Vec::new(), emit)?;
        }
        Ok(())
    }
}

impl Search {
    /// Gives the nearest documents.
    fn documents(
        &self,
        corpus: &Table,
        queries: &Table,
        chunks: usize,
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let documents = hits::documents(corpus)?;
        for (start, some) in hits::chunks(queries, QUERIES_TOGETHER) {
            let vectors = queries.vectors().select(&some);
            let wanted = (self.top_k, self.min_score);
            let best = hits::nearest_documents(&vectors, corpus, &documents, wanted, host)?;
            let mut rows = Vec::new();
            for (query, best) in best.iter().enumerate() {
                let of_document = |found: &FoundChunk| {
                    let query = (&vectors, query);
                    let (corpus, least) = (corpus.vectors(), self.min_score);
                    documents.nearest(found.document, query, corpus, chunks, least)
                };
                let found = best.iter().map(of_document);
                rows.extend(hits::ranked_documents(start + query as u32, found));
            }
            hits::give(corpus, queries, &rows, Vec::new(), emit)?;
        }
        Ok(())
    }

    fn coded_options(&self) -> search::SearchOptions {
        let oversample = self.candidates.map_or(1, |(_, oversample)| oversample);
        search::SearchOptions { k: self.top_k, min_score: self.min_score, oversample }
    }
}

/// A corpus with its codes, and the memory of its vectors, which are copied.
fn code<'h>(
    vectors: &UnitVectors,
    coding: Coding,
    host: &'h dyn Host,
) -> Result<(CodedCorpus<'h>, Loan<'h>), SqlError> {
    let loan = Loan::new(host, size_of_val(vectors.values()))?;
    Ok((CodedCorpus::new(vectors.clone(), coding, host)?, loan))
}
