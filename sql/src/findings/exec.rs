//! A finding in a physical plan: reads its inputs, runs, and streams the rows that are found.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session as CatalogSession;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, OrderingRequirements, Partitioning, PhysicalExpr,
};
use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::collect::{InputExec, one_dimension};
use super::finding::Finding;
use super::host::QueryHost;
use super::node::{FindingNode, Input};
use super::online::{OnlineSlots, Slot};
use super::run::{run, run_online};
use super::table::Table;
use crate::SqlError;
use crate::functions::{Engine, blocking};
use crate::windows::PhysicalWindows;

/// Batches that wait to be read; a finding that is ahead waits.
const WAITING_BATCHES_MAX: usize = 4;

/// Makes physical plans, of findings and windows too.
#[derive(Debug)]
pub(crate) struct Planner {
    pub(crate) engine: Engine,
}

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn CatalogSession,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let findings = Findings { engine: self.engine.clone() };
        let windows = PhysicalWindows { engine: self.engine.clone() };
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![
            Arc::new(findings),
            Arc::new(windows),
        ]);
        planner.create_physical_plan(plan, session).await
    }
}

struct Findings {
    engine: Engine,
}

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
            Arc::clone(datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(node).inner()),
            format!("{}Exec: {}", node.declaration.plan_name(), node.words()),
            self.engine.clone(),
            format!("{}: {}", node.declaration.name, node.words()),
        );
        Ok(Some(Arc::new(exec)))
    }
}

/// Whether a model runs while an input is read.
fn embeds(input: &Input) -> bool {
    matches!(&input.roles.vector, Some(Expr::ScalarFunction(call)) if call.name() == "embed")
}

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

/// A finding in a physical plan.
#[derive(Debug)]
pub(crate) struct FindingExec {
    name: &'static str,
    finding: Arc<dyn Finding>,
    inputs: Vec<Option<InputExec>>,
    schema: SchemaRef,
    /// The finding in one line, for EXPLAIN.
    words: String,
    engine: Engine,
    /// The name of its state, if it keeps one from window to window.
    slot: String,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FindingExec {
    fn new(
        name: &'static str,
        finding: Arc<dyn Finding>,
        inputs: Vec<Option<InputExec>>,
        schema: SchemaRef,
        words: String,
        engine: Engine,
        slot: String,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            name,
            finding,
            inputs,
            schema,
            words,
            engine,
            slot,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The name of its state, if it keeps one from window to window.
    pub(super) fn slot(&self) -> Option<&str> {
        self.finding.online().map(|_| self.slot.as_str())
    }

    /// The same with another name for its state.
    pub(super) fn with_slot(&self, slot: String) -> Self {
        Self::new(
            self.name,
            Arc::clone(&self.finding),
            self.inputs.clone(),
            Arc::clone(&self.schema),
            self.words.clone(),
            self.engine.clone(),
            slot,
        )
    }

    /// Collects the inputs one after another and runs the finding on a thread of its own.
    async fn work(
        inputs: Vec<Option<InputExec>>,
        work: Work,
        context: Arc<TaskContext>,
    ) -> Result<()> {
        let mut tables = Vec::with_capacity(inputs.len());
        for input in &inputs {
            tables.push(match input {
                Some(input) => {
                    let table = input.collect(&context, &work.host).await?;
                    work.rows_in.add(table.rows());
                    Some(table)
                }
                None => None,
            });
        }
        blocking(|| one_dimension(&mut tables, &work.host))?;
        let batch_rows = context.session_config().batch_size();
        let running = SpawnedTask::spawn_blocking(move || work.run(tables, batch_rows));
        let ran = running.join_unwind().await;
        Ok(ran.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??)
    }
}

/// What the thread that runs a finding needs.
struct Work {
    finding: Arc<dyn Finding>,
    schema: SchemaRef,
    host: Arc<QueryHost>,
    output: tokio::sync::mpsc::Sender<Result<RecordBatch>>,
    metrics: BaselineMetrics,
    rows_in: datafusion::physical_plan::metrics::Count,
    slot: Slot,
}

impl Work {
    fn run(self, tables: Vec<Option<Table>>, batch_rows: usize) -> Result<(), SqlError> {
        let timer = self.metrics.elapsed_compute().timer();
        let mut emit = |batch: RecordBatch| {
            let batch = batch.record_output(&self.metrics);
            self.output.blocking_send(Ok(batch)).map_err(|_| SqlError::Cancelled)
        };
        let (host, schema) = (self.host.as_ref(), &self.schema);
        let ran = match self.finding.online() {
            Some(online) => {
                let mut state = self.slot.take(online)?;
                let ran = run_online(state.state()?, tables, schema, batch_rows, host, &mut emit);
                if ran.is_ok() {
                    state.stepped();
                }
                ran
            }
            None => run(self.finding.as_ref(), tables, schema, batch_rows, host, &mut emit),
        };
        timer.done();
        ran
    }
}

impl DisplayAs for FindingExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl ExecutionPlan for FindingExec {
    fn name(&self) -> &str {
        self.name
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().flatten().map(|input| &input.plan).collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.children().len()]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false; self.children().len()]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for role in self.inputs.iter().flatten().flat_map(|input| input.roles.all()) {
            if visit(role)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut children = children.into_iter();
        let mut inputs = self.inputs.clone();
        for input in inputs.iter_mut().flatten() {
            input.plan = children.next().ok_or_else(|| {
                DataFusionError::Internal(format!("{} lacks an input", self.name))
            })?;
        }
        Ok(Arc::new(Self::new(
            self.name,
            Arc::clone(&self.finding),
            inputs,
            Arc::clone(&self.schema),
            self.words.clone(),
            self.engine.clone(),
            self.slot.clone(),
        )))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::ChildrenPropertiesMode;
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let mut builder =
            RecordBatchReceiverStream::builder(Arc::clone(&self.schema), WAITING_BATCHES_MAX);
        let (output, reader) = (builder.tx(), builder.tx());
        let abandoned = move || reader.is_closed();
        let host = QueryHost::new(self.name, &self.engine, &context, abandoned);
        let slots = context.session_config().get_extension::<OnlineSlots>();
        let work = Work {
            finding: Arc::clone(&self.finding),
            schema: Arc::clone(&self.schema),
            host: Arc::new(host),
            output,
            metrics: BaselineMetrics::new(&self.metrics, partition),
            rows_in: MetricBuilder::new(&self.metrics).counter("input_rows", partition),
            slot: Slot { slots, name: self.slot.clone() },
        };
        builder.spawn(Self::work(self.inputs.clone(), work, context));
        Ok(builder.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
