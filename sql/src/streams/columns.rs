//! Columns of plans: all that a plan has, where one stands, and a table under the names of another
//! plan's columns.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, TableScan};

/// All columns of a schema.
pub(super) fn all(schema: &DFSchema) -> impl Iterator<Item = Expr> {
    schema.iter().map(|qualified| Expr::Column(Column::from(qualified)))
}

/// Where the column stands that an expression is, aliases of it apart; `None` for anything else.
pub(super) fn position(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(Column { relation, name, .. }) => {
            schema.index_of_column_by_name(relation.as_ref(), name)
        }
        Expr::Alias(alias) => position(&alias.expr, schema),
        _ => None,
    }
}

/// Reads a table with each of its columns under another plan's qualifier and name.
///
/// # Errors
/// When two columns would have the same.
pub(super) fn under_names<'a>(
    scan: TableScan,
    names: impl Iterator<Item = (Option<&'a TableReference>, &'a FieldRef)>,
) -> Result<LogicalPlan> {
    let columns = all(&scan.projected_schema).zip(names);
    let named = columns.map(|(column, (qualifier, original))| {
        column.alias_qualified(qualifier.cloned(), original.name())
    });
    let named = named.collect();
    let scan = Arc::new(LogicalPlan::TableScan(scan));
    Ok(LogicalPlan::Projection(Projection::try_new(named, scan)?))
}
