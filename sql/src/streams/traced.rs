//! Where a column of a plan comes from: a window over a stream goes by the column that the source's
//! watermark is about, and this follows it down.

use datafusion::logical_expr::LogicalPlan;

use super::columns::position;
use super::scans::reads_stream;
use crate::SqlError;
use crate::catalogue::StreamTable;
use crate::relations::stream_node;
use crate::windows::WindowNode;

/// Checks that a window's time is the watermark's column of every stream below it.
///
/// # Errors
/// [`SqlError::Statement`] that names the column that it should be.
pub(super) fn follows_watermark(node: &WindowNode) -> Result<(), SqlError> {
    follow(&node.input, node.time)
}

fn follow(plan: &LogicalPlan, column: usize) -> Result<(), SqlError> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let Some(source) = StreamTable::source_of(scan) else {
                return Err(elsewhere(plan, column));
            };
            let Some(watermark) = &source.watermark else {
                return Err(SqlError::Statement(format!(
                    "source '{}' has no watermark, so its windows never close; add WATERMARK FOR a TIMESTAMP column",
                    source.name
                )));
            };
            let field = scan.projected_schema.fields().get(column);
            match field.is_some_and(|field| *field.name() == watermark.column) {
                true => Ok(()),
                false => Err(SqlError::Statement(format!(
                    "the time of the window is {}, but over source '{}' it must be the column of the watermark, {}",
                    field.map_or("another column", |field| field.name()),
                    source.name,
                    watermark.column
                ))),
            }
        }
        LogicalPlan::Projection(projection) => {
            let schema = projection.input.schema();
            let from = projection.expr.get(column).and_then(|expr| position(expr, schema));
            follow(&projection.input, from.ok_or_else(|| elsewhere(plan, column))?)
        }
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Union(_) => {
            plan.inputs().into_iter().try_for_each(|input| follow(input, column))
        }
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match reads_stream(&join.left)? {
                true => follow(&join.left, column),
                false => follow(
                    &join.right,
                    column.checked_sub(left).ok_or_else(|| elsewhere(plan, column))?,
                ),
            }
        }
        LogicalPlan::Unnest(unnest) => {
            let from = unnest.dependency_indices.get(column).copied();
            follow(&unnest.input, from.ok_or_else(|| elsewhere(plan, column))?)
        }
        LogicalPlan::Extension(extension) => {
            let from = stream_node(extension).and_then(|node| {
                let first = node.inputs().into_iter().next()?;
                Some((first.plan().clone(), node.made_of(column)?))
            });
            let (input, from) = from.ok_or_else(|| elsewhere(plan, column))?;
            follow(&input, from)
        }
        _ => Err(elsewhere(plan, column)),
    }
}

fn elsewhere(plan: &LogicalPlan, column: usize) -> SqlError {
    let name = plan.schema().fields().get(column).map_or("its time", |field| field.name());
    SqlError::Statement(format!(
        "the time of the window must be the column of the source's watermark, unchanged, got {name}, which is computed"
    ))
}
