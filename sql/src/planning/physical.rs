//! Makes physical plans, of findings and windows too.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session as CatalogSession;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use crate::functions::runs_model;
use crate::relations::exec::FindingExec;
use crate::relations::{FindingNode, Input, InputExec, in_order};
use crate::windows::{WindowExec, WindowNode};

/// Makes physical plans, of findings and windows too.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn CatalogSession,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![
            Arc::new(Findings),
            Arc::new(Windows),
        ]);
        planner.create_physical_plan(plan, session).await
    }
}

struct Findings;

#[async_trait]
impl ExtensionPlanner for Findings {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn CatalogSession,
        planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<FindingNode>() else { return Ok(None) };
        let mut plans = physical_inputs.iter();
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (definition, input) in node.declaration.inputs.iter().zip(&node.inputs) {
            let planned = match input {
                Some(input) => {
                    let plan = plans.next().ok_or_else(|| {
                        DataFusionError::Internal(format!("{} has no plan", definition.name))
                    })?;
                    let schema = input.plan.schema();
                    let physical =
                        |role: &Expr| planner.create_physical_expr(role, schema, session, planning);
                    Some(InputExec {
                        name: definition.name,
                        plan: in_order(Arc::clone(plan))?,
                        roles: input.roles.try_map(physical)?,
                        carried: input.carried_positions(),
                        embeds: embeds(input),
                        one_by_one: definition.one_by_one,
                    })
                }
                None => None,
            };
            inputs.push(planned);
        }
        let exec = FindingExec::new(
            node.declaration.name,
            Arc::clone(&node.finding),
            inputs,
            Arc::clone(UserDefinedLogicalNodeCore::schema(node).inner()),
            format!("{}Exec: {}", node.declaration.plan_name(), node.describe()),
            format!("{}: {}", node.declaration.name, node.describe()),
        );
        Ok(Some(Arc::new(exec)))
    }
}

/// Whether a model runs while an input is read.
fn embeds(input: &Input) -> bool {
    input.roles.vector.as_ref().is_some_and(runs_model)
}

/// Makes physical plans of windows.
struct Windows;

#[async_trait]
impl ExtensionPlanner for Windows {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn CatalogSession,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<WindowNode>() else { return Ok(None) };
        let [input] = physical_inputs else {
            return Err(DataFusionError::Internal("a window has one input".into()));
        };
        let input = in_order(Arc::clone(input))?;
        Ok(Some(Arc::new(WindowExec::new(node, input))))
    }
}
