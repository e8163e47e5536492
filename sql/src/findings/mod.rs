//! Findings: what is found in texts and vectors, as tables in FROM.
//!
//! ```sql
//! SELECT * FROM paraphrase_mining((SELECT id, text FROM docs WHERE lang = 'en'), top_k => 10)
//! ```
//!
//! The way of a finding: [`rewrite`] makes every input a query before the statement is planned;
//! [`planner`] plans the inputs, lets [`inputs`] find their columns and [`options`] read the
//! options, and makes a [`node`] of the logical plan; [`exec`] runs it: [`collect`] reads (and
//! embeds) the inputs, and [`run`] calls the [`finding`] for each of the [`groups`].
//!
//! *Invariant:* a finding itself sees tables and a host, nothing of queries.

use std::sync::Arc;

use datafusion::prelude::SessionContext;

use crate::functions::Engine;
use declaration::Declaration;

mod collect;
mod declaration;
mod exec;
mod finding;
mod groups;
mod host;
mod ids;
mod inputs;
mod node;
mod options;
mod order;
mod planner;
pub(crate) mod rewrite;
mod roles;
mod run;
mod table;

mod bitext_mining;
mod clustering;
mod clusters;
mod communities;
mod dedup;
mod hits;
mod hybrid_search;
mod index_columns;
mod index_ids;
pub(crate) mod index_rows;
pub(crate) mod index_table;
mod index_vectors;
mod indexed_search;
pub(crate) mod indexes;
mod keys;
mod map_2d;
mod online;
mod online_clusters;
mod online_dedup;
mod online_ids;
mod online_options;
mod online_paraphrases;
mod online_topic_table;
mod online_topics;
mod online_windows;
mod pairs;
mod paraphrase_mining;
mod ranking_metrics;
mod reranker;
mod retrieve_rerank;
mod semantic_join;
mod semantic_search;
mod text_search;
mod topic_options;
mod topic_table;
mod topics;
mod topics_over_time;

pub(crate) use exec::{Planner, in_order};
pub use host::Progress;
pub(crate) use host::{Listener, QueryHost};
pub(crate) use indexes::Indexes;
pub(crate) use node::{FindingNode, Input};
pub use online::OnlineSlots;
pub(crate) use online::SlotForEach;
pub(crate) use order::KeepOrder;
pub(crate) use planner::named;
pub(crate) use roles::Roles;

/// All findings.
static FINDINGS: &[&Declaration] = &[
    &semantic_search::DECLARATION,
    &text_search::DECLARATION,
    &hybrid_search::DECLARATION,
    &retrieve_rerank::DECLARATION,
    &semantic_join::DECLARATION,
    &paraphrase_mining::DECLARATION,
    &bitext_mining::DECLARATION,
    &bitext_mining::ONE_TO_ONE,
    &dedup::DECLARATION,
    &communities::DECLARATION,
    &clusters::DECLARATION,
    &topics::DECLARATION,
    &topic_table::DECLARATION,
    &topics_over_time::DECLARATION,
    &online_clusters::DECLARATION,
    &online_topics::DECLARATION,
    &online_topic_table::DECLARATION,
    &online_dedup::DECLARATION,
    &online_paraphrases::DECLARATION,
    &map_2d::DECLARATION,
    &ranking_metrics::DECLARATION,
];

/// The finding of that name, in lower case.
pub(crate) fn find(name: &str) -> Option<&'static Declaration> {
    let unlisted = [&index_rows::DECLARATION];
    FINDINGS.iter().copied().chain(unlisted).find(|finding| finding.name == name)
}

/// The name, the call and the documentation of each finding.
pub(crate) fn documentation() -> impl Iterator<Item = (&'static str, String, String)> {
    FINDINGS.iter().map(|finding| (finding.name, finding.usage(), finding.documentation()))
}

/// Makes findings known to a session's SQL planner.
///
/// # Errors
/// What DataFusion says.
pub(crate) fn register(
    context: &SessionContext,
    engine: &Engine,
) -> Result<(), datafusion::error::DataFusionError> {
    context.register_relation_planner(Arc::new(planner::FindingPlanner { engine: engine.clone() }))
}
