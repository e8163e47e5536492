//! Topics: groups of texts with the words that tell them from others.

pub(super) mod options;
pub(super) mod row_topics;
pub(super) mod topic_table;
pub(super) mod topics_over_time;
