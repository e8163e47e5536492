//! Searches: the rows that mean most nearly what a query says.

mod hits;
pub(super) mod hybrid_search;
pub(crate) mod index_rows;
mod indexed_documents;
mod indexed_search;
pub(super) mod reranker;
pub(super) mod retrieve_rerank;
pub(super) mod semantic_join;
pub(super) mod semantic_search;
pub(super) mod text_search;
mod wanted_rows;
