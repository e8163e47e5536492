//! What streams must know of a node of a plan that is none of DataFusion's: which of its inputs may
//! be a stream, how windows go through it, and how it is put over other inputs.

use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};

use super::node::{FindingNode, Input};

/// A node that can be part of a query over streams.
pub(crate) trait StreamNode {
    /// Its name as users know it, for messages.
    fn name(&self) -> &'static str;

    /// The inputs that were given, in their order.
    fn inputs(&self) -> Vec<StreamInput<'_>>;

    /// The positions of the start and the end of windows in the result, for a node that goes from
    /// window to window.
    fn windows(&self) -> Option<(usize, usize)>;

    /// The column of the first input that a column of the result is, as it is.
    fn made_of(&self, output: usize) -> Option<usize>;

    /// Whether it hands on columns of its first input.
    fn hands_on(&self) -> bool;

    /// How many columns the result has.
    fn width(&self) -> usize;

    /// The node over other inputs, as many as it has.
    ///
    /// # Errors
    /// When two columns would have the same name.
    fn over(&self, inputs: Vec<Input>) -> Result<LogicalPlan>;
}

/// An input of a [`StreamNode`].
pub(crate) struct StreamInput<'a> {
    /// The query, and the roles of its columns.
    pub(crate) input: &'a Input,
    /// Whether each of its rows is answered by itself, so that it can be a stream without windows.
    pub(crate) by_row: bool,
    /// Whether nothing is made of two of its rows.
    pub(crate) one_by_one: bool,
}

impl StreamInput<'_> {
    /// The query.
    pub(crate) fn plan(&self) -> &LogicalPlan {
        &self.input.plan
    }

    /// The columns that its groups go by; results have them first, in this order, if it is the
    /// first input.
    pub(crate) fn groups(&self) -> &[Expr] {
        &self.input.roles.groups
    }

    /// Whether its rows are told apart by a column, not by their numbers, or not at all.
    pub(crate) fn has_ids(&self) -> bool {
        self.one_by_one || self.input.roles.id.is_some()
    }
}

/// A node as streams see it; `None` for one that knows nothing of streams.
pub(crate) fn stream_node(extension: &Extension) -> Option<&dyn StreamNode> {
    let finding: &FindingNode = extension.node.as_any().downcast_ref()?;
    Some(finding)
}
