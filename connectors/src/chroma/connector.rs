//! Chroma as a connector.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use sembla_runtime::{Error, Result, Sink};

use super::options::{SCHEMES, Settings, sink_options};
use super::store::ChromaStore;
use crate::collections::{CollectionSink, options_of_address};
use crate::connector::{Connector, SinkConnector, SinkRequest, problems_of};
use crate::options::{OptionDef, Options};

/// Collections of Chroma.
#[derive(Clone, Copy, Debug)]
pub struct Chroma;

impl Connector for Chroma {
    fn name(&self) -> &'static str {
        "chroma"
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl SinkConnector for Chroma {
    fn options(&self) -> Vec<OptionDef> {
        sink_options()
    }

    fn check(&self, options: &Options) -> Result<()> {
        Settings::new(options).map(drop)
    }

    fn open(&self, request: SinkRequest<'_>) -> Result<Box<dyn Sink>> {
        Ok(Box::new(sink(request.schema, Settings::new(request.options)?)?))
    }

    fn problems(
        &self,
        request: SinkRequest<'_>,
        within: Duration,
    ) -> BoxFuture<'static, Vec<Error>> {
        let sink = Settings::new(request.options).and_then(|mut settings| {
            settings.base.retries = 0;
            sink(request.schema, settings)
        });
        problems_of(self.name(), within, async move { sink?.probe().await })
    }

    fn replaces(&self, _options: &Options) -> bool {
        true
    }

    fn takes_batches(&self) -> bool {
        true
    }

    fn of_address(&self, address: &str) -> Option<Result<Vec<(String, String)>>> {
        options_of_address(SCHEMES, address)
    }
}

fn sink(schema: &SchemaRef, settings: Settings) -> Result<CollectionSink<ChromaStore>> {
    let base = settings.base.clone();
    CollectionSink::new(schema, base, ChromaStore::new(settings, schema)?)
}
