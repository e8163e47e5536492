//! Tables whose rows are put in place for one run of a plan: a micro-batch of a stream, or the rows
//! of a closed window.
//!
//! A plan is made once and run many times. What it reads comes with the run, in the session
//! configuration of its context ([`Feeds`]), so that several runs of one plan don't see each other.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session as CatalogSession, TableProvider};
use datafusion::common::project_schema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, TableType};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};

use super::row_wise::any_input;
use crate::SqlError;

/// What the feeds of a plan hold in one run, by number. A feed that is left out is empty.
#[derive(Debug, Default)]
pub(super) struct Feeds(Vec<Vec<RecordBatch>>);

impl Feeds {
    /// Rows for one feed; all others are empty.
    pub(super) fn only(number: usize, rows: Vec<RecordBatch>) -> Self {
        let mut feeds: Vec<Vec<RecordBatch>> = Vec::new();
        feeds.resize_with(number, Vec::new);
        feeds.push(rows);
        Self(feeds)
    }

    fn of(&self, number: usize) -> Vec<RecordBatch> {
        self.0.get(number).cloned().unwrap_or_default()
    }
}

/// A table that is fed.
#[derive(Debug)]
pub(super) struct FeedTable {
    number: usize,
    schema: SchemaRef,
}

impl FeedTable {
    /// The table that reads the feed with that number.
    pub(super) fn new(number: usize, schema: SchemaRef) -> Self {
        Self { number, schema }
    }
}

#[async_trait]
impl TableProvider for FeedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn CatalogSession,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = project_schema(&self.schema, projection)?;
        Ok(Arc::new(FeedExec::new(self.number, schema, projection.cloned())))
    }
}

/// Whether a scan reads a feed.
pub(super) fn is_feed(scan: &TableScan) -> bool {
    source_as_provider(&scan.source)
        .is_ok_and(|provider| (provider.as_ref() as &dyn Any).is::<FeedTable>())
}

/// Whether a plan reads a feed.
///
/// # Errors
/// What walking the plan says.
pub(super) fn reads_feed(plan: &LogicalPlan) -> Result<bool, SqlError> {
    any_input(plan, |step| matches!(step, LogicalPlan::TableScan(scan) if is_feed(scan)))
}

/// Reads a feed.
#[derive(Debug)]
struct FeedExec {
    number: usize,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl FeedExec {
    fn new(number: usize, schema: SchemaRef, projection: Option<Vec<usize>>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { number, schema, projection, properties: Arc::new(properties) }
    }
}

impl DisplayAs for FeedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "FeedExec: {}", self.number)
    }
}

impl ExecutionPlan for FeedExec {
    fn name(&self) -> &'static str {
        "FeedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let feeds = context.session_config().get_extension::<Feeds>();
        let feeds = feeds.ok_or_else(|| {
            DataFusionError::Internal("a plan of a stream runs without its feeds".into())
        })?;
        let rows = feeds.of(self.number);
        let stream =
            MemoryStream::try_new(rows, Arc::clone(&self.schema), self.projection.clone())?;
        Ok(Box::pin(stream))
    }
}
