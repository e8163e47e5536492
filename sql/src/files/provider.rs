//! Files as a table of a session.
//!
//! A scan is a run for each stretch of files of one family, put together in order: Parquet files
//! are read by DataFusion, texts by the readers. So a folder of mixed formats keeps its order, and
//! one of Parquet alone keeps all that DataFusion does for it.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use sembla_readers::Cancel;
use sembla_readers::files::{Content, Looks, Table};

use super::{parquet, prune, text};
use crate::SqlError;

/// Files as a table.
#[derive(Clone, Debug)]
pub struct FilesTable {
    table: Arc<Table>,
}

/// A scan of some columns.
pub(super) struct Scan<'a> {
    pub(super) table: &'a Arc<Table>,
    pub(super) session: &'a dyn Session,
    /// The columns of the table that are read, in the order of the output.
    pub(super) columns: Vec<usize>,
    /// The output.
    pub(super) schema: SchemaRef,
    /// Rows that are enough; `None` is all.
    pub(super) limit: Option<usize>,
    pub(super) cancel: Cancel,
}

/// Files that lie one after another and are read by one reader.
struct Run {
    is_parquet: bool,
    files: Vec<usize>,
    bytes: u64,
}

impl FilesTable {
    /// The table of files that were looked at.
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table }
    }

    /// How a column of text looks by its first values.
    ///
    /// # Errors
    /// Files that can't be read.
    pub(crate) fn looks(&self, column: &str) -> Result<Looks, SqlError> {
        let Ok(column) = self.table.schema.index_of(column) else { return Ok(Looks::Texts) };
        let looks = sembla_readers::files::looks(&self.table, &[column])?;
        Ok(looks.first().copied().unwrap_or(Looks::Texts))
    }

    /// Stretches of files with rows, in order.
    fn runs(&self, files: &[usize]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for at in files {
            let Some(file) = self.table.files.get(*at).filter(|file| file.rows() > 0) else {
                continue;
            };
            let is_parquet = matches!(file.content, Content::Parquet(_));
            match runs.last_mut().filter(|run| run.is_parquet == is_parquet) {
                Some(run) => {
                    run.files.push(*at);
                    run.bytes += file.file.bytes;
                }
                None => runs.push(Run { is_parquet, files: vec![*at], bytes: file.file.bytes }),
            }
        }
        runs
    }
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Filters on folders leave files out here; all are applied to the rows too.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.table.schema.fields().len()).collect(),
        };
        let fields = columns.iter().filter_map(|at| self.table.schema.fields().get(*at).cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let runs = self.runs(&prune::wanted(&self.table, session, filters)?);
        // Rows that a filter leaves out don't count.
        let limit = limit.filter(|_| filters.is_empty());
        let cancel = super::cancel_of(session.config().options());
        let scan = Scan { table: &self.table, session, columns, schema, limit, cancel };
        let partitions = session.config().target_partitions().max(1);
        let bytes: u64 = runs.iter().map(|run| run.bytes).sum();
        let mut plans = Vec::with_capacity(runs.len());
        for run in &runs {
            let share = partitions as u64 * run.bytes / bytes.max(1);
            let share = if runs.len() == 1 { partitions } else { share.max(1) as usize };
            plans.push(match run.is_parquet {
                true => parquet::plan(&scan, &run.files, share)?,
                false => text::plan(&scan, &run.files, share),
            });
        }
        match plans.len() {
            0 => Ok(Arc::new(EmptyExec::new(scan.schema))),
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }
}
