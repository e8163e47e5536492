//! Findings that go from window to window with a state.

pub(super) mod clusters;
pub(super) mod dedup;
mod ids;
pub(super) mod options;
pub(super) mod paraphrases;
pub(super) mod row_topics;
pub(super) mod topic_table;
