//! CSV and JSON.

pub mod dialect;
pub mod guess;
pub mod merge;
pub mod rows;
pub mod survey;
