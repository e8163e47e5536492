//! Keeps the order of an input of a relation.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_expr::{Distribution, OrderingRequirements};
use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;

/// The order of rows is part of an input's meaning: it numbers rows and decides between equals. So
/// a sort below is kept, which the optimizer else drops where no operator asks for its order.
///
/// # Errors
/// What DataFusion says of the plan with the sort fixed.
pub(crate) fn in_order(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let order = OrderingRequirements::from(sort.expr().clone());
        let fetch = sort.fetch();
        let all = Distribution::SinglePartition;
        return Ok(Arc::new(OutputRequirementExec::new(plan, Some(order), all, fetch)));
    }
    match plan.children().as_slice() {
        [child] if plan.maintains_input_order() == [true] => {
            let child = in_order(Arc::clone(child))?;
            datafusion::physical_plan::execution_plan::replace_children_if_necessary(
                plan,
                vec![child],
            )
        }
        _ => Ok(plan),
    }
}
