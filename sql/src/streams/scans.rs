//! The streams that a plan reads, and how they become feeds.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, TableScanBuilder};
use sembla_runtime::stage::HIDDEN_COLUMNS;

use super::feed::FeedTable;
use crate::SqlError;
use crate::catalogue::{SourceDef, StreamTable};

/// Whether a plan reads a stream, in sub-queries of expressions too.
///
/// # Errors
/// What walking the plan says.
pub(crate) fn reads_stream(plan: &LogicalPlan) -> Result<bool, SqlError> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |=
            matches!(node, LogicalPlan::TableScan(scan) if StreamTable::source_of(scan).is_some());
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The schema of what a feed of a source holds: its columns, then the hidden ones.
pub(super) fn fed_schema(source: &SourceDef) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = source.schema().fields().iter().cloned().collect();
    fields.extend(hidden_fields());
    Arc::new(Schema::new(Fields::from(fields)))
}

/// The hidden columns.
pub(super) fn hidden_fields() -> impl Iterator<Item = Arc<Field>> {
    let types =
        [DataType::Timestamp(TimeUnit::Microsecond, None), DataType::Int64, DataType::Int32];
    let fields = HIDDEN_COLUMNS.into_iter().zip(types);
    fields.map(|(name, data_type)| Arc::new(Field::new(name, data_type, false)))
}

/// Puts a feed in the place of each scan of a source. The sources are given in the order of their
/// feeds' numbers; one that is scanned twice has one feed.
///
/// # Errors
/// What the planner says.
pub(super) fn feed_scans(
    plan: LogicalPlan,
) -> Result<(LogicalPlan, Vec<Arc<SourceDef>>), SqlError> {
    let mut sources: Vec<Arc<SourceDef>> = Vec::new();
    let fed = plan.transform_down(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let Some(source) = StreamTable::source_of(scan) else { return Ok(Transformed::no(node)) };
        let number = sources.iter().position(|known| known.name == source.name);
        let number = number.unwrap_or(sources.len());
        let table = FeedTable::new(number, fed_schema(&source));
        let projection = scan.projection.clone().map(|mut columns| {
            let own = source.schema().fields().len();
            columns.extend(own..own + HIDDEN_COLUMNS.len());
            columns
        });
        let feed =
            TableScanBuilder::new(scan.table_name.clone(), provider_as_source(Arc::new(table)));
        let feed = feed.with_projection(projection).build()?;
        if number == sources.len() {
            sources.push(source);
        }
        Ok(Transformed::yes(LogicalPlan::TableScan(feed)))
    })?;
    Ok((fed.data, sources))
}
