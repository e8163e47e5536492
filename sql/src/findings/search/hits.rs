//! What searches have in common: a corpus and queries in, and hits out: query_id, rank, id, score.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, UInt32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::documents::{Documents, FoundChunk, best_documents};
use sembla_operators::{Host, Loan, Neighbour, Neighbours, UnitVectors, host, neighbours};

use crate::SqlError;
use crate::columns::keys::Keys;
use crate::relations::declaration::{InputDef, Need, Planning, VECTORS};
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

/// The column of a corpus of chunks that says which document each is of.
pub(crate) const GROUP_BY: OptionDef = OptionDef {
    name: "group_by",
    kind: OptionKind::Column,
    about: "Column with the document that a row is a chunk of: the hits are the best top_k documents, each as good as its best \
            chunk. rank is the document's.",
};

/// How many rows of a document are shown.
pub(crate) const CHUNKS_PER_DOCUMENT: OptionDef = OptionDef {
    name: "chunks_per_document",
    kind: OptionKind::Count { least: 1, default: None },
    about: "With group_by: rows of each document, its best ones; 1 by default.",
};

/// How many chunks of each document are wanted; `None` where hits are rows.
///
/// # Errors
/// Chunks of documents without a column of documents.
pub(crate) fn chunks_per_document(planning: &Planning<'_>) -> Result<Option<usize>, SqlError> {
    let (name, of_index) = (GROUP_BY.name, planning.names.iter().any(|(n, _)| *n == GROUP_BY.name));
    let corpus = planning.inputs.first().and_then(Option::as_ref);
    let is_grouped = corpus.map_or(of_index, |corpus| corpus.extra(name).is_some());
    let count = planning.options.count(CHUNKS_PER_DOCUMENT.name);
    match (is_grouped, count) {
        (false, Some(_)) => Err(SqlError::Statement(
            "chunks_per_document needs group_by => the column with the document of each row".into(),
        )),
        (false, None) => Ok(None),
        (true, count) => Ok(Some(count.unwrap_or(1))),
    }
}

/// The documents that the rows of a corpus are chunks of. NULL is one document.
///
/// # Errors
/// When values can't be compared.
pub(crate) fn documents(corpus: &Table) -> Result<Documents, SqlError> {
    Ok(Documents::new(numbers(&mut Keys::default(), &corpus.whole(GROUP_BY.name)?)?))
}

/// The numbers of documents, from 1; NULL has 0.
pub(crate) fn numbers(keys: &mut Keys, column: &ArrayRef) -> Result<Vec<u32>, SqlError> {
    let numbers = keys.of(column)?.into_iter();
    Ok(numbers.map(|number| number.map_or(0, |number| number + 1)).collect())
}

/// The hits of a query by documents, best first: of each its chunks, best first.
pub(crate) fn ranked_documents(
    query: u32,
    documents: impl IntoIterator<Item = Vec<Neighbour>>,
) -> impl Iterator<Item = Hit> {
    documents.into_iter().zip(1..).flat_map(move |(chunks, rank)| {
        let hit = move |chunk: Neighbour| Hit { query, rank, row: chunk.row, score: chunk.score };
        chunks.into_iter().map(hit)
    })
}

/// The best documents by the vectors of their chunks, for some queries.
///
/// # Errors
/// What the host says.
pub(crate) fn nearest_documents(
    vectors: &UnitVectors,
    corpus: &Table,
    documents: &Documents,
    (wanted, min_score): (usize, f32),
    host: &dyn Host,
) -> Result<Vec<Vec<FoundChunk>>, SqlError> {
    best_documents(vectors.rows(), wanted, corpus.rows(), |queries, asked| {
        host::check(host)?;
        let _loan = Loan::new(host, 2 * Neighbours::bytes(queries.len(), asked))?;
        let some = vectors.select(queries);
        let found = neighbours::top_k(&some, corpus.vectors(), asked, min_score, host)?;
        let chunk = |hit: &Neighbour| {
            let document = documents.of(hit.row).unwrap_or_default();
            FoundChunk { row: u64::from(hit.row), document, score: hit.score }
        };
        Ok((0..found.rows()).map(|query| found.of(query).iter().map(chunk).collect()).collect())
    })
}

/// A row of the corpus that a query found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    /// The row of the query.
    pub(crate) query: u32,
    /// Its place among the query's hits, from 1; its document's, where documents are found.
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
