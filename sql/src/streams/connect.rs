//! Opens what a pipeline reads from and writes to, by the names of connectors.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SessionState;
use sembla_connectors::files::{FilesSink, sink_options};
use sembla_connectors::formats::Column;
use sembla_connectors::kafka::{Exchange, Group, KafkaSink, KafkaSource};
use sembla_connectors::options::Options;
use sembla_connectors::replay::ReplaySource;
use sembla_connectors::store::{STORE_OPTIONS, open_store};
use sembla_runtime::state::Store;
use sembla_runtime::{Sink, Source};

use super::replay::rows_from;
use super::settings::StreamSettings;
use crate::SqlError;
use crate::catalogue::connector::{FILES, KAFKA, files_source_options, watch_interval};
use crate::catalogue::{SinkDef, SourceDef};

/// The consumer groups of a pipeline's sources, by source.
pub(super) type Groups = BTreeMap<String, Group>;

/// Opens the sources of a pipeline. One that has windows must read all partitions, alone.
///
/// # Errors
/// Options that can't be.
pub(super) fn sources(
    pipeline: &str,
    state: &SessionState,
    sources: &[Arc<SourceDef>],
    is_alone: bool,
) -> Result<(Vec<Box<dyn Source>>, Groups), SqlError> {
    let mut opened: Vec<Box<dyn Source>> = Vec::with_capacity(sources.len());
    let mut groups = BTreeMap::new();
    for source in sources {
        let given = source.options.as_slice();
        if source.connector == KAFKA {
            let columns: Vec<Column> =
                source.columns.iter().map(|column| column.column()).collect();
            let kafka = KafkaSource::new(pipeline, &columns, given)
                .map_err(|error| SqlError::of("source", &source.name, error))?;
            let kafka = if is_alone { kafka.reading_alone() } else { kafka };
            groups.insert(source.name.clone(), kafka.group());
            opened.push(Box::new(kafka));
        } else {
            let replay =
                replay(state, source).map_err(|e| SqlError::of("source", &source.name, e))?;
            opened.push(Box::new(replay));
        }
    }
    Ok((opened, groups))
}

/// Opens where the state of a pipeline is kept.
///
/// # Errors
/// An address that can't be.
pub(super) fn store(pipeline: &str, settings: &StreamSettings) -> Result<Arc<dyn Store>, SqlError> {
    let place = format!("{}/{pipeline}", settings.state.trim_end_matches('/'));
    let options = Options::read("the store of state", STORE_OPTIONS, &[]);
    Ok(options.and_then(|options| open_store(&place, &options))?)
}

/// The exchange of a pipeline, at the cluster of its first source.
///
/// # Errors
/// [`SqlError::Statement`] where a source can't be shared by instances.
pub(super) fn exchange(
    pipeline: &str,
    sources: &[Arc<SourceDef>],
    schema: &SchemaRef,
) -> Result<Exchange, SqlError> {
    let is_shared = |source: &SourceDef| {
        source.connector == KAFKA && source.options.get("topic_pattern").is_none()
    };
    match sources {
        [first, ..] if sources.iter().all(|source| is_shared(source)) => {
            Ok(Exchange::new(&exchange_topic(pipeline), schema, first.options.as_slice()))
        }
        _ => Err(SqlError::Statement(format!(
            "pipeline '{pipeline}' can't have an exchange: that takes sources of Kafka whose topics are named; \
             leave stream.exchange out"
        ))),
    }
}

/// The topic of a pipeline's exchange.
pub(super) fn exchange_topic(pipeline: &str) -> String {
    format!("{pipeline}.exchange")
}

fn replay(state: &SessionState, source: &SourceDef) -> sembla_runtime::Result<ReplaySource> {
    let options = files_source_options(&source.options)?;
    let watch = watch_interval(&options)?;
    let in_order = options.flag("in_order")? || watch.is_some();
    let rows = rows_from(state, source, in_order, watch);
    let time = source.watermark.as_ref().map(|watermark| watermark.column.as_str());
    let replay = ReplaySource::new(source.schema(), rows, time, &options)?;
    Ok(if watch.is_some() { replay.endless() } else { replay })
}

/// Opens the sink of a pipeline. `schema` is that of the results.
///
/// # Errors
/// Options that can't be, and what the outside world says.
pub(super) fn sink(
    sink: &SinkDef,
    schema: &SchemaRef,
    groups: Groups,
    settings: &StreamSettings,
) -> Result<Box<dyn Sink>, SqlError> {
    open_sink(sink, schema, groups, settings)
        .map_err(|error| SqlError::of("sink", &sink.name, error))
}

fn open_sink(
    sink: &SinkDef,
    schema: &SchemaRef,
    groups: Groups,
    settings: &StreamSettings,
) -> sembla_runtime::Result<Box<dyn Sink>> {
    let given = sink.options.as_slice();
    if sink.connector == KAFKA {
        let kafka = KafkaSink::new(schema, given, groups)?;
        let interval = settings.options.checkpoint_interval;
        return match kafka.transaction_timeout() {
            Some(timeout) if interval.saturating_mul(2) > timeout => {
                Err(sembla_runtime::Error::Option(format!(
                    "a transaction is open from one commit to the next, {interval:?} (stream.checkpoint_interval), \
                     and ends after {timeout:?} (transaction_timeout); let it be at least twice as long"
                )))
            }
            _ => Ok(Box::new(kafka)),
        };
    }
    debug_assert_eq!(sink.connector, FILES);
    let options = Options::read("a files sink", &sink_options(), given)?;
    Ok(Box::new(FilesSink::new(schema, &options)?))
}
