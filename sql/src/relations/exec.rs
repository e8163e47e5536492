//! A finding in a physical plan: reads its inputs, runs, and streams the rows that are found.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;
use sembla_models::CancelToken;

use super::collect::{InputExec, check_dimensions, one_dimension};
use super::finding::{Finding, FindingHost};
use super::online::slots::{OnlineSlots, Slot};
use super::run::{run, run_online};
use super::table::Table;
use crate::SqlError;
use crate::query::{QueryHost, blocking};

/// Batches that wait to be read; a finding that is ahead waits.
const WAITING_BATCHES_MAX: usize = 4;

/// A finding in a physical plan.
#[derive(Debug)]
pub(crate) struct FindingExec {
    name: &'static str,
    finding: Arc<dyn Finding>,
    inputs: Vec<Option<InputExec>>,
    schema: SchemaRef,
    /// The finding in one line, for EXPLAIN.
    words: String,
    /// The name of its state, if it keeps one from window to window.
    slot: String,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FindingExec {
    /// A finding that is ready to run.
    pub(crate) fn new(
        name: &'static str,
        finding: Arc<dyn Finding>,
        inputs: Vec<Option<InputExec>>,
        schema: SchemaRef,
        words: String,
        slot: String,
    ) -> Self {
        let emission = match inputs.as_slice() {
            [Some(input)] if input.one_by_one => EmissionType::Incremental,
            _ => EmissionType::Final,
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            emission,
            Boundedness::Bounded,
        );
        Self {
            name,
            finding,
            inputs,
            schema,
            words,
            slot,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The name of its state, if it keeps one from window to window.
    pub(crate) fn slot(&self) -> Option<&str> {
        self.finding.online().map(|_| self.slot.as_str())
    }

    /// The same with another name for its state.
    pub(crate) fn with_slot(&self, slot: String) -> Self {
        Self::new(
            self.name,
            Arc::clone(&self.finding),
            self.inputs.clone(),
            Arc::clone(&self.schema),
            self.words.clone(),
            slot,
        )
    }

    /// Collects the inputs one after another and runs the finding on a thread of its own.
    async fn work(
        inputs: Vec<Option<InputExec>>,
        work: Work,
        context: Arc<TaskContext>,
    ) -> Result<()> {
        if let [Some(input)] = inputs.as_slice()
            && input.one_by_one
        {
            return Self::work_through(input, work, context).await;
        }
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
        check_dimensions(work.name, &inputs, &tables)?;
        let batch_rows = context.session_config().batch_size();
        ran(Arc::new(work), tables, batch_rows).await
    }

    /// Runs the finding on one batch of the input after another, in the order of its partitions.
    async fn work_through(input: &InputExec, work: Work, context: Arc<TaskContext>) -> Result<()> {
        let work = Arc::new(work);
        let batch_rows = context.session_config().batch_size();
        for partition in 0..input.plan.output_partitioning().partition_count() {
            let mut batches = input.plan.execute(partition, Arc::clone(&context))?;
            while let Some(batch) = batches.next().await {
                let table = input.piece(&batch?, &work.host)?;
                work.rows_in.add(table.rows());
                ran(Arc::clone(&work), vec![Some(table)], batch_rows).await?;
            }
        }
        Ok(())
    }
}

impl FindingHost for QueryHost {
    fn cancel(&self) -> &CancelToken {
        QueryHost::cancel(self)
    }
}

/// Runs a finding on a thread of its own.
async fn ran(work: Arc<Work>, tables: Vec<Option<Table>>, batch_rows: usize) -> Result<()> {
    let running = SpawnedTask::spawn_blocking(move || work.run(tables, batch_rows));
    let ran = running.join_unwind().await;
    Ok(ran.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??)
}

/// What the thread that runs a finding needs.
struct Work {
    name: &'static str,
    finding: Arc<dyn Finding>,
    schema: SchemaRef,
    host: Arc<QueryHost>,
    output: tokio::sync::mpsc::Sender<Result<RecordBatch>>,
    metrics: BaselineMetrics,
    rows_in: datafusion::physical_plan::metrics::Count,
    slot: Slot,
}

impl Work {
    fn run(&self, tables: Vec<Option<Table>>, batch_rows: usize) -> Result<(), SqlError> {
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
        let host = QueryHost::new(self.name, &context, abandoned);
        let slots = context.session_config().get_extension::<OnlineSlots>();
        let work = Work {
            name: self.name,
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
