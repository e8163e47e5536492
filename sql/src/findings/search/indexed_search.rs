//! `semantic_search` over an index: the nearest rows by its graph, about.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, UInt32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::approximate::SEARCH_EXPANSION;
use sembla_operators::neighbours;

use super::hits;
use crate::SqlError;
use crate::engine::indexes::Index;
use crate::relations::declaration::Planning;
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

/// Queries that are answered together; their results are given before the next are asked.
const QUERIES_TOGETHER: usize = 4096;

#[derive(Debug)]
struct Search {
    index: Arc<Index>,
    top_k: usize,
    expansion: usize,
    min_score: f32,
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
    Ok(Arc::new(Search {
        index: Arc::clone(index),
        top_k: options.count("top_k").unwrap_or(1),
        expansion: options.count("expansion").unwrap_or(SEARCH_EXPANSION),
        min_score: neighbours::check_threshold(options.number("threshold").unwrap_or(-1.0))?,
    }))
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
        for (start, some) in hits::chunks(queries, QUERIES_TOGETHER) {
            let vectors = queries.vectors().select(&some);
            let is_row = contents.is_row();
            let is_row = is_row.as_ref().map(|is_row| is_row as &(dyn Fn(u64) -> bool + Sync));
            let graph = &contents.vectors;
            let found = graph.search_among(&vectors, self.top_k, self.expansion, is_row, host)?;
            let (mut asked, mut ranks, mut keys, mut scores) = (vec![], vec![], vec![], vec![]);
            for (query, found) in (start..).zip(found) {
                let enough = found.into_iter().filter(|hit| hit.score >= self.min_score);
                for (rank, hit) in (1..).zip(enough) {
                    asked.push(query);
                    ranks.push(rank);
                    keys.push(hit.key);
                    scores.push(hit.score);
                }
            }
            let rows = contents.gather(&self.index.schema, &keys)?;
            let mut of_index = rows.columns().iter().cloned();
            let own: [ArrayRef; 2] = [queries.ids(asked)?, Arc::new(UInt32Array::from(ranks))];
            let id = of_index.next();
            let score: ArrayRef = Arc::new(Float32Array::from(scores));
            let columns = own.into_iter().chain(id).chain([score]).chain(of_index).collect();
            emit(Found { columns, rows: Vec::new() })?;
        }
        Ok(())
    }
}
