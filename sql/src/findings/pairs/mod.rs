//! Pairs of rows that mean the same, and rows that say what others have said; and rows to train on.

pub(super) mod bitext_mining;
mod columns;
pub(super) mod dedup;
pub(super) mod hard_negatives;
pub(super) mod paraphrase_mining;
