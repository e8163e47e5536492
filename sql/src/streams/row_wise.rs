//! Whether a plan treats each row of a stream by itself: filters, projections, functions, unions,
//! joins with static tables, and searches in a static table.
//!
//! Only such a plan gives the same rows whether its input comes whole or in micro-batches. What
//! looks at many rows needs a window below it; the messages say so.

use datafusion::common::JoinType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Join, LogicalPlan};

use super::scans::reads_stream;
use crate::SqlError;
use crate::relations::{StreamNode, stream_node};

/// Checks that a plan treats rows one by one.
///
/// # Errors
/// [`SqlError::Statement`] that names the first part of the plan that doesn't, and the fix.
pub(super) fn check(plan: &LogicalPlan) -> Result<(), SqlError> {
    if !reads_stream(plan)? {
        return Ok(());
    }
    no_stream_in_expressions(plan)?;
    match plan {
        LogicalPlan::TableScan(_) => Ok(()),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::Unnest(_) => plan.inputs().into_iter().try_for_each(check),
        LogicalPlan::Join(join) => check_join(join),
        LogicalPlan::Extension(extension) => match stream_node(extension) {
            Some(node) => check_node(node),
            None => Err(needs_window(extension.node.name())),
        },
        LogicalPlan::Aggregate(_) => Err(needs_window("GROUP BY")),
        LogicalPlan::Window(_) => Err(needs_window("OVER")),
        LogicalPlan::Sort(_) => Err(needs_window("ORDER BY")),
        LogicalPlan::Distinct(Distinct::All(_) | Distinct::On(_)) => Err(needs_window("DISTINCT")),
        LogicalPlan::Limit(_) => Err(SqlError::Statement(
            "LIMIT would end a stream after some rows; leave it out, or number the rows of a window with row_number()".into(),
        )),
        other => Err(needs_window(&other.display().to_string())),
    }
}

fn needs_window(what: &str) -> SqlError {
    SqlError::Statement(format!(
        "{what} needs all rows, but a stream never ends; read it through a window: FROM tumble(source, INTERVAL '1 minute')"
    ))
}

/// A stream may be joined with static tables, and its rows decide what comes out.
fn check_join(join: &Join) -> Result<(), SqlError> {
    let (left, right) = (reads_stream(&join.left)?, reads_stream(&join.right)?);
    if left && right {
        return Err(SqlError::Statement(
            "two streams can't be joined row by row; join windows of them on window_start and window_end".into(),
        ));
    }
    let keeps_stream = match join.join_type {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
        JoinType::Full => false,
    };
    if !keeps_stream {
        return Err(SqlError::Statement(format!(
            "this {} JOIN returns rows of the static table that no row of the stream matches, which is known only when the stream ends; \
             make the stream the side that is kept",
            join.join_type
        )));
    }
    check(if left { &join.left } else { &join.right })
}

/// What answers each row of one input by itself may read a stream there.
fn check_node(node: &dyn StreamNode) -> Result<(), SqlError> {
    for input in node.inputs() {
        if !reads_stream(input.plan())? {
            continue;
        }
        if !input.by_row {
            return Err(needs_window(node.name()));
        }
        if !input.has_ids() {
            return Err(SqlError::Statement(format!(
                "{}: rows of a stream have no row numbers; name the column that identifies them with id => …",
                node.name()
            )));
        }
        check(input.plan())?;
    }
    Ok(())
}

/// Sub-queries in expressions read static tables only.
fn no_stream_in_expressions(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut found = false;
    plan.apply_subqueries(|subquery| {
        found |= reads_stream(subquery).unwrap_or(true);
        Ok(TreeNodeRecursion::Continue)
    })?;
    match found {
        true => Err(SqlError::Statement(
            "a subquery in an expression can't read a stream; put it into FROM, in a window".into(),
        )),
        false => Ok(()),
    }
}

/// Whether any part of a plan, sub-queries apart, satisfies a condition.
pub(super) fn any_input(
    plan: &LogicalPlan,
    condition: impl Fn(&LogicalPlan) -> bool,
) -> Result<bool, SqlError> {
    Ok(plan.exists(|node| Ok(condition(node)))?)
}
