//! What the statements of our own do, and what DataFusion's may not.

use datafusion::dataframe::DataFrame;

use crate::streams::StreamPlan;

pub(crate) mod indexes;
pub(crate) mod insert;
pub(crate) mod models;
pub(crate) mod prepared;
pub(crate) mod streams;
pub(crate) mod to_sink;
pub(crate) mod train;

/// A number of rows for people.
fn counted(rows: usize) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

/// What came of a statement.
pub enum Outcome {
    /// A result that has not run yet; collect it or stream it.
    Rows(DataFrame),
    /// The statement is done; this is one line to tell the user.
    Done(String),
    /// A pipeline that has not run yet.
    Stream(Box<StreamPlan>),
}
