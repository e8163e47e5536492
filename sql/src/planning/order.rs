//! Keeps rows in their order on the way into a finding or a session and out of it.
//!
//! DataFusion deals batches to partitions in turn where an operator can use more of them, and their
//! order is lost then. For a finding the order means something: its input's numbers rows and
//! decides between equals, and its output comes best first. So these steps are taken out of its
//! input and from above it, up to the next operator that does not keep an order anyway. What is
//! lost is little: a finding embeds and computes on all cores by itself.
//!
//! Sessions read all rows and give them in the order of the input, and are treated alike. Other
//! windows pass rows on as they come, in each partition.
//!
//! A query without ORDER BY gives the rows in the order of its input too, whatever the number of
//! threads: where partitions are put together ([`OrderedExec`]), the first one comes first, and
//! nothing below deals batches in turn.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::ordered::OrderedExec;
use crate::relations::exec::FindingExec;
use crate::windows::WindowExec;

/// The rule, for the end of physical planning.
#[derive(Debug)]
pub(crate) struct KeepOrder;

impl PhysicalOptimizerRule for KeepOrder {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let kept = plan.transform_down(|node| {
            if let Some(together) = node.downcast_ref::<CoalescePartitionsExec>() {
                let input = undealt(Arc::clone(together.input()))?;
                let ordered = OrderedExec::new(input, together.fetch());
                return Ok(Transformed::yes(Arc::new(ordered)));
            }
            if deals_in_turn(&node) && leads_to_ordered(&node) {
                return Ok(Transformed::yes(undealt(node)?));
            }
            if !is_ordered(&node) {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().map(|input| undealt(Arc::clone(input)));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            Ok(Transformed::yes(replace_children_if_necessary(node, inputs)?))
        })?;
        let whole = undealt(kept.data)?;
        Ok(match whole.output_partitioning().partition_count() {
            1 => whole,
            _ => Arc::new(OrderedExec::new(whole, None)),
        })
    }

    fn name(&self) -> &str {
        "keep_order_of_findings"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether a node deals batches to partitions in turn.
fn deals_in_turn(node: &Arc<dyn ExecutionPlan>) -> bool {
    let dealing = node.downcast_ref::<RepartitionExec>();
    dealing.is_some_and(|node| matches!(node.partitioning(), Partitioning::RoundRobinBatch(_)))
}

/// The only child of a node that would keep the order of its rows.
fn passed_through(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let keeps = deals_in_turn(node) || node.maintains_input_order() == [true];
    match node.children().as_slice() {
        [child] if keeps && !is_ordered(node) => Some(Arc::clone(child)),
        _ => None,
    }
}

/// Whether a node reads its rows in an order that means something, and gives them in one.
fn is_ordered(node: &Arc<dyn ExecutionPlan>) -> bool {
    let window = node.downcast_ref::<WindowExec>();
    node.is::<FindingExec>() || window.is_some_and(WindowExec::is_session)
}

fn leads_to_ordered(node: &Arc<dyn ExecutionPlan>) -> bool {
    let mut node = Arc::clone(node);
    while let Some(child) = passed_through(&node) {
        node = child;
    }
    is_ordered(&node)
}

/// A plan without the steps that deal, down to the first node that keeps no order.
fn undealt(node: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if node.is::<UnionExec>() {
        let inputs = node.children().into_iter().map(|input| undealt(Arc::clone(input)));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        return replace_children_if_necessary(node, inputs);
    }
    match passed_through(&node) {
        None => Ok(node),
        Some(child) if deals_in_turn(&node) => undealt(child),
        Some(child) => replace_children_if_necessary(node, vec![undealt(child)?]),
    }
}
