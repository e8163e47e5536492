//! What searches have in common: a corpus and queries in, and hits out: query_id, rank, id, score.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, UInt32Array};
use arrow::datatypes::{DataType, Field};

use crate::SqlError;
use crate::relations::declaration::{InputDef, Need, VECTORS};
use crate::relations::finding::{Emit, Found};
use crate::relations::options::{OptionDef, OptionKind};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

/// What is searched.
pub(crate) const CORPUS: InputDef = InputDef {
    name: "corpus",
    prompt: "document_prompt",
    default_prompt: Some("document"),
    ..VECTORS
};

/// What is looked for.
pub(crate) const QUERIES: InputDef = InputDef {
    name: "queries",
    about: "A table, file or query with the queries; or a single text or vector as query => …",
    prompt: "query_prompt",
    default_prompt: Some("query"),
    single: Some("query"),
    by_row: true,
    ..VECTORS
};

/// The same for searches by words.
pub(crate) const CORPUS_OF_TEXTS: InputDef =
    InputDef { texts: Need::Must, vectors: Need::No, ..CORPUS };

/// The same for searches by words.
pub(crate) const QUERIES_OF_TEXTS: InputDef =
    InputDef { texts: Need::Must, vectors: Need::No, ..QUERIES };

/// How many hits a query gets.
pub(crate) const TOP_K: OptionDef = OptionDef {
    name: "top_k",
    kind: OptionKind::Count { least: 1, default: Some(10) },
    about: "Hits per query.",
};

/// Which rows of the corpus are searched.
pub(crate) const FILTER: OptionDef = OptionDef {
    name: "filter",
    kind: OptionKind::Condition,
    about: "A condition on the columns of the corpus, such as filter => lang = 'en'; only rows that meet it are searched.",
};

/// A row of the corpus that a query found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    /// The row of the query.
    pub(crate) query: u32,
    /// Its place among the query's hits, from 1.
    pub(crate) rank: u32,
    /// The row of the corpus.
    pub(crate) row: u32,
    /// How well it fits; what that means is the search's.
    pub(crate) score: f32,
}

/// The hits of a query from what it found, best first: rows and scores.
pub(crate) fn ranked(
    query: u32,
    found: impl IntoIterator<Item = (u32, f32)>,
) -> impl Iterator<Item = Hit> {
    found.into_iter().zip(1..).map(move |((row, score), rank)| Hit { query, rank, row, score })
}

/// How many rows of a first stage the second looks at.
pub(crate) const fn candidates_k(about: &'static str) -> OptionDef {
    OptionDef {
        name: "candidates_k",
        kind: OptionKind::Count { least: 1, default: Some(100) },
        about,
    }
}

/// The columns.
pub(crate) fn columns(inputs: &[Option<InputTypes>]) -> Vec<Field> {
    let [Some(corpus), Some(queries)] = inputs else { return Vec::new() };
    vec![
        queries.id_field("query_id"),
        column("rank", DataType::UInt32),
        corpus.id_field("id"),
        column("score", DataType::Float32),
    ]
}

/// Rows of queries in chunks: the first row of each, and all its rows.
pub(crate) fn chunks(queries: &Table, size: usize) -> impl Iterator<Item = (u32, Vec<u32>)> {
    let rows = queries.rows();
    (0..rows).step_by(size.max(1)).map(move |start| {
        let end = rows.min(start + size);
        (start as u32, (start as u32..end as u32).collect())
    })
}

/// Gives hits in their order. `more` are further columns of the search, one value for each hit.
///
/// # Errors
/// What `emit` says.
pub(crate) fn give(
    corpus: &Table,
    queries: &Table,
    hits: &[Hit],
    more: Vec<ArrayRef>,
    emit: &mut Emit<'_>,
) -> Result<(), SqlError> {
    let mut columns: Vec<ArrayRef> = vec![
        queries.ids(hits.iter().map(|hit| hit.query))?,
        Arc::new(UInt32Array::from_iter_values(hits.iter().map(|hit| hit.rank))),
        corpus.ids(hits.iter().map(|hit| hit.row))?,
        Arc::new(Float32Array::from_iter_values(hits.iter().map(|hit| hit.score))),
    ];
    columns.extend(more);
    emit(Found { columns, rows: hits.iter().map(|hit| hit.row).collect() })
}
