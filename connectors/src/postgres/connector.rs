//! PostgreSQL as a connector.

use std::time::Duration;

use futures::future::BoxFuture;
use sembla_runtime::{Error, Result, Sink};

use super::address::Address;
use super::options::{LATE, SINK_OPTIONS, SinkSettings, options_of_address};
use super::sink::PostgresSink;
use crate::connector::{Connector, SinkConnector, SinkRequest, problems_of};
use crate::options::{OptionDef, Options};

/// Tables of PostgreSQL, with pgvector for vectors.
#[derive(Clone, Copy, Debug)]
pub struct Postgres;

impl Connector for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
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

    fn of_address(&self, address: &str) -> Option<Result<Vec<(String, String)>>> {
        Address::is_one(address).then(|| options_of_address(address))
    }
}
