//! A physical plan over one input, of which only what makes it different is written: an [`Over`]
//! says it, and [`OneInput`] is the plan.
//!
//! - *Invariant:* the rows of a plan come in the order of its input, unless it says otherwise, and
//!   the optimizer never spreads the input over more partitions.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};

/// What is done with the rows of one input.
pub(crate) trait Over: fmt::Debug + Send + Sync + Sized + 'static {
    /// The plan's name.
    const NAME: &'static str;

    /// The plan in one line, for EXPLAIN.
    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result;

    /// The input.
    fn input(&self) -> &Arc<dyn ExecutionPlan>;

    /// What is known of the rows that come out.
    fn properties(&self) -> &Arc<PlanProperties>;

    /// The same over another input.
    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Self;

    /// The rows of a partition.
    ///
    /// # Errors
    /// What the input says.
    fn rows(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;

    /// Whether rows of a partition come in the order of the input's.
    fn keeps_order(&self) -> bool {
        true
    }

    /// Rows that are enough; `None` is all.
    fn fetch(&self) -> Option<usize> {
        None
    }

    /// What is known of the number of rows and their values, from what is known of the input's.
    ///
    /// # Errors
    /// Numbers that don't fit.
    fn statistics(&self, _input: &Statistics) -> Result<Option<Statistics>> {
        Ok(None)
    }

    /// What was measured.
    fn metrics(&self) -> Option<MetricsSet> {
        None
    }
}

/// The plan that does something with the rows of one input.
#[derive(Clone, Debug)]
pub(crate) struct OneInput<T>(pub(crate) T);

impl<T: Over> DisplayAs for OneInput<T> {
    fn fmt_as(&self, _: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(out)
    }
}

impl<T: Over> ExecutionPlan for OneInput<T> {
    fn name(&self) -> &str {
        T::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![self.0.input()]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.0.keeps_order()]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next();
        let input =
            input.ok_or_else(|| DataFusionError::Internal(format!("{} has no input", T::NAME)))?;
        Ok(Arc::new(Self(self.0.over(input))))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let recompute = ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(recompute))
    }

    fn child_stats_requests(&self, _partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(None)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let known = inputs.first().map(|input| self.0.statistics(input)).transpose()?.flatten();
        Ok(Arc::new(known.unwrap_or_else(|| Statistics::new_unknown(&self.schema()))))
    }

    fn fetch(&self) -> Option<usize> {
        self.0.fetch()
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.0.rows(partition, context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.0.metrics()
    }
}
