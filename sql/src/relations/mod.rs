//! What stands in FROM and is made of other relations: its declaration, its options, the roles of
//! its inputs' columns, and how it runs.
//!
//! The way of a finding: `planning` makes every input a query and finds their columns by
//! [`roles`], reads the [`options`], and makes a [`node`] of the logical plan; [`exec`] runs it:
//! [`collect`] reads (and embeds) the inputs, and [`run`] calls the [`finding`] for each of the
//! [`groups`]. What keeps a state from window to window is in [`online`].

use datafusion::sql::sqlparser::ast::{Ident, TableAlias};

mod collect;
pub(crate) mod declaration;
pub(crate) mod exec;
pub(crate) mod finding;
mod groups;
mod ids;
mod in_order;
mod node;
pub(crate) mod online;
pub(crate) mod options;
pub(crate) mod roles;
pub(crate) mod row_filter;
mod run;
mod stream_node;
pub(crate) mod table;

pub(crate) use collect::InputExec;
pub(crate) use collect::differ;
pub(crate) use in_order::in_order;
pub(crate) use node::{FindingNode, Input};
pub use online::OnlineSlots;
pub(crate) use online::SlotForEach;
pub(crate) use roles::Roles;
pub(crate) use stream_node::{StreamInput, StreamNode, stream_node};

/// The alias that names a relation.
pub(crate) fn named(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::new(name), columns: Vec::new(), at: None }
}
