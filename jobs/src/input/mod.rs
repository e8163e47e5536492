//! Input files: which they are, what is in them, and their rows in order.
//!
//! Files are read by the readers, as in SQL. `files` adds what only a command knows, that its
//! output is no input; `plan` finds the columns that are wanted before the work begins, `rows`
//! reads them, `images` tells folders of images from those of tables, `table` makes a table of a
//! session of it, and `condition` leaves out rows of that. `query` reads the rows of a query
//! instead.

/// Gets a line that the user should see, such as a delimiter that was guessed.
pub type Notice<'a> = &'a dyn Fn(&str);

mod columns;
mod condition;
mod files;
mod images;
mod plan;
mod query;
mod rows;
mod table;

pub use columns::{all_columns, text_column};
pub use files::{inspect, resolve};
pub use images::are_images;
pub use plan::{Plan, Wanted};
pub use query::{query_columns, query_rows};
pub use rows::Rows;
pub use sembla_readers::files::{DataFile, PARTIAL};
pub use table::{InputFiles, InputTable, register};
