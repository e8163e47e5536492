//! `text_search(corpus, query => 'text' | queries => …)`: the rows of a corpus that have a query's
//! words, by BM25.

use std::sync::Arc;

use arrow::datatypes::Field;
use sembla_operators::documents::{Documents, FoundChunk, best_documents};
use sembla_operators::text_index::{TextHit, TextIndex, TextIndexOptions};
use sembla_operators::{Host, Loan, Neighbour, Neighbours, host};

use super::hits::{self, Hit};
use crate::SqlError;
use crate::relations::declaration::{Declaration, Planning};
use crate::relations::finding::{Emit, Finding, FindingHost};
use crate::relations::options::{OptionDef, OptionKind};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

/// Queries that are answered together; their results are given before the next are asked.
const QUERIES_TOGETHER: usize = 1024;

/// The language of the corpus.
pub(crate) const LANGUAGE: OptionDef = OptionDef {
    name: "language",
    kind: OptionKind::Text,
    about: "Language of the texts, such as 'en', for stemming; English by default.",
};

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "text_search",
    about: "The top_k rows of a corpus that best match the words of a query: query_id, rank (from 1), id, score (BM25), and the other \
            columns of the corpus. With group_by, the top_k documents.",
    example: "SELECT rank, score, text FROM text_search('questions.parquet', query => 'lost card')",
    inputs: &[hits::CORPUS_OF_TEXTS, hits::QUERIES_OF_TEXTS],
    options: &[hits::TOP_K, hits::FILTER, hits::GROUP_BY, hits::CHUNKS_PER_DOCUMENT, LANGUAGE],
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Search {
    top_k: usize,
    language: String,
    /// How many chunks of each document are wanted; `None` where hits are rows.
    chunks_per_document: Option<usize>,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    Ok(Arc::new(Search {
        top_k: planning.options.count("top_k").unwrap_or(1),
        language: planning.options.text("language").unwrap_or("en").to_string(),
        chunks_per_document: hits::chunks_per_document(planning)?,
    }))
}

/// An index of a corpus, and the memory that it takes.
///
/// # Errors
/// What the index or the host says.
pub(crate) fn index<'h>(
    corpus: &Table,
    language: &str,
    host: &'h dyn Host,
) -> Result<(TextIndex, Loan<'h>), SqlError> {
    let options = TextIndexOptions { language: language.to_string(), ..Default::default() };
    let index = TextIndex::build(&corpus.texts(), &options, host)?;
    let loan = Loan::new(host, index.bytes()?)?;
    Ok((index, loan))
}

/// The best documents by the words of their chunks, for some queries.
///
/// # Errors
/// What the host says.
pub(crate) fn best_by_text(
    index: &TextIndex,
    asked: &[&str],
    documents: &Documents,
    wanted: usize,
    host: &dyn Host,
) -> Result<Vec<Vec<FoundChunk>>, SqlError> {
    best_documents(asked.len(), wanted, documents.rows_len(), |queries, k| {
        host::check(host)?;
        let _loan = Loan::new(host, 2 * Neighbours::bytes(queries.len(), k))?;
        let some: Vec<&str> =
            queries.iter().filter_map(|query| asked.get(*query as usize).copied()).collect();
        let found = index.search_all(&some, k, host)?.into_iter();
        Ok(found.map(|hits| hits.iter().map(|hit| chunk(documents, hit)).collect()).collect())
    })
}

fn chunk(documents: &Documents, hit: &TextHit) -> FoundChunk {
    let document = documents.of(hit.row).unwrap_or_default();
    FoundChunk { row: u64::from(hit.row), document, score: hit.score }
}

impl Search {
    /// Gives the documents whose chunks have the words.
    fn documents(
        &self,
        corpus: &Table,
        queries: &Table,
        chunks: usize,
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let (index, _loan) = index(corpus, &self.language, host)?;
        let documents = hits::documents(corpus)?;
        let texts = queries.texts();
        for (query, text) in (0..).zip(&texts) {
            host::check(host)?;
            let best = best_by_text(&index, &[text], &documents, self.top_k, host)?;
            // Further chunks of a document may be anywhere in the ranking.
            let all =
                if chunks > 1 { index.search(text, corpus.rows(), host)? } else { Vec::new() };
            let of_document = |best: &FoundChunk| -> Vec<Neighbour> {
                let first = Neighbour { row: best.row as u32, score: best.score };
                let others = all.iter().filter(|hit| {
                    hit.row != first.row && documents.of(hit.row) == Some(best.document)
                });
                let others = others.map(|hit| Neighbour { row: hit.row, score: hit.score });
                std::iter::once(first).chain(others).take(chunks).collect()
            };
            let found = best.iter().flatten().map(of_document);
            let rows: Vec<Hit> = hits::ranked_documents(query, found).collect();
            hits::give(corpus, queries, &rows, Vec::new(), emit)?;
        }
        Ok(())
    }
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
        let (index, _loan) = index(corpus, &self.language, host)?;
        let texts = queries.texts();
        for (start, some) in hits::chunks(queries, QUERIES_TOGETHER) {
            host::check(host)?;
            let asked: Vec<&str> =
                some.iter().filter_map(|row| texts.get(*row as usize).copied()).collect();
            let found = index.search_all(&asked, self.top_k, host)?;
            let mut rows = Vec::new();
            for (query, found) in (start..).zip(found) {
                let found = found.into_iter().map(|hit| (hit.row, hit.score));
                rows.extend(hits::ranked(query, found));
            }
            hits::give(corpus, queries, &rows, Vec::new(), emit)?;
        }
        Ok(())
    }
}
