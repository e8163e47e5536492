//! Lets columns of a stream go along through the row part of a query without being asked for: the
//! event time, the sequence and the partition of each row.
//!
//! *Invariant:* every step of the result that reads the stream has them as its last columns.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::{
    Expr, Filter, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias,
};
use sembla_runtime::stage::HIDDEN_COLUMNS;

use super::feed::reads_feed;
use crate::SqlError;
use crate::relations::{Input, StreamNode, stream_node};

/// The plan with the hidden columns at the end of its own. Its feeds have them.
///
/// # Errors
/// [`SqlError::Statement`] for a step that can't hand them on.
pub(super) fn carry(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    if !reads_feed(&plan)? {
        return Ok(plan);
    }
    Ok(match plan {
        LogicalPlan::TableScan(_) => plan,
        LogicalPlan::Projection(projection) => {
            let input = carry(Arc::unwrap_or_clone(projection.input))?;
            let mut exprs = projection.expr;
            exprs.extend(hidden_columns(&input));
            LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)
        }
        LogicalPlan::Filter(filter) => {
            let input = carry(Arc::unwrap_or_clone(filter.input))?;
            LogicalPlan::Filter(Filter::try_new(filter.predicate, Arc::new(input))?)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let input = carry(Arc::unwrap_or_clone(alias.input))?;
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?)
        }
        LogicalPlan::Union(union) => {
            let mut inputs =
                union.inputs.into_iter().map(|input| carry(Arc::unwrap_or_clone(input)));
            let first = inputs.next().transpose()?;
            let mut builder = LogicalPlanBuilder::from(
                first.ok_or_else(|| SqlError::Bug("a union of nothing".into()))?,
            );
            for input in inputs {
                builder = builder.union(input?)?;
            }
            builder.build()?
        }
        LogicalPlan::Join(mut join) => {
            let semi = matches!(
                join.join_type,
                JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti
            );
            join.left = Arc::new(carry(Arc::unwrap_or_clone(join.left))?);
            join.right = Arc::new(carry(Arc::unwrap_or_clone(join.right))?);
            let join = LogicalPlan::Join(join).recompute_schema()?;
            if semi { join } else { hidden_last(join)? }
        }
        LogicalPlan::Unnest(unnest) => {
            let input = carry(Arc::unwrap_or_clone(unnest.input))?;
            let columns = unnest.exec_columns;
            LogicalPlanBuilder::from(input)
                .unnest_columns_with_options(columns, unnest.options)?
                .build()?
        }
        LogicalPlan::Extension(extension) => {
            let node = stream_node(&extension);
            carry_through(node.ok_or_else(|| cannot(extension.node.name()))?)?
        }
        other => return Err(cannot(&other.display().to_string())),
    })
}

/// The node with the hidden columns among those that it hands on of its first input.
fn carry_through(node: &dyn StreamNode) -> Result<LogicalPlan, SqlError> {
    let mut inputs: Vec<Input> = node.inputs().iter().map(|given| given.input.clone()).collect();
    match inputs.first_mut() {
        Some(first) if node.hands_on() && reads_feed(&first.plan)? => {
            first.plan = carry(first.plan.clone())?;
            first.carried.extend(HIDDEN_COLUMNS.map(str::to_owned));
        }
        _ => return Err(cannot(node.name())),
    }
    Ok(node.over(inputs)?)
}

fn cannot(what: &str) -> SqlError {
    SqlError::Statement(format!(
        "{what} below a window does not pass on the times of its rows; move the window into its input"
    ))
}

/// The hidden columns of a plan.
pub(super) fn hidden_columns(plan: &LogicalPlan) -> impl Iterator<Item = Expr> {
    HIDDEN_COLUMNS.into_iter().filter_map(|name| {
        let mut all = plan.schema().iter();
        let (qualifier, field) = all.find(|(_, field)| field.name() == name)?;
        Some(Expr::Column(Column::from((qualifier, field))))
    })
}

/// The columns of a plan that are not hidden.
pub(super) fn own_columns(plan: &LogicalPlan) -> impl Iterator<Item = Expr> {
    let is_own = |name: &str| !HIDDEN_COLUMNS.contains(&name);
    let own = plan.schema().iter().filter(move |(_, field)| is_own(field.name()));
    own.map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field))))
}

fn hidden_last(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let exprs: Vec<Expr> = own_columns(&plan).chain(hidden_columns(&plan)).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}
