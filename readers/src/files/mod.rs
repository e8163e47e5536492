//! Which files a name means, where they lie, what they hold together, and their rows in order.
//!
//! 1. [`list`] turns a path, folder, glob or address into [`DataFile`]s in a fixed order.
//! 2. [`Table::open`] looks into each (a Parquet footer, a [`survey`](crate::survey) of a text),
//!    and unites their columns by name.
//! 3. [`TableRows`] reads all rows in order, from any row on.
//!
//! - *Invariant:* files come in the order of their whole paths, byte by byte, rows in the order of
//!   the file; so a row number means the same in every run.
//! - *Invariant:* what exists by the very name that is given is meant literally.
//! - *Absent:* queries. A library that plans reads of its own takes the parts of a [`Table`].

mod address;
pub mod glob;
pub mod hive;
mod listing;
mod local;
mod looks;
pub mod names;
pub mod parquet;
mod rows;
pub mod schema;
pub mod store;
mod table;

pub use listing::{DataFile, PARTIAL, Place, blobs, list};
pub use looks::{Looks, looks, vector_type, vectors_of};
pub use names::{Format, format_of, known_endings};
pub use rows::{TableRows, fitted, repeated};
pub use table::{Content, Surveys, Table, TableFile, TableOptions};
