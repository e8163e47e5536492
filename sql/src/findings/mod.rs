//! Findings: what is found in texts and vectors, as tables in FROM.
//!
//! ```sql
//! SELECT * FROM paraphrase_mining((SELECT id, text FROM docs WHERE lang = 'en'), top_k => 10)
//! ```
//!
//! A finding is one file: its declaration and a function from tables to rows. How it is planned and
//! run is in `planning` and `relations`.
//!
//! *Invariant:* a finding itself sees tables and a host, nothing of queries.

use datafusion::sql::sqlparser::ast::ObjectName;

use crate::relations::declaration::Declaration;

mod groups;
mod measures;
mod online;
mod pairs;
pub(crate) mod search;
mod texts;
mod topics;

/// All findings.
static FINDINGS: &[&Declaration] = &[
    &texts::chunk::DECLARATION,
    &search::semantic_search::DECLARATION,
    &search::text_search::DECLARATION,
    &search::hybrid_search::DECLARATION,
    &search::retrieve_rerank::DECLARATION,
    &search::semantic_join::DECLARATION,
    &pairs::paraphrase_mining::DECLARATION,
    &pairs::bitext_mining::DECLARATION,
    &pairs::bitext_mining::ONE_TO_ONE,
    &pairs::hard_negatives::DECLARATION,
    &pairs::dedup::DECLARATION,
    &groups::communities::DECLARATION,
    &groups::clusters::DECLARATION,
    &topics::row_topics::DECLARATION,
    &topics::topic_table::DECLARATION,
    &topics::topics_over_time::DECLARATION,
    &online::clusters::DECLARATION,
    &online::row_topics::DECLARATION,
    &online::topic_table::DECLARATION,
    &online::dedup::DECLARATION,
    &online::paraphrases::DECLARATION,
    &measures::map_2d::DECLARATION,
    &measures::ranking_metrics::DECLARATION,
];

/// The finding of that name, in lower case.
pub(crate) fn find(name: &str) -> Option<&'static Declaration> {
    let unlisted = [&search::index_rows::DECLARATION];
    FINDINGS.iter().copied().chain(unlisted).find(|finding| finding.name == name)
}

/// The finding that an item of FROM names.
pub(crate) fn declaration_of(name: &ObjectName) -> Option<&'static Declaration> {
    match name.0.as_slice() {
        [part] => find(&part.as_ident()?.value.to_lowercase()),
        _ => None,
    }
}

/// All findings, in the order in which they are shown.
pub(crate) fn declarations() -> impl Iterator<Item = &'static Declaration> {
    FINDINGS.iter().copied()
}

/// The name, the call and the documentation of each finding.
pub(crate) fn documentation() -> impl Iterator<Item = (&'static str, String, String)> {
    FINDINGS.iter().map(|finding| (finding.name, finding.usage(), finding.documentation()))
}
