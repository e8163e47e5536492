//! `text_search(corpus, query => 'text' | queries => …)`: the rows of a corpus that have a query's
//! words, by BM25.

use std::sync::Arc;

use arrow::datatypes::Field;
use sembla_operators::text_index::{TextIndex, TextIndexOptions};
use sembla_operators::{Host, Loan, host};

use super::hits;
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
            columns of the corpus.",
    example: "SELECT rank, score, text FROM text_search('questions.parquet', query => 'lost card')",
    inputs: &[hits::CORPUS_OF_TEXTS, hits::QUERIES_OF_TEXTS],
    options: &[hits::TOP_K, hits::FILTER, LANGUAGE],
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Search {
    top_k: usize,
    language: String,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    Ok(Arc::new(Search {
        top_k: planning.options.count("top_k").unwrap_or(1),
        language: planning.options.text("language").unwrap_or("en").to_string(),
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
