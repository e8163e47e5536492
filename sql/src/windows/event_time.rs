//! Which columns of a plan are the event time of a source, handed on as they are.

use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::catalogue::StreamTable;

/// The positions of the columns that are the watermark's column of the source below; none where no
/// source with a watermark is read, or its event time is not handed on.
pub(super) fn event_times(plan: &LogicalPlan) -> Vec<usize> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = StreamTable::source_of(scan);
            let watermark = source.as_ref().and_then(|source| source.watermark.as_ref());
            let fields = scan.projected_schema.fields();
            let is_it = |name: &str| watermark.is_some_and(|watermark| watermark.column == name);
            (0..fields.len())
                .filter(|n| fields.get(*n).is_some_and(|field| is_it(field.name())))
                .collect()
        }
        LogicalPlan::Projection(projection) => {
            let below = event_times(&projection.input);
            let schema = projection.input.schema();
            let is_it = |expr: &Expr| match unaliased(expr) {
                Expr::Column(column) => {
                    schema.maybe_index_of_column(column).is_some_and(|from| below.contains(&from))
                }
                _ => false,
            };
            let exprs = projection.expr.iter().enumerate();
            exprs.filter(|(_, expr)| is_it(expr)).map(|(n, _)| n).collect()
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Union(_) => {
            let mut inputs = plan.inputs().into_iter().map(event_times);
            let first = inputs.next().unwrap_or_default();
            inputs.fold(first, |mut all, other| {
                all.retain(|position| other.contains(position));
                all
            })
        }
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            let both = left + join.right.schema().fields().len() == join.schema.fields().len();
            match both {
                true => {
                    let right = event_times(&join.right).into_iter().map(|n| left + n);
                    event_times(&join.left).into_iter().chain(right).collect()
                }
                false => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
