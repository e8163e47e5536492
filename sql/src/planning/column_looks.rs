//! How a column of an input looks, where it comes from files as it is: its type says only that it
//! is text.

use std::any::Any;
use std::sync::Arc;

use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan};
use sembla_readers::files::Looks;

use crate::SqlError;
use crate::files::FilesTable;
use crate::query::blocking;

/// How a column of a plan looks: text, unless the files that it comes from say otherwise.
///
/// # Errors
/// Files that can't be read.
pub(super) fn of(plan: &LogicalPlan, column: &str) -> Result<Looks, SqlError> {
    match origin(plan, column) {
        Some((table, column)) => blocking(|| table.looks(&column)),
        None => Ok(Looks::Texts),
    }
}

/// The files that a column comes from as it is, and its name there.
fn origin(plan: &LogicalPlan, name: &str) -> Option<(Arc<FilesTable>, String)> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok()?;
            let table = (provider.as_ref() as &dyn Any).downcast_ref::<FilesTable>()?;
            Some((Arc::new(table.clone()), name.to_string()))
        }
        LogicalPlan::Projection(projection) => {
            let is_it = |expr: &&Expr| expr.qualified_name().1 == name;
            let expr = projection.expr.iter().find(is_it)?.clone().unalias();
            let Expr::Column(column) = expr else { return None };
            origin(&projection.input, &column.name)
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_) => origin(plan.inputs().first()?, name),
        _ => None,
    }
}
