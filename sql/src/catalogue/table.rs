//! Sources and sinks as tables of a session.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableScan, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::sink::SinkDef;
use super::source::SourceDef;
use super::{bounded, read};
use crate::SqlError;

/// A source as a table. A batch query reads the rows that exist; a pipeline finds the
/// source in the query's plan instead.
#[derive(Debug)]
pub(crate) struct StreamTable {
    source: Arc<SourceDef>,
    schema: SchemaRef,
}

impl StreamTable {
    /// The table of a source.
    pub(crate) fn new(source: Arc<SourceDef>) -> Self {
        let schema = source.schema();
        Self { source, schema }
    }

    /// What the session knows of the source.
    pub(crate) fn definition(&self) -> &Arc<SourceDef> {
        &self.source
    }

    /// The source that a scan reads, if it reads one.
    pub(crate) fn source_of(scan: &TableScan) -> Option<Arc<SourceDef>> {
        let provider = source_as_provider(&scan.source).ok()?;
        let table = (provider.as_ref() as &dyn Any).downcast_ref::<Self>()?;
        Some(Arc::clone(table.definition()))
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(files) = self.source.files()? else {
            return bounded::scan(&self.source, projection, limit);
        };
        let state = session.as_any().downcast_ref::<SessionState>();
        let state = state.ok_or_else(|| DataFusionError::Internal("no session state".into()))?;
        read::scan(state, &self.source, &files, projection, limit).await
    }

    async fn insert_into(
        &self,
        _session: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(SqlError::Statement(format!(
            "'{}' is a source, which can only be read; INSERT INTO writes to tables, indexes and sinks",
            self.source.name
        ))
        .into())
    }
}

/// A sink as a table, so that its name is taken and reading it says why it can't be.
#[derive(Debug)]
pub(crate) struct SinkTable {
    sink: Arc<SinkDef>,
    schema: SchemaRef,
}

impl SinkTable {
    /// The table of a sink.
    pub(crate) fn new(sink: Arc<SinkDef>) -> Self {
        let schema = sink.schema.clone().unwrap_or_else(|| Arc::new(Schema::empty()));
        Self { sink, schema }
    }
}

#[async_trait]
impl TableProvider for SinkTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(SqlError::Statement(format!(
            "'{}' is a sink, which can only be written to, with INSERT INTO",
            self.sink.name
        ))
        .into())
    }
}
