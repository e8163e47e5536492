//! Kafka as a connector.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use futures::FutureExt;
use futures::future::BoxFuture;
use sembla_runtime::{Error, Result, Sink};

use super::exchange::KafkaExchange;
use super::group::Group;
use super::options::{LATE, PATTERN};
use super::settings::SinkSettings;
use super::sink::KafkaSink;
use super::source::KafkaSource;
use crate::connector::{
    Connector, Exchange, OpenSource, SinkConnector, SinkRequest, SourceConnector, SourceHandle,
    SourceHandles, SourceRequest,
};
use crate::options::{GivenOptions, OptionDef, Options};

/// Topics of Apache Kafka.
///
/// ```
/// use arrow::datatypes::DataType;
/// use sembla_connectors::formats::Column;
/// use sembla_connectors::kafka::Kafka;
/// use sembla_connectors::options::GivenOptions;
/// use sembla_connectors::{ReadMode, SourceConnector, SourceRequest};
///
/// let given = [("topic", "news"), ("bootstrap_servers", "localhost:9092")];
/// let given = given.map(|(key, value)| (key.to_string(), value.to_string())).to_vec();
/// let given = GivenOptions::new("a kafka source", SourceConnector::options(&Kafka), given)?;
/// let opened = SourceConnector::open(
///     &Kafka,
///     SourceRequest {
///         pipeline: "my_pipeline",
///         columns: &[Column::new("text", DataType::Utf8, true)],
///         time: None,
///         options: &given.read()?,
///         mode: ReadMode::Shared,
///         rows: None,
///     },
/// )?;
/// assert_eq!(opened.source.schema().fields().len(), 1);
/// # Ok::<(), sembla_runtime::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Kafka;

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl SourceConnector for Kafka {
    fn options(&self) -> Vec<OptionDef> {
        KafkaSource::options()
    }

    fn no_metadata(&self) -> Option<&'static str> {
        None
    }

    fn open(&self, request: SourceRequest<'_>) -> Result<OpenSource> {
        open_source(&request).map(OpenSource::from)
    }

    fn problems(
        &self,
        request: SourceRequest<'_>,
        within: Duration,
    ) -> BoxFuture<'static, Vec<Error>> {
        match open_source(&request) {
            Ok(source) => source.problems(within).boxed(),
            Err(error) => std::future::ready(vec![error]).boxed(),
        }
    }

    fn shares_partitions(&self) -> bool {
        true
    }

    fn exchange(
        &self,
        name: &str,
        schema: &SchemaRef,
        given: &GivenOptions,
    ) -> Result<Option<Box<dyn Exchange>>> {
        // Only the group knows which topics match a pattern.
        if given.has(PATTERN) {
            return Ok(None);
        }
        Ok(Some(Box::new(KafkaExchange::new(name, schema, given))))
    }
}

fn open_source(request: &SourceRequest<'_>) -> Result<KafkaSource> {
    let SourceRequest { pipeline, columns, options, mode, .. } = request;
    Ok(KafkaSource::with(pipeline, columns, options)?.reading(*mode))
}

impl From<KafkaSource> for OpenSource {
    fn from(source: KafkaSource) -> Self {
        Self { handle: SourceHandle::new(source.group()), source: Box::new(source) }
    }
}

impl SinkConnector for Kafka {
    fn options(&self) -> Vec<OptionDef> {
        KafkaSink::options()
    }

    fn late_option(&self) -> Option<&'static str> {
        Some(LATE)
    }

    fn check(&self, options: &Options) -> Result<()> {
        SinkSettings::new(options).map(drop)
    }

    fn open(&self, request: SinkRequest<'_>) -> Result<Box<dyn Sink>> {
        let SinkRequest { schema, options, handles, checkpoint_interval } = request;
        let sink = KafkaSink::with(schema, options, groups(handles))?;
        match sink.transaction_timeout() {
            Some(timeout) if checkpoint_interval.saturating_mul(2) > timeout => {
                Err(Error::Option(format!(
                    "transaction_timeout must be at least twice stream.checkpoint_interval, for which a transaction is open \
                     ({checkpoint_interval:?}), got {timeout:?}"
                )))
            }
            _ => Ok(Box::new(sink)),
        }
    }

    fn problems(
        &self,
        request: SinkRequest<'_>,
        within: Duration,
    ) -> BoxFuture<'static, Vec<Error>> {
        match KafkaSink::with(request.schema, request.options, groups(request.handles)) {
            Ok(sink) => sink.problems(within).boxed(),
            Err(error) => std::future::ready(vec![error]).boxed(),
        }
    }
}

/// The consumer groups among the handles of sources.
pub(super) fn groups(handles: SourceHandles) -> std::collections::BTreeMap<String, Group> {
    let groups = handles.into_iter();
    groups.filter_map(|(source, handle)| Some((source, handle.get::<Group>()?.clone()))).collect()
}
