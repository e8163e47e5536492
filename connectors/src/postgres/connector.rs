//! PostgreSQL as a connector.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use sembla_runtime::{Error, Result, Sink};

use super::address::Address;
use super::options::{
    LATE, SINK_OPTIONS, SOURCE_OPTIONS, SinkSettings, TABLE_OPTIONS, URL, options_of_address,
    read_table_options,
};
use super::sink::PostgresSink;
use super::source::{PostgresSource, SourceSettings};
use super::table::PostgresTable;
use crate::connector::{
    Connector, OpenSource, ReadMode, SinkConnector, SinkRequest, SourceConnector, SourceHandle,
    SourceRequest, problems_of,
};
use crate::options::{OptionDef, Options};
use crate::stored::{StoredTable, TableConnector};

/// Tables of PostgreSQL, with pgvector for vectors.
#[derive(Clone, Copy, Debug)]
pub struct Postgres;

impl Connector for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }

    fn table(&self) -> Option<&dyn TableConnector> {
        Some(self)
    }
}

impl SourceConnector for Postgres {
    fn options(&self) -> Vec<OptionDef> {
        SOURCE_OPTIONS.to_vec()
    }

    fn no_metadata(&self) -> Option<&'static str> {
        Some("rows of a table don't have; leave METADATA out to read a column of the table")
    }

    fn open(&self, request: SourceRequest<'_>) -> Result<OpenSource> {
        let source = Box::new(source(&request)?);
        Ok(OpenSource { source, handle: SourceHandle::default() })
    }

    fn problems(
        &self,
        request: SourceRequest<'_>,
        within: Duration,
    ) -> BoxFuture<'static, Vec<Error>> {
        let source = source(&request);
        problems_of(self.name(), within, async move { source?.probe().await })
    }
}

fn source(request: &SourceRequest<'_>) -> Result<PostgresSource> {
    let settings = SourceSettings::new(request.options)?;
    Ok(PostgresSource::new(settings, request.columns, request.mode == ReadMode::Bounded))
}

#[async_trait]
impl TableConnector for Postgres {
    fn options(&self) -> Vec<OptionDef> {
        TABLE_OPTIONS.to_vec()
    }

    fn is_address(&self, address: &str) -> bool {
        Address::is_one(address)
    }

    fn of_address(&self, address: &str) -> Result<Vec<(String, String)>> {
        match address.starts_with("env:") {
            true => Ok(vec![(URL.to_string(), address.to_string())]),
            false => options_of_address(address, TABLE_OPTIONS),
        }
    }

    async fn open(&self, options: &Options) -> Result<Arc<dyn StoredTable>> {
        let (address, name) = read_table_options(options)?;
        Ok(Arc::new(PostgresTable::open(address, name).await?))
    }
}

impl SinkConnector for Postgres {
    fn options(&self) -> Vec<OptionDef> {
        SINK_OPTIONS.to_vec()
    }

    fn late_option(&self) -> Option<&'static str> {
        Some(LATE)
    }

    fn check(&self, options: &Options) -> Result<()> {
        SinkSettings::new(options).map(drop)
    }

    fn open(&self, request: SinkRequest<'_>) -> Result<Box<dyn Sink>> {
        let settings = SinkSettings::new(request.options)?;
        Ok(Box::new(PostgresSink::new(request.schema, settings)?))
    }

    fn problems(
        &self,
        request: SinkRequest<'_>,
        within: Duration,
    ) -> BoxFuture<'static, Vec<Error>> {
        let sink = SinkSettings::new(request.options)
            .and_then(|settings| PostgresSink::new(request.schema, settings));
        problems_of(self.name(), within, async move { sink?.probe().await })
    }

    fn replaces(&self, options: &Options) -> bool {
        SinkSettings::new(options).is_ok_and(|settings| !settings.rows.key.is_empty())
    }

    fn takes_batches(&self) -> bool {
        true
    }

    fn of_address(&self, address: &str) -> Option<Result<Vec<(String, String)>>> {
        Address::is_one(address).then(|| options_of_address(address, SINK_OPTIONS))
    }
}
