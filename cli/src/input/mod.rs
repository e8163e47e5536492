//! Input files: which they are, what is in them, and their rows in order.
//!
//! `files` resolves what the user names, `plan` looks at every file before the work begins, `rows`
//! reads, and `table` makes a table of a session of it.

mod files;
mod plan;
mod rows;
mod table;

pub(crate) use files::{InputFile, PARTIAL, resolve};
pub(crate) use plan::{Plan, PlannedFile, Wanted, is_text, scan_all};
pub(crate) use rows::Rows;
pub(crate) use table::{InputTable, Source, register};
