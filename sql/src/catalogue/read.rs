//! A static query over a source of files: its rows in the order of the files, with the types that
//! it declares. Parquet is read by DataFusion, in parallel; other files as a stream reads them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatchOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::TryStreamExt;
use sembla_connectors::files::SourceFiles;
use sembla_connectors::formats::fit;

use super::source::{SourceColumn, SourceDef};
use super::source_files;
use crate::one_input::{OneInput, Over};
use crate::query::QueryScope;
use crate::{SqlError, files};

/// Plans the reading of a source's files.
///
/// # Errors
/// Files that do not exist or can't be read, and columns that they lack.
pub(super) async fn scan(
    state: &SessionState,
    source: &Arc<SourceDef>,
    described: &SourceFiles,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (path, unit) = (described.path.as_str(), described.time_unit);
    let wanted: Vec<usize> = match projection {
        Some(columns) => columns.clone(),
        None => (0..source.columns.len()).collect(),
    };
    if !all_parquet(path).await? {
        let columns = wanted.iter().filter_map(|position| source.columns.get(*position).cloned());
        let cancel = QueryScope::of(state.config_options()).cancel;
        let what = source_files::FileColumns::strict(source, described, columns.collect());
        return source_files::table::plan(what, limit, cancel);
    }
    let table = files::open(state, path).await?;
    let found = table.schema();
    let mut columns = Vec::with_capacity(wanted.len());
    let mut read = Vec::new();
    for position in wanted {
        let Some(column) = source.columns.get(position) else { continue };
        let field = &column.field;
        let from = match found.index_of(field.name()) {
            Ok(there) => {
                read.push(there);
                read.len() - 1
            }
            Err(_) => return Err(missing(source, path, field.name(), &found).into()),
        };
        columns.push(FileColumn { declared: column.clone(), from, unit });
    }
    let input = table.scan(state, Some(&read), &[], limit).await?;
    Ok(Arc::new(OneInput(AsDeclared::new(Arc::clone(source), columns, input))))
}

/// Whether all files are Parquet. Others are read by [`source_files`].
async fn all_parquet(path: &str) -> Result<bool> {
    let path = path.to_string();
    let looked = tokio::task::spawn_blocking(move || source_files::is_parquet(&path));
    let looked = looked.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
    Ok(looked?)
}

fn missing(source: &SourceDef, path: &str, column: &str, found: &Schema) -> SqlError {
    let names: Vec<&str> = found.fields().iter().map(|field| field.name().as_str()).collect();
    SqlError::Statement(format!(
        "source '{}': '{path}' has no column '{column}'; its columns are {}",
        source.name,
        names.join(", ")
    ))
}

/// A column that is read.
#[derive(Clone, Debug)]
struct FileColumn {
    declared: SourceColumn,
    /// Its position in what is read.
    from: usize,
    /// What numbers count where it holds times.
    unit: TimeUnit,
}

impl FileColumn {
    /// The values of a batch, of the declared type.
    fn values(&self, source: &str, batch: &RecordBatch) -> Result<ArrayRef, SqlError> {
        let field = &self.declared.field;
        let found = batch.columns().get(self.from);
        let found = found.ok_or_else(|| SqlError::Bug("a column of files is missing".into()))?;
        let values = fit(found, &self.declared.column(), self.unit)
            .map_err(|why| SqlError::Data(format!("source '{source}': {why}")))?;
        if values.null_count() > 0 && !field.is_nullable() {
            return Err(SqlError::Data(format!(
                "source '{source}': column '{}' is NOT NULL, but a row of the files has NULL",
                field.name()
            )));
        }
        Ok(values)
    }
}

/// Gives the rows of the files of a source the types that it declares.
#[derive(Debug)]
struct AsDeclared {
    source: Arc<SourceDef>,
    columns: Vec<FileColumn>,
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl AsDeclared {
    fn new(
        source: Arc<SourceDef>,
        columns: Vec<FileColumn>,
        input: Arc<dyn ExecutionPlan>,
    ) -> Self {
        let fields: Vec<FieldRef> =
            columns.iter().map(|column| Arc::clone(&column.declared.field)).collect();
        let schema = Arc::new(Schema::new(fields));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { source, columns, input, schema, properties: Arc::new(properties) }
    }
}

/// A batch as a source declares it.
fn declared(
    source: &str,
    columns: &[FileColumn],
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch> {
    let arrays = columns.iter().map(|column| column.values(source, batch));
    let arrays = arrays.collect::<Result<Vec<_>, SqlError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

impl Over for AsDeclared {
    const NAME: &'static str = "SourceExec";

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "SourceExec: {}", self.source.name)
    }

    fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Self {
        Self::new(Arc::clone(&self.source), self.columns.clone(), input)
    }

    fn rows(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (source, columns) = (Arc::clone(&self.source), self.columns.clone());
        let schema = Arc::clone(&self.schema);
        let converted = self.input.execute(partition, context)?.and_then(move |batch| {
            std::future::ready(declared(&source.name, &columns, &schema, &batch))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), converted)))
    }
}
