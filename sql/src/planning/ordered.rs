//! The partitions of a plan put together in their order.
//!
//! DataFusion puts the batches of partitions together as they come, so that the first rows of a
//! query without ORDER BY, and all that numbers rows, differ from run to run. Here the rows of the
//! first partition come first. The next few partitions run ahead meanwhile, as far as their queues
//! take it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;

use crate::one_input::{OneInput, Over};

/// Batches that each partition may be ahead.
const AHEAD_BATCHES_MAX: usize = 4;

/// Puts partitions together in their order.
pub(crate) type OrderedExec = OneInput<Ordered>;

/// The partitions of a plan as one.
#[derive(Debug)]
pub(crate) struct Ordered {
    input: Arc<dyn ExecutionPlan>,
    /// Rows that are enough; `None` is all.
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl OrderedExec {
    /// The partitions of `input` as one, which ends after `fetch` rows.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, fetch: Option<usize>) -> Self {
        Self(Ordered::new(input, fetch))
    }
}

impl Ordered {
    fn new(input: Arc<dyn ExecutionPlan>, fetch: Option<usize>) -> Self {
        let mut equivalences: EquivalenceProperties = input.equivalence_properties().clone();
        if input.output_partitioning().partition_count() > 1 {
            equivalences.clear_orderings();
            equivalences.clear_per_partition_constants();
        }
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(1),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, fetch, properties: Arc::new(properties) }
    }
}

impl Over for Ordered {
    const NAME: &'static str = "OrderedExec";

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.fetch {
            Some(fetch) => write!(out, "OrderedExec: fetch={fetch}"),
            None => out.write_str("OrderedExec"),
        }
    }

    fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Self {
        Self::new(input, self.fetch)
    }

    /// What is known of an order is known in each partition of the input alone.
    fn keeps_order(&self) -> bool {
        false
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn statistics(&self, input: &Statistics) -> Result<Option<Statistics>> {
        input.clone().with_fetch(self.fetch, 0, 1).map(Some)
    }

    fn rows(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let partitions = self.input.output_partitioning().partition_count();
        let schema: SchemaRef = self.input.schema();
        let left = self.fetch.unwrap_or(usize::MAX);
        let reading = Reading {
            input: Arc::clone(&self.input),
            at_once: context.session_config().target_partitions().max(1),
            context,
            partitions,
            next: 0,
            running: VecDeque::new(),
            left,
        };
        let batches = futures::stream::try_unfold(reading, |mut reading| async move {
            while reading.left > 0 {
                reading.start()?;
                let Some(first) = reading.running.front_mut() else { return Ok(None) };
                match first.next().await.transpose()? {
                    None => drop(reading.running.pop_front()),
                    Some(batch) => {
                        let batch = batch.slice(0, batch.num_rows().min(reading.left));
                        reading.left -= batch.num_rows();
                        return Ok(Some((batch, reading)));
                    }
                }
            }
            Ok::<_, DataFusionError>(None)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// Partitions as they are read.
struct Reading {
    input: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    /// Partitions that run at once.
    at_once: usize,
    partitions: usize,
    /// The partition that is started next.
    next: usize,
    /// Those that run, in order.
    running: VecDeque<SendableRecordBatchStream>,
    /// Rows that are still wanted.
    left: usize,
}

impl Reading {
    /// Starts as many partitions as may run.
    fn start(&mut self) -> Result<()> {
        while self.next < self.partitions && self.running.len() < self.at_once {
            let stream = self.input.execute(self.next, Arc::clone(&self.context))?;
            self.next += 1;
            let ahead = if self.partitions > 1 {
                spawn_buffered(stream, AHEAD_BATCHES_MAX)
            } else {
                stream
            };
            self.running.push_back(ahead);
        }
        Ok(())
    }
}
