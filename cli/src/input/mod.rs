//! Input files: which they are, what is in them, and their rows in order.
//!
//! Files are read by the readers, as in SQL. `files` adds what only a command knows, that its
//! output is no input; `plan` finds the columns that are wanted before the work begins, `rows`
//! reads them, and `table` makes a table of a session of it.

mod files;
mod plan;
mod rows;
mod table;

pub(crate) use files::{look_into, resolve};
pub(crate) use plan::{Plan, Wanted};
pub(crate) use rows::Rows;
pub(crate) use sembla_readers::files::{DataFile, PARTIAL};
pub(crate) use table::{InputTable, Source, register};
