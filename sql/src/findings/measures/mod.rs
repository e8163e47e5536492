//! What a whole table looks like, and how good results are.

pub(super) mod map_2d;
pub(super) mod ranking_metrics;
