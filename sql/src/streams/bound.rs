//! A physical plan that is made once and run for each micro-batch or window.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionConfig;

use super::feed::Feeds;
use crate::SqlError;
use crate::error::arrow_error;

/// A plan, ready to run any number of times, several at once too.
#[derive(Debug)]
pub(super) struct BoundPlan {
    plan: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    state: SessionState,
}

impl BoundPlan {
    /// Plans a query whose streams are feeds.
    ///
    /// # Errors
    /// What the planner says.
    pub(super) async fn new(state: &SessionState, plan: &LogicalPlan) -> Result<Self> {
        let state = one_partition(state);
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let plan = state.create_physical_plan(plan).await?;
        Ok(Self { plan, schema, state })
    }

    /// The schema of what comes out.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Runs the plan over what the feeds hold. `extend` adds to the configuration of this run.
    ///
    /// # Errors
    /// What an operator says.
    pub(super) async fn run(
        &self,
        feeds: Feeds,
        extend: impl FnOnce(SessionConfig) -> SessionConfig,
    ) -> Result<Vec<RecordBatch>, SqlError> {
        let config = extend(self.state.config().clone().with_extension(Arc::new(feeds)));
        let context = TaskContext::new(
            None,
            self.state.session_id().to_string(),
            config,
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::clone(self.state.runtime_env()),
        );
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let rows = collect(plan, Arc::new(context)).await?;
        rows.into_iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| as_declared(&self.schema, &batch))
            .collect()
    }
}

/// A batch under the logical schema, whose fields can differ in name and nullability.
///
/// # Errors
/// When arrow can't cast a column.
pub(crate) fn as_declared(
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, SqlError> {
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => arrow::compute::cast(column, field.data_type()),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|e| arrow_error(&e))?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| arrow_error(&error))
}

/// A state that plans for one partition, so that rows keep their order, and without filters that
/// one run would leave behind for the next.
pub(super) fn one_partition(state: &SessionState) -> SessionState {
    let mut state = state.clone();
    let options = state.config_mut().options_mut();
    options.execution.target_partitions = 1;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    state
}
