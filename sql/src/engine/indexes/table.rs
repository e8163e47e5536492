//! The rows of an index as a table. They are read here; what changes them are the session's own
//! statements, which change the vectors too.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{MemTable, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableScan, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::Index;
use crate::SqlError;

/// An index as a table.
#[derive(Debug)]
pub(crate) struct IndexTable(pub(crate) Arc<Index>);

impl IndexTable {
    /// The index that a scan reads, if it reads one.
    pub(crate) fn index_of(scan: &TableScan) -> Option<Arc<Index>> {
        Self::index_in(&scan.source)
    }

    /// The index that a table is, if it is one.
    pub(crate) fn index_in(source: &Arc<dyn TableSource>) -> Option<Arc<Index>> {
        let provider = source_as_provider(source).ok()?;
        let table = (provider.as_ref() as &dyn Any).downcast_ref::<Self>()?;
        Some(Arc::clone(&table.0))
    }

    /// The rows as they are now, in one partition.
    fn rows(&self) -> Result<MemTable> {
        let rows = self.0.read().rows.clone();
        MemTable::try_new(Arc::clone(&self.0.schema), vec![rows])
    }
}

#[async_trait]
impl TableProvider for IndexTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.rows()?.scan(state, projection, filters, limit).await
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(not_here())
    }

    async fn delete_from(
        &self,
        _state: &dyn Session,
        _filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(not_here())
    }

    async fn update(
        &self,
        _state: &dyn Session,
        _assignments: Vec<(String, Expr)>,
        _filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(not_here())
    }

    async fn truncate(&self, _state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        Err(not_here())
    }
}

/// What changes an index in another way than the statements of a session, such as a statement that
/// is only explained.
fn not_here() -> datafusion::error::DataFusionError {
    SqlError::Statement(
        "an index is changed by INSERT INTO, UPDATE and DELETE FROM, each a statement of its own"
            .into(),
    )
    .into()
}
