//! `CREATE EXTERNAL TABLE`: files with columns that the user declares, which the readers read as
//! such.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::common::Constraints;
use datafusion::datasource::listing_table_factory::ListingTableFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{CreateExternalTable, Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use sembla_readers::Error as ReadError;
use sembla_readers::files::{Format, TableOptions};

use crate::SqlError;

/// Makes tables of files of one format.
#[derive(Debug)]
pub(crate) struct ExternalFiles;

/// The words of `STORED AS`, and what they mean.
const FORMATS: &[(&str, Format)] = &[
    ("PARQUET", Format::Parquet),
    ("CSV", Format::Csv),
    ("JSON", Format::Json),
    ("NDJSON", Format::Json),
    ("JSONL", Format::Json),
];

impl ExternalFiles {
    /// The words of `STORED AS` that are read here.
    pub(crate) fn stored_as() -> impl Iterator<Item = &'static str> {
        FORMATS.iter().map(|(word, _)| *word)
    }
}

#[async_trait]
impl TableProviderFactory for ExternalFiles {
    async fn create(
        &self,
        state: &dyn Session,
        command: &CreateExternalTable,
    ) -> Result<Arc<dyn TableProvider>> {
        let session = session_of(state)?;
        let read = read(session, command).await?;
        Ok(Arc::new(ExternalTable { schema: read.schema(), command: command.clone() }))
    }
}

/// The files as they are now. A place that rows will be written to may be empty, or not there yet.
async fn read(
    session: &SessionState,
    command: &CreateExternalTable,
) -> Result<Arc<dyn TableProvider>> {
    let options = options(command)?;
    let is_declared = options.columns.is_some();
    match super::try_open(session, command.locations.clone(), options.clone()).await? {
        Err(ReadError::Missing(_)) if is_declared => {
            super::open_with(session, Vec::new(), options).await
        }
        read => Ok(read.map_err(SqlError::from)?),
    }
}

/// What the statement says of the files.
fn options(command: &CreateExternalTable) -> Result<TableOptions> {
    let word = command.file_type.to_uppercase();
    let format = FORMATS.iter().find(|(known, _)| *known == word).map(|(_, format)| *format);
    let mut options = TableOptions { format, ..TableOptions::default() };
    let declared = command.schema.as_arrow().fields();
    if !declared.is_empty() {
        let mut fields: Vec<Field> = declared
            .iter()
            .map(|field| match field.data_type() {
                DataType::Utf8View => field.as_ref().clone().with_data_type(DataType::Utf8),
                _ => field.as_ref().clone(),
            })
            .collect();
        for folder in &command.table_partition_cols {
            if !fields.iter().any(|field| field.name() == folder) {
                fields.push(Field::new(folder, DataType::Utf8, true));
            }
        }
        options.columns = Some(Arc::new(Schema::new(fields)));
    }
    for (key, value) in &command.options {
        let key = key.to_lowercase();
        match key.strip_prefix("format.").unwrap_or(&key) {
            "has_header" => {
                options.header = Some(match value.to_lowercase().as_str() {
                    "true" => true,
                    "false" => false,
                    _ => {
                        return Err(SqlError::Statement(format!(
                            "has_header must be true or false, got '{value}'"
                        ))
                        .into());
                    }
                });
            }
            "delimiter" => options.delimiter = Some(letter(&key, value)?),
            "quote" => options.quote = Some(letter(&key, value)?),
            "escape" => options.escape = Some(letter(&key, value)?),
            // How files are written, and what the readers find by themselves.
            _ => {}
        }
    }
    Ok(options)
}

/// A byte that means something between or around fields.
fn letter(key: &str, value: &str) -> Result<u8> {
    match value.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => {
            let key = key.trim_start_matches("format.");
            let message = format!("{key} must be one ASCII character such as ';', got '{value}'");
            Err(SqlError::Statement(message).into())
        }
    }
}

/// Files that are read by the readers, and written by DataFusion. They are looked at for every
/// query, so that what was written since is seen.
#[derive(Debug)]
struct ExternalTable {
    schema: SchemaRef,
    command: CreateExternalTable,
}

#[async_trait]
impl TableProvider for ExternalTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.command.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.command.definition.as_deref()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.command.column_defaults.get(column)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let session = session_of(state)?;
        let read = read(session, &self.command).await?;
        if read.schema() != self.schema {
            return Err(SqlError::Data(format!(
                "the files of table '{0}' no longer have the columns that it was created with; DROP TABLE {0} and create it again",
                self.command.name
            ))
            .into());
        }
        read.scan(state, projection, filters, limit).await
    }

    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        how: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let writing = ListingTableFactory::new().create(state, &self.command).await?;
        writing.insert_into(state, input, how).await
    }
}

fn session_of(state: &dyn Session) -> Result<&SessionState> {
    let session = state.as_any().downcast_ref::<SessionState>();
    session.ok_or_else(|| DataFusionError::Internal("the session is unknown".into()))
}
