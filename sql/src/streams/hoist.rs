//! Moves calls of models from above a window to below it.
//!
//! `topics(tumble(messages, …))` embeds the texts of a window when it closes: all at once, and in
//! hopping windows once for each window that a row is in. A call that depends on one row alone
//! gives the same value below the window, where it runs once a row while rows arrive. The value
//! goes through the window as a column.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Aggregate, Expr, Extension, Filter, LogicalPlan, Projection, Sort, SubqueryAlias,
};

use super::columns;
use super::split::window_of;
use crate::SqlError;
use crate::functions::runs_model;
use crate::relations::{Input, StreamInput, StreamNode, stream_node};
use crate::windows::WindowNode;

/// How the columns that go through the window are called.
const PREFIX: &str = "__sembla_call_";

/// The plan with the calls of models that can be made below its window made there.
///
/// # Errors
/// What rebuilding the plan says.
pub(super) fn hoist(
    plan: LogicalPlan,
    window: WindowNode,
) -> Result<(LogicalPlan, WindowNode), SqlError> {
    let mut hoist = Hoist { window: &window, calls: Vec::new(), lower: None };
    hoist.collect(&plan)?;
    if hoist.calls.is_empty() {
        return Ok((plan, window));
    }
    let input = window.input.clone();
    let mut exprs: Vec<Expr> = columns::all(input.schema()).collect();
    for (number, call) in hoist.calls.iter().enumerate() {
        exprs.push(call.clone().alias(format!("{PREFIX}{number}")));
    }
    let input = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
    let lower = window.over(input)?;
    hoist.lower = Some(lower.clone());
    let own = columns::all(plan.schema()).collect();
    let rebuilt = hoist.rebuild(plan)?;
    Ok((trimmed(rebuilt, own)?, lower))
}

struct Hoist<'a> {
    window: &'a WindowNode,
    /// The calls, over the columns of the window's input.
    calls: Vec<Expr>,
    /// The window over its input with the calls.
    lower: Option<WindowNode>,
}

impl Hoist<'_> {
    /// What each output column of a plan is, over the columns of the window's input; `None` for
    /// what is not made of one row.
    fn bases(&self, plan: &LogicalPlan) -> Vec<Option<Expr>> {
        if window_of(plan) == Some(self.window) {
            let input = columns::all(self.window.input.schema()).map(Some);
            return input
                .chain(std::iter::repeat(None))
                .take(plan.schema().fields().len())
                .collect();
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                let bases = self.bases(&projection.input);
                let schema = projection.input.schema();
                projection.expr.iter().map(|expr| based(expr, schema, &bases)).collect()
            }
            LogicalPlan::Filter(filter) => self.bases(&filter.input),
            LogicalPlan::Sort(sort) => self.bases(&sort.input),
            LogicalPlan::SubqueryAlias(alias) => self.bases(&alias.input),
            other => vec![None; other.schema().fields().len()],
        }
    }

    /// Notes the calls in a plan that can be made below the window.
    fn collect(&mut self, plan: &LogicalPlan) -> Result<(), SqlError> {
        plan.apply(|step| {
            if window_of(step).is_some() {
                return Ok(TreeNodeRecursion::Jump);
            }
            match step {
                LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::Aggregate(_) => {
                    if let [input] = step.inputs().as_slice() {
                        step.expressions().iter().try_for_each(|expr| self.note(expr, input))?;
                    }
                }
                LogicalPlan::Extension(extension) => {
                    let node = stream_node(extension);
                    for StreamInput { input, .. } in node.iter().flat_map(|node| node.inputs()) {
                        input.roles.all().try_for_each(|role| self.note(role, &input.plan))?;
                    }
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn note(&mut self, expr: &Expr, input: &LogicalPlan) -> DfResult<()> {
        let bases = self.bases(input);
        expr.apply(|part| {
            if is_model_call(part)
                && let Some(call) = based(part, input.schema(), &bases)
            {
                if !self.calls.contains(&call) {
                    self.calls.push(call);
                }
                return Ok(TreeNodeRecursion::Jump);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    /// An expression with the noted calls as columns of `input`, which may lack them.
    fn replaced(&self, expr: Expr, input: &LogicalPlan, bases: &[Option<Expr>]) -> DfResult<Expr> {
        let (qualifier, name) = expr.qualified_name();
        let replaced = expr.transform_down(|part| {
            if is_model_call(&part)
                && let Some(call) = based(&part, input.schema(), bases)
                && let Some(number) = self.calls.iter().position(|known| *known == call)
                && let Some(column) = named(input.schema(), &format!("{PREFIX}{number}"))
            {
                return Ok(Transformed::new(column, true, TreeNodeRecursion::Jump));
            }
            Ok(Transformed::no(part))
        })?;
        Ok(match replaced.transformed {
            true if replaced.data.qualified_name() != (qualifier.clone(), name.clone()) => {
                replaced.data.alias_qualified(qualifier, name)
            }
            _ => replaced.data,
        })
    }

    /// The plan over the lower window. Steps that can do so hand the new columns on, last.
    fn rebuild(&self, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        if window_of(&plan) == Some(self.window)
            && let Some(lower) = &self.lower
        {
            return Ok(LogicalPlan::Extension(Extension { node: Arc::new(lower.clone()) }));
        }
        Ok(match plan {
            LogicalPlan::Projection(projection) => {
                let bases = self.bases(&projection.input);
                let input = self.rebuild(Arc::unwrap_or_clone(projection.input))?;
                let exprs = projection.expr.into_iter();
                let mut exprs: Vec<Expr> = exprs
                    .map(|expr| self.replaced(expr, &input, &bases))
                    .collect::<DfResult<_>>()?;
                exprs.extend(handed_on(input.schema()));
                LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)
            }
            LogicalPlan::Filter(filter) => {
                let bases = self.bases(&filter.input);
                let input = self.rebuild(Arc::unwrap_or_clone(filter.input))?;
                let predicate = self.replaced(filter.predicate, &input, &bases)?;
                LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?)
            }
            LogicalPlan::Sort(sort) => {
                let bases = self.bases(&sort.input);
                let input = self.rebuild(Arc::unwrap_or_clone(sort.input))?;
                let expr = sort.expr.into_iter().map(|mut by| {
                    by.expr = self.replaced(by.expr, &input, &bases)?;
                    Ok(by)
                });
                let expr = expr.collect::<DfResult<_>>()?;
                LogicalPlan::Sort(Sort { expr, input: Arc::new(input), fetch: sort.fetch })
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.rebuild(Arc::unwrap_or_clone(alias.input))?;
                LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?)
            }
            LogicalPlan::Aggregate(aggregate) => {
                let bases = self.bases(&aggregate.input);
                let input = self.rebuild(Arc::unwrap_or_clone(aggregate.input))?;
                let change = |exprs: Vec<Expr>| {
                    let exprs = exprs.into_iter();
                    exprs.map(|expr| self.replaced(expr, &input, &bases)).collect::<DfResult<_>>()
                };
                let (group, aggr) = (change(aggregate.group_expr)?, change(aggregate.aggr_expr)?);
                LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group, aggr)?)
            }
            LogicalPlan::Extension(extension) => match stream_node(&extension) {
                Some(node) => self.rebuild_node(node)?,
                None => LogicalPlan::Extension(extension),
            },
            other => {
                let inputs = other.inputs().into_iter().map(|input| {
                    let own = columns::all(input.schema()).collect();
                    trimmed(self.rebuild(input.clone())?, own)
                });
                let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
                other.with_new_exprs(other.expressions(), inputs)?
            }
        })
    }

    fn rebuild_node(&self, node: &dyn StreamNode) -> Result<LogicalPlan, SqlError> {
        let mut inputs = Vec::new();
        for StreamInput { input, .. } in node.inputs() {
            let bases = self.bases(&input.plan);
            let plan = self.rebuild(input.plan.clone())?;
            let roles = input
                .roles
                .try_map(|role| self.replaced(role.clone(), &plan, &bases).map(Expr::unalias))?;
            inputs.push(Input { plan, roles, ..input.clone() });
        }
        Ok(node.over(inputs)?)
    }
}

fn is_model_call(expr: &Expr) -> bool {
    runs_model(expr) && expr.any_column_refs()
}

/// An expression over the columns of the window's input; `None` where it isn't made of one row.
fn based(expr: &Expr, schema: &DFSchema, bases: &[Option<Expr>]) -> Option<Expr> {
    let mut known = true;
    let based = expr.clone().unalias().transform_down(|part| {
        if let Expr::Column(Column { relation, name, .. }) = &part {
            let place = schema.index_of_column_by_name(relation.as_ref(), name);
            let base = place.and_then(|n| bases.get(n).cloned().flatten());
            known &= base.is_some();
            let base = base.unwrap_or(part);
            return Ok(Transformed::new(base, true, TreeNodeRecursion::Jump));
        }
        known &= !matches!(part, Expr::AggregateFunction(_) | Expr::WindowFunction(_));
        Ok(Transformed::no(part))
    });
    known.then_some(based.ok()?.data)
}

/// The column of that name, whatever its qualifier.
fn named(schema: &DFSchema, name: &str) -> Option<Expr> {
    let found = schema.iter().find(|(_, field)| field.name() == name)?;
    Some(Expr::Column(Column::from(found)))
}

/// The columns of calls that a schema has.
fn handed_on(schema: &DFSchema) -> impl Iterator<Item = Expr> {
    let calls = schema.iter().filter(|(_, field)| field.name().starts_with(PREFIX));
    calls.map(|qualified| Expr::Column(Column::from(qualified)))
}

/// A plan without the columns of calls.
fn trimmed(plan: LogicalPlan, columns: Vec<Expr>) -> Result<LogicalPlan, SqlError> {
    if handed_on(plan.schema()).next().is_none() {
        return Ok(plan);
    }
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}
