//! The commands on findings: `search`, `mine`, `dedup`, `cluster`, `topics` and `rerank`.
//!
//! Each makes one SQL statement of its arguments, runs it over the input files as the table
//! `input`, writes the rows, and ends with one line on standard error. What a finding is, and which
//! options it has, is SQL's to say.

pub(crate) mod dedup;
mod described;
pub(crate) mod groups;
pub(crate) mod images;
mod job;
pub(crate) mod mine;
pub(crate) mod rerank;
pub(crate) mod search;
mod statement;
mod tally;

/// The table that the input files are.
const INPUT: &str = "input";
