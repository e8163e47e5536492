//! CSV and JSON.
//!
//! A `buffer` is a window over the text of a file. `csv` and `json` take records from it,
//! one at a time (`records`); a survey looks at them, and [`rows`] appends them to the
//! cells (`cell`) of a batch's columns.

mod buffer;
mod cell;
mod columns;
mod csv;
pub mod dialect;
pub mod guess;
mod json;
pub mod merge;
mod number;
mod records;
pub mod rows;
pub mod survey;
mod temporal;

#[cfg(test)]
mod tests;
