//! From a parsed statement to a plan: named arguments, what stands in FROM, the order of rows, and
//! physical plans.
//!
//! It alone knows findings and windows both.

mod arguments;
mod column_looks;
mod column_names;
mod comparable;
mod condition;
mod copy;
mod findings;
mod from_items;
mod inputs;
mod order;
mod ordered;
mod physical;
mod query;
mod rewrite;
mod show_functions;
mod stack;
mod unwound;

pub(crate) use arguments::place;
pub(crate) use findings::register;
pub(crate) use from_items::Known;
pub(crate) use order::KeepOrder;
pub(crate) use physical::Planner;
pub(crate) use query::{plan, query};
pub(crate) use stack::{deeply, on_deep_stack};
pub use stack::{physical, run, stream};
