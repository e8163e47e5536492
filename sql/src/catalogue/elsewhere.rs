//! Tables of a store as tables of a session: `CREATE EXTERNAL TABLE … STORED AS POSTGRES`.
//!
//! The columns are looked up when the table is created. Rows are read by each scan anew, all as of
//! one moment; columns, conditions and a limit are left to the store where it takes them.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{CreateExternalTable, Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt};
use sembla_connectors::{CONNECTORS, Connector, StoredTable, Wanted};
use sembla_options::GivenOptions;

use super::conditions::condition;
use crate::SqlError;

/// Makes tables of connectors that have some.
#[derive(Debug)]
pub(crate) struct StoredTables;

impl StoredTables {
    /// The words of `STORED AS` that mean such a table.
    pub(crate) fn stored_as() -> impl Iterator<Item = String> {
        CONNECTORS.iter().filter(|c| c.table().is_some()).map(|c| c.name().to_uppercase())
    }
}

#[async_trait]
impl TableProviderFactory for StoredTables {
    async fn create(
        &self,
        _state: &dyn Session,
        command: &CreateExternalTable,
    ) -> Result<Arc<dyn TableProvider>> {
        let name = command.name.table().to_string();
        let word = command.file_type.to_lowercase();
        let connector = CONNECTORS.iter().find(|connector| connector.name() == word);
        let connector = connector.copied().ok_or_else(|| {
            DataFusionError::Internal(format!("no connector has tables STORED AS {word}"))
        })?;
        Ok(Arc::new(open(name, connector, command).await?))
    }
}

async fn open(
    name: String,
    connector: &'static dyn Connector,
    command: &CreateExternalTable,
) -> Result<StoredProvider, SqlError> {
    let mistake = |why: String| SqlError::Statement(format!("table '{name}': {why}"));
    let Some(kind) = connector.table() else {
        return Err(mistake(format!("connector '{}' has no tables", connector.name())));
    };
    if !command.schema.fields().is_empty() {
        return Err(mistake("the store says which columns it has; leave them out".into()));
    }
    let [location] = command.locations.as_slice() else {
        return Err(mistake("LOCATION must be one address".into()));
    };
    let mut pairs = kind.of_address(location).map_err(|error| mistake(error.to_string()))?;
    let mut more: Vec<(String, String)> = command
        .options
        .iter()
        .map(|(key, value)| {
            let key = key.to_lowercase();
            (key.strip_prefix("format.").unwrap_or(&key).to_string(), value.clone())
        })
        .collect();
    more.sort();
    pairs.extend(more);
    let what = format!("a {} table", connector.name());
    let options = GivenOptions::new(&what, kind.options(), pairs)
        .and_then(|given| given.read())
        .map_err(|error| mistake(error.to_string()))?;
    let table = kind.open(&options).await.map_err(|error| SqlError::of("table", &name, error))?;
    Ok(StoredProvider { name: name.into(), table })
}

/// A table of a store.
#[derive(Debug)]
struct StoredProvider {
    name: Arc<str>,
    table: Arc<dyn StoredTable>,
}

#[async_trait]
impl TableProvider for StoredProvider {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let schema = self.schema();
        let taken = filters.iter().map(|filter| match condition(filter, &schema) {
            Some(condition) if self.table.takes(&condition) => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
        });
        Ok(taken.collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = self.schema();
        let columns = match projection {
            Some(columns) => columns.clone(),
            None => (0..all.fields().len()).collect(),
        };
        let fields = columns.iter().filter_map(|place| all.fields().get(*place).cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let conditions = filters.iter().filter_map(|filter| condition(filter, &all));
        let conditions = conditions.filter(|condition| self.table.takes(condition)).collect();
        let rows = StoredRows {
            name: Arc::clone(&self.name),
            table: Arc::clone(&self.table),
            schema: Arc::clone(&schema),
            wanted: Wanted { columns, conditions, limit },
        };
        let none = std::iter::empty();
        let rows: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(rows)];
        Ok(Arc::new(StreamingTableExec::try_new(schema, rows, None, none, false, limit)?))
    }
}

/// The rows of a scan.
struct StoredRows {
    name: Arc<str>,
    table: Arc<dyn StoredTable>,
    schema: SchemaRef,
    wanted: Wanted,
}

impl fmt::Debug for StoredRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRows")
            .field("name", &self.name)
            .field("wanted", &self.wanted)
            .finish()
    }
}

impl PartitionStream for StoredRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, wanted) = (Arc::clone(&self.table), self.wanted.clone());
        let name = Arc::clone(&self.name);
        let failed = move |error| DataFusionError::from(SqlError::of("table", &name, error));
        let named = failed.clone();
        let batches = futures::stream::once(async move {
            let batches = table.read(wanted).await.map_err(&failed)?;
            Ok::<_, DataFusionError>(batches.map(move |batch| batch.map_err(&named)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches.try_flatten()))
    }
}
