//! Which rows of an index may be found, and how they are searched.
//!
//! A condition is decided for all rows first. Where it leaves many, the walk through the graph
//! passes over the others, which still lead it on; where it leaves few, those are compared one by
//! one, which is exact and takes less than a walk past so many others.

use sembla_operators::approximate::ApproximateHit;
use sembla_operators::host::Loan;
use sembla_operators::{OperatorError, UnitVectors, neighbours};

use crate::SqlError;
use crate::engine::indexes::Contents;
use crate::relations::finding::FindingHost;
use crate::relations::row_filter::RowFilter;

/// A row that is compared costs about so much less than one that a walk comes by.
const COMPARED_PER_VISITED: usize = 8;

/// Rows that may be found.
pub(crate) enum WantedRows<'h> {
    /// Those that there are.
    All,
    /// Those whose keys are marked.
    Marked(Vec<bool>),
    /// Few, with their keys and vectors, and the memory of those.
    Few { keys: Vec<u64>, vectors: UnitVectors, _loan: Loan<'h> },
}

impl<'h> WantedRows<'h> {
    /// The rows that a condition leaves, for a search with so many candidates.
    ///
    /// # Errors
    /// What evaluating the condition says, and the host.
    pub(crate) fn of(
        contents: &Contents,
        filter: Option<&RowFilter>,
        expansion: usize,
        host: &'h dyn FindingHost,
    ) -> Result<Self, SqlError> {
        let Some(filter) = filter else { return Ok(Self::All) };
        let mut keys = Vec::new();
        let mut all = contents.keys.iter();
        for batch in &contents.rows {
            let marks = filter.marks(batch)?;
            let met = marks.iter().zip(all.by_ref()).filter(|(met, _)| **met);
            keys.extend(met.map(|(_, key)| *key));
        }
        let total = contents.vectors.rows();
        // A walk visits some expansion × total / wanted rows until it has enough.
        let visited = expansion.saturating_mul(total) / keys.len().max(1);
        if keys.len() <= visited.saturating_mul(COMPARED_PER_VISITED) {
            let bytes = keys.len() * contents.vectors.dimension() * size_of::<f32>();
            let loan = Loan::new(host, bytes)?;
            let vectors = contents.vectors.vectors_of(&keys, host)?;
            return Ok(Self::Few { keys, vectors, _loan: loan });
        }
        let mut marks = vec![false; total];
        for key in keys {
            if let Some(mark) = usize::try_from(key).ok().and_then(|key| marks.get_mut(key)) {
                *mark = true;
            }
        }
        Ok(Self::Marked(marks))
    }

    /// The best `k` of them for each query.
    ///
    /// # Errors
    /// What the index and the host say.
    pub(crate) fn search(
        &self,
        contents: &Contents,
        queries: &UnitVectors,
        (k, expansion): (usize, usize),
        host: &dyn FindingHost,
    ) -> Result<Vec<Vec<ApproximateHit>>, OperatorError> {
        let graph = &contents.vectors;
        match self {
            Self::All => {
                let is_row = contents.is_row();
                let is_row = is_row.as_ref().map(|is_row| is_row as &(dyn Fn(u64) -> bool + Sync));
                graph.search_among(queries, k, expansion, is_row, host)
            }
            Self::Marked(marks) => {
                let is_wanted = |key: u64| {
                    let mark = usize::try_from(key).ok().and_then(|key| marks.get(key));
                    mark.copied().unwrap_or_default()
                };
                graph.search_among(queries, k, expansion, Some(&is_wanted), host)
            }
            Self::Few { keys, .. } if keys.is_empty() => Ok(vec![Vec::new(); queries.rows()]),
            Self::Few { keys, vectors, .. } => {
                let found = neighbours::top_k(queries, vectors, k.min(keys.len()), -1.0, host)?;
                let hits = (0..found.rows()).map(|query| {
                    let hits = found.of(query).iter().filter_map(|hit| {
                        let key = *keys.get(hit.row as usize)?;
                        Some(ApproximateHit { key, score: hit.score })
                    });
                    hits.collect()
                });
                Ok(hits.collect())
            }
        }
    }
}
