//! A window in a physical plan, over static rows.
//!
//! Tumbling and hopping windows are computed batch by batch in each partition; sessions read the
//! input to its end and come in one partition.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::UserDefinedLogicalNodeCore;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use sembla_runtime::window::WindowKind;

use super::node::WindowNode;
use super::rows::{Assigned, WithWindows};
use super::sessions::Sessions;
use super::times::micros;
use crate::one_input::{OneInput, Over};
use crate::query::QueryHost;

/// A window in a physical plan.
pub(crate) type WindowExec = OneInput<TimeWindow>;

/// A window over the rows of an input.
#[derive(Clone, Debug)]
pub(crate) struct TimeWindow {
    input: Arc<dyn ExecutionPlan>,
    kind: WindowKind,
    /// The position of the time.
    time: usize,
    /// Its name, for messages.
    time_name: String,
    /// The positions of a session's key.
    keys: Vec<usize>,
    with_windows: WithWindows,
    /// The window in one line, for EXPLAIN.
    words: String,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WindowExec {
    /// The physical plan of a window.
    pub(crate) fn new(node: &WindowNode, input: Arc<dyn ExecutionPlan>) -> Self {
        Self(TimeWindow::new(node, input))
    }

    /// Whether it reads all rows before it gives any, in an order that it keeps.
    pub(crate) fn is_session(&self) -> bool {
        self.0.is_session()
    }
}

impl TimeWindow {
    fn new(node: &WindowNode, input: Arc<dyn ExecutionPlan>) -> Self {
        let schema = Arc::clone(UserDefinedLogicalNodeCore::schema(node).inner());
        Self {
            properties: Arc::new(properties(&node.kind, &schema, input.as_ref())),
            input,
            kind: node.kind,
            time: node.time,
            time_name: node.name_of(node.time).to_string(),
            keys: node.keys.clone(),
            with_windows: WithWindows { schema, has_pane: node.has_pane() },
            words: node.to_string(),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    fn is_session(&self) -> bool {
        matches!(self.kind, WindowKind::Session { .. })
    }

    /// Each row with its own windows.
    fn assigned(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let piece_rows = context.session_config().batch_size();
        let input = self.input.execute(partition, context)?;
        let window = self.clone();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let pieces = input.map(move |rows| {
            let rows = rows?;
            let time = rows.columns().get(window.time);
            let time = time.ok_or_else(|| DataFusionError::Internal("no time".into()))?;
            let function = super::function::WindowFunction::of(&window.kind);
            let assigned = Assigned {
                kind: window.kind,
                with_windows: window.with_windows.clone(),
                times: micros(function, &window.time_name, time)?,
                rows,
                next: 0,
                piece_rows,
            };
            Ok::<_, DataFusionError>(stream::iter(assigned.map(|piece| Ok(piece?))))
        });
        let pieces = pieces.try_flatten().inspect_ok(move |piece| {
            piece.record_output(&metrics);
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.with_windows.schema), pieces)))
    }

    /// All rows with their sessions.
    fn sessions(&self, gap_us: i64, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let host = Arc::new(QueryHost::new("session", &context, || false));
        let sessions = Sessions {
            input: Arc::clone(&self.input),
            time: self.time,
            time_name: self.time_name.clone(),
            keys: self.keys.clone(),
            gap_us,
            with_windows: self.with_windows.clone(),
        };
        let metrics = BaselineMetrics::new(&self.metrics, 0);
        let computed = async move {
            let batches = sessions.compute(context, Arc::clone(&host)).await?;
            // The memory is given back with the last batch.
            let batches = batches.into_iter().inspect(move |_| {
                let _held = &host;
            });
            Ok::<_, DataFusionError>(stream::iter(batches.map(Ok::<_, DataFusionError>)))
        };
        let batches = stream::once(computed).try_flatten().inspect_ok(move |batch| {
            batch.record_output(&metrics);
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.with_windows.schema), batches))
    }
}

fn properties(kind: &WindowKind, schema: &SchemaRef, input: &dyn ExecutionPlan) -> PlanProperties {
    let (order, partitions, emission) = match kind {
        WindowKind::Session { .. } => {
            (EquivalenceProperties::new(Arc::clone(schema)), 1, EmissionType::Final)
        }
        _ => {
            let partitions = input.properties().output_partitioning().partition_count();
            (order_of(schema, input), partitions, EmissionType::Incremental)
        }
    };
    let partitioning = Partitioning::UnknownPartitioning(partitions);
    PlanProperties::new(order, partitioning, emission, input.boundedness())
}

/// What is known of the order of rows that come as they were, each once or several times in a row:
/// all that is known of the input, whose columns are the first of the result.
fn order_of(schema: &SchemaRef, input: &dyn ExecutionPlan) -> EquivalenceProperties {
    let known = input.equivalence_properties();
    let mut order = EquivalenceProperties::new(Arc::clone(schema));
    if order.add_equivalence_group(known.eq_group().clone()).is_err() {
        return EquivalenceProperties::new(Arc::clone(schema));
    }
    order.add_orderings(known.oeq_class().iter().cloned());
    order
}

impl Over for TimeWindow {
    const NAME: &'static str = "TimeWindowExec";

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "TimeWindowExec: {}", self.words)
    }

    fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = properties(&self.kind, &self.with_windows.schema, input.as_ref());
        let metrics = ExecutionPlanMetricsSet::new();
        Self { input, properties: Arc::new(properties), metrics, ..self.clone() }
    }

    fn keeps_order(&self) -> bool {
        !self.is_session()
    }

    fn rows(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        match self.kind {
            WindowKind::Session { gap_us } => Ok(self.sessions(gap_us, context)),
            _ => self.assigned(partition, context),
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
