//! The best documents in an index of their chunks.

use arrow::array::ArrayRef;
use sembla_operators::approximate::ApproximateHit;
use sembla_operators::documents::{Documents, FoundChunk, best_documents};
use sembla_operators::{Host, OperatorError, UnitVectors, host};

use super::hits::numbers;
use crate::SqlError;
use crate::columns::keys::Keys;
use crate::engine::indexes::Contents;

/// The search of an index: the best so many chunks of each query, about.
pub(crate) type SearchIndex<'a> =
    dyn Fn(&UnitVectors, usize) -> Result<Vec<Vec<ApproximateHit>>, OperatorError> + 'a;

/// An index whose rows are chunks of documents.
pub(crate) struct IndexedDocuments<'a> {
    pub(crate) contents: &'a Contents,
    /// The column with the document of each row.
    pub(crate) column: usize,
    /// Chunks of each document that are wanted.
    pub(crate) chunks: usize,
}

impl IndexedDocuments<'_> {
    /// The chunks of the best documents of some queries, each with its document's rank.
    ///
    /// # Errors
    /// What the index or the host says.
    pub(crate) fn hits(
        &self,
        vectors: &UnitVectors,
        (wanted, min_score): (usize, f32),
        search: &SearchIndex<'_>,
        host: &dyn Host,
    ) -> Result<Vec<Vec<(u32, ApproximateHit)>>, SqlError> {
        let mut keys = Keys::default();
        let rows = self.contents.vectors.rows();
        let best = best_documents(vectors.rows(), wanted, rows, |queries, asked| {
            host::check(host)?;
            let mut found = search(&vectors.select(queries), asked)?;
            found.iter_mut().for_each(|hits| hits.retain(|hit| hit.score >= min_score));
            self.chunks(&mut keys, found)
        })?;
        if self.chunks > 1 {
            return self.nearest(vectors, &best, min_score, host);
        }
        let hit = |chunk: FoundChunk| ApproximateHit { key: chunk.row, score: chunk.score };
        let of_query = |best: Vec<FoundChunk>| (1..).zip(best.into_iter().map(hit)).collect();
        Ok(best.into_iter().map(of_query).collect())
    }

    /// What was found with the documents that it is of.
    fn chunks(
        &self,
        keys: &mut Keys,
        found: Vec<Vec<ApproximateHit>>,
    ) -> Result<Vec<Vec<FoundChunk>>, SqlError> {
        let all: Vec<u64> = found.iter().flatten().map(|hit| hit.key).collect();
        if all.is_empty() {
            return Ok(vec![Vec::new(); found.len()]);
        }
        let mut documents =
            numbers(keys, &self.contents.gather_column(self.column, &all)?)?.into_iter();
        let mut chunk = |hit: ApproximateHit| {
            let document = documents.next().unwrap_or_default();
            FoundChunk { row: hit.key, document, score: hit.score }
        };
        Ok(found.into_iter().map(|hits| hits.into_iter().map(&mut chunk).collect()).collect())
    }

    /// The nearest chunks of documents, each of which is known by one of its chunks.
    fn nearest(
        &self,
        vectors: &UnitVectors,
        best: &[Vec<FoundChunk>],
        min_score: f32,
        host: &dyn Host,
    ) -> Result<Vec<Vec<(u32, ApproximateHit)>>, SqlError> {
        let mut keys = Keys::default();
        let mut of_rows = Vec::with_capacity(self.contents.len());
        for batch in &self.contents.rows {
            let column: &ArrayRef = batch.column(self.column);
            of_rows.extend(numbers(&mut keys, column)?);
        }
        let documents = Documents::new(of_rows);
        let mut all = Vec::with_capacity(best.len());
        for (query, best) in best.iter().enumerate() {
            let mut hits = Vec::new();
            for (rank, found) in (1..).zip(best) {
                host::check(host)?;
                let row = self.contents.keys.binary_search(&found.row).unwrap_or_default() as u32;
                let rows = documents.rows(documents.of(row).unwrap_or_default());
                let of_document: Vec<u64> = rows
                    .iter()
                    .filter_map(|row| self.contents.keys.get(*row as usize).copied())
                    .collect();
                let own = self.contents.vectors.vectors_of(&of_document, host)?;
                let mut scored: Vec<ApproximateHit> = (0..)
                    .zip(&of_document)
                    .map(|(row, key)| ApproximateHit {
                        key: *key,
                        score: vectors.cosine(query, &own, row),
                    })
                    .filter(|hit| hit.score >= min_score)
                    .collect();
                scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.key.cmp(&b.key)));
                hits.extend(scored.into_iter().take(self.chunks).map(|hit| (rank, hit)));
            }
            all.push(hits);
        }
        Ok(all)
    }
}
