//! A source of files whose errors name the file, and whose panics are errors.
//!
//! Everything is handed on to the source behind it, but each step of decoding is taken under guard:
//! a torn page that the decoder panics on ends the query with one line and not the program.

use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::Stream;
use futures::stream::BoxStream;
use sembla_readers::Error as ReadError;
use sembla_readers::guard::guarded;

use super::parquet::Read;
use crate::SqlError;

/// A source under guard.
pub(super) struct GuardedSource(Arc<dyn FileSource>);

impl GuardedSource {
    /// The source, under guard.
    pub(super) fn new(source: Arc<dyn FileSource>) -> Self {
        Self(source)
    }

    fn shared(source: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self(source))
    }
}

impl FileSource for GuardedSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.0.create_file_opener(store, config, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        Ok(Box::new(Guarded {
            file: "a file".into(),
            step: self.0.create_morselizer(store, config, partition)?,
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.0.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Self::shared(self.0.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.0.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.0.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.0.metrics()
    }

    fn file_type(&self) -> &str {
        self.0.file_type()
    }

    fn fmt_extra(&self, format: DisplayFormatType, out: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt_extra(format, out)
    }

    fn supports_repartitioning(&self) -> bool {
        self.0.supports_repartitioning()
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let pushed = self.0.try_pushdown_filters(filters, config)?;
        let updated_node = pushed.updated_node.map(Self::shared);
        Ok(FilterPushdownPropagation { filters: pushed.filters, updated_node })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        use SortOrderPushdownResult::{Exact, Inexact, Unsupported};
        Ok(match self.0.try_pushdown_sort(order, properties)? {
            Exact { inner } => Exact { inner: Self::shared(inner) },
            Inexact { inner } => Inexact { inner: Self::shared(inner) },
            Unsupported => Unsupported,
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.0.reorder_files(files)
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.0.try_pushdown_projection(projection)?.map(Self::shared))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.0.apply_expressions(visit)
    }
}

/// A step of reading a file.
struct Guarded<T> {
    /// The file, for messages.
    file: Arc<str>,
    step: T,
}

impl<T: Debug> Debug for Guarded<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.step.fmt(out)
    }
}

/// Takes a step: an error gets the name of the file, a panic becomes an error.
fn take<T>(file: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut failed = None;
    let taken = guarded(file, || {
        step().map_err(|error| {
            failed = Some(error);
            ReadError::Cancelled
        })
    });
    match (taken, failed) {
        (Ok(taken), _) => Ok(taken),
        (Err(_), Some(error)) => Err(named(file, error)),
        (Err(panic), None) => Err(SqlError::from(panic).into()),
    }
}

/// The error with the name of the file, unless it is about something else: expressions over the
/// columns of a file run where it is read.
fn named(file: &str, error: DataFusionError) -> DataFusionError {
    let is_of_expression = match error.find_root() {
        DataFusionError::External(inner) => inner.is::<SqlError>(),
        DataFusionError::ArrowError(inner, _) => matches!(
            inner.as_ref(),
            ArrowError::CastError(_)
                | ArrowError::ComputeError(_)
                | ArrowError::DivideByZero
                | ArrowError::ArithmeticOverflow(_)
        ),
        _ => false,
    };
    if is_of_expression {
        return error;
    }
    let named = match SqlError::from(error) {
        SqlError::Data(message) if !message.contains(file) => {
            SqlError::Data(format!("file '{file}' can't be read: {message}"))
        }
        SqlError::Io(message) if !message.contains(file) => {
            SqlError::Io(format!("file '{file}' can't be read: {message}"))
        }
        other => other,
    };
    named.into()
}

impl Morselizer for Guarded<Box<dyn Morselizer>> {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let name = match file.extension::<Read>() {
            Some(read) => Arc::clone(&read.name),
            None => Arc::clone(&self.file),
        };
        let step = take(&name, || self.step.plan_file(file))?;
        Ok(Box::new(Guarded { file: name, step }))
    }
}

impl MorselPlanner for Guarded<Box<dyn MorselPlanner>> {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Guarded { file, step } = *self;
        let Some(mut plan) = take(&file, || step.plan())? else { return Ok(None) };
        let morsels = plan.take_morsels().into_iter();
        let morsels = morsels
            .map(|step| Box::new(Guarded { file: Arc::clone(&file), step }) as Box<dyn Morsel>);
        let planners = plan.take_ready_planners().into_iter();
        let planners = planners.map(|step| {
            Box::new(Guarded { file: Arc::clone(&file), step }) as Box<dyn MorselPlanner>
        });
        let mut guarded =
            MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners.collect());
        if let Some(pending) = plan.take_pending_planner() {
            let mut future = pending.into_future();
            let name = Arc::clone(&file);
            guarded.set_pending_planner(async move {
                let step = std::future::poll_fn(|context| {
                    match take(&name, || Ok(future.as_mut().poll(context))) {
                        Ok(polled) => polled,
                        Err(panic) => Poll::Ready(Err(panic)),
                    }
                });
                let step = step.await.map_err(|error| named(&file, error))?;
                Ok(Box::new(Guarded { file, step }) as Box<dyn MorselPlanner>)
            });
        }
        Ok(Some(guarded))
    }
}

impl Morsel for Guarded<Box<dyn Morsel>> {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Guarded { file, step } = *self;
        match take(&file, || Ok(step.into_stream())) {
            Ok(step) => Box::pin(Guarded { file, step: Some(step) }),
            Err(panic) => Box::pin(futures::stream::once(std::future::ready(Err(panic)))),
        }
    }
}

impl Stream for Guarded<Option<BoxStream<'static, Result<RecordBatch>>>> {
    type Item = Result<RecordBatch>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<RecordBatch>>> {
        let Some(mut stream) = self.step.take() else { return Poll::Ready(None) };
        match take(&self.file, || Ok(stream.as_mut().poll_next(context))) {
            // What panicked or failed is not asked again.
            Err(panic) => Poll::Ready(Some(Err(panic))),
            Ok(Poll::Ready(Some(Err(error)))) => Poll::Ready(Some(Err(named(&self.file, error)))),
            Ok(polled) => {
                self.step = Some(stream);
                polled
            }
        }
    }
}
