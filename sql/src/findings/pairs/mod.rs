//! Pairs of rows that mean the same, and rows that say what others have said.

pub(super) mod bitext_mining;
mod columns;
pub(super) mod dedup;
pub(super) mod paraphrase_mining;
