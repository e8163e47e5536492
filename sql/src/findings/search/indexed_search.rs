//! `semantic_search` over an index: the nearest rows by its graph, about.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, UInt32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::approximate::{ApproximateHit, SEARCH_EXPANSION};
use sembla_operators::{UnitVectors, neighbours};

use super::hits::{self, GROUP_BY};
use super::indexed_documents::IndexedDocuments;
use super::wanted_rows::WantedRows;
use crate::SqlError;
use crate::columns::provenance::different;
use crate::engine::indexes::{Contents, Index};
use crate::relations::declaration::Planning;
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::roles::{InputTypes, column};
use crate::relations::row_filter::RowFilter;
use crate::relations::table::Table;
use crate::syntax::names::columns_hint;

/// Queries that are answered together; their results are given before the next are asked.
const QUERIES_TOGETHER: usize = 4096;

#[derive(Debug)]
struct Search {
    index: Arc<Index>,
    top_k: usize,
    expansion: usize,
    min_score: f32,
    /// What rows have to meet, if something.
    filter: Option<Arc<RowFilter>>,
    /// The column of the index with the document of a row, and how many chunks of each document
    /// are wanted.
    documents: Option<(usize, usize)>,
}

/// The search for an index in the place of a corpus.
///
/// # Errors
/// Options that mean nothing to an index.
pub(crate) fn plan(
    planning: &Planning<'_>,
    index: &Arc<Index>,
) -> Result<Arc<dyn Finding>, SqlError> {
    let options = planning.options;
    if options.text("candidates").is_some_and(|candidates| candidates != "exact") {
        return Err(SqlError::Statement(
            "candidates has no effect on an index, which chooses its own; expansion => … makes it search further".into(),
        ));
    }
    let queries = planning.inputs.get(1).and_then(Option::as_ref);
    let dimension = index.read().vectors.dimension();
    if let Some(DataType::FixedSizeList(_, size)) = queries.and_then(|q| q.roles.vector.as_ref())
        && usize::try_from(*size) != Ok(dimension)
    {
        return Err(SqlError::Statement(format!(
            "the index has vectors of {dimension} components, but the queries have {size}; use one model for both"
        )));
    }
    let queries = queries.map(|queries| &queries.provenance);
    if let Some((model, another)) = queries.and_then(|own| different(&index.provenance(), own)) {
        return Err(SqlError::Statement(format!(
            "the index has vectors of {model}, but the queries have those of {another}; use one model for both, with model => '…'"
        )));
    }
    Ok(Arc::new(Search {
        index: Arc::clone(index),
        top_k: options.count("top_k").unwrap_or(1),
        expansion: options.count("expansion").unwrap_or(SEARCH_EXPANSION),
        min_score: neighbours::check_threshold(options.number("threshold").unwrap_or(-1.0))?,
        filter: planning.filter.clone(),
        documents: documents(planning, index)?,
    }))
}

/// The column of the index that `group_by` names, and how many chunks of each document are wanted.
fn documents(planning: &Planning<'_>, index: &Index) -> Result<Option<(usize, usize)>, SqlError> {
    let Some(chunks) = hits::chunks_per_document(planning)? else { return Ok(None) };
    let name = planning.names.iter().find(|(option, _)| *option == GROUP_BY.name);
    let name = name.map(|(_, name)| name.as_str()).unwrap_or_default();
    let columns: Vec<&str> =
        index.schema.fields().iter().map(|field| field.name().as_str()).collect();
    match columns.iter().position(|column| *column == name) {
        Some(column) => Ok(Some((column, chunks))),
        None => Err(SqlError::Statement(format!(
            "the index has no column '{name}'; {}",
            columns_hint(GROUP_BY.name, name, &columns)
        ))),
    }
}

impl Finding for Search {
    /// The columns of the index are the finding's own, since there is no input to carry them.
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [_, Some(queries)] = inputs else { return Vec::new() };
        let mut of_index = self.index.schema.fields().iter().map(|field| field.as_ref().clone());
        let own = [queries.id_field("query_id"), column("rank", DataType::UInt32)];
        let id = of_index.next();
        let score = column("score", DataType::Float32);
        own.into_iter().chain(id).chain([score]).chain(of_index).collect()
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [_, Some(queries)] = tables else { return Ok(()) };
        let contents = self.index.read();
        // Queries without any vector have no dimension, and find nothing.
        let vectors = queries.vectors();
        if !(0..vectors.rows()).any(|row| vectors.has_direction(row)) {
            return Ok(());
        }
        let wanted = WantedRows::of(&contents, self.filter.as_deref(), self.expansion, host)?;
        for (start, some) in hits::chunks(queries, QUERIES_TOGETHER) {
            let vectors = queries.vectors().select(&some);
            let search = |vectors: &UnitVectors, k: usize| {
                wanted.search(&contents, vectors, (k, self.expansion), host)
            };
            let found = match self.documents {
                Some((column, chunks)) => {
                    let documents = IndexedDocuments { contents: &contents, column, chunks };
                    documents.hits(&vectors, (self.top_k, self.min_score), &search, host)?
                }
                None => search(&vectors, self.top_k)?
                    .into_iter()
                    .map(|hits| {
                        let enough = hits.into_iter().filter(|hit| hit.score >= self.min_score);
                        (1..).zip(enough).collect()
                    })
                    .collect(),
            };
            emit(self.found(&contents, queries, start, &found)?)?;
        }
        Ok(())
    }
}

impl Search {
    /// The rows of the result for the hits of some queries, each with its rank.
    fn found(
        &self,
        contents: &Contents,
        queries: &Table,
        start: u32,
        found: &[Vec<(u32, ApproximateHit)>],
    ) -> Result<Found, SqlError> {
        let hits = || {
            (start..).zip(found).flat_map(|(query, hits)| hits.iter().map(move |hit| (query, hit)))
        };
        let keys: Vec<u64> = hits().map(|(_, (_, hit))| hit.key).collect();
        let rows = contents.gather(&self.index.schema, &keys)?;
        let mut of_index = rows.columns().iter().cloned();
        let own: [ArrayRef; 2] = [
            queries.ids(hits().map(|(query, _)| query))?,
            Arc::new(UInt32Array::from_iter_values(hits().map(|(_, (rank, _))| *rank))),
        ];
        let id = of_index.next();
        let scores = hits().map(|(_, (_, hit))| hit.score);
        let score: ArrayRef = Arc::new(Float32Array::from_iter_values(scores));
        let columns = own.into_iter().chain(id).chain([score]).chain(of_index).collect();
        Ok(Found { columns, rows: Vec::new() })
    }
}
