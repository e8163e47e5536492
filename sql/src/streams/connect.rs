//! Opens what a pipeline reads from and writes to, by the names of connectors.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SessionState;
use sembla_connectors::files::{FilesSink, sink_options};
use sembla_connectors::formats::Column;
use sembla_connectors::kafka::{KafkaSink, KafkaSource};
use sembla_connectors::options::Options;
use sembla_connectors::replay::ReplaySource;
use sembla_connectors::store::{STORE_OPTIONS, open_store};
use sembla_runtime::state::Store;
use sembla_runtime::{Sink, Source};

use super::replay::rows_from;
use super::settings::StreamSettings;
use crate::SqlError;
use crate::catalogue::connector::{FILES, KAFKA, files_source_options};
use crate::catalogue::{SinkDef, SourceDef};

/// What a pipeline is connected to.
pub(super) struct Opened {
    pub(super) sources: Vec<Box<dyn Source>>,
    pub(super) sink: Box<dyn Sink>,
    pub(super) store: Arc<dyn Store>,
}

/// Opens the sources, the sink and the store of a pipeline. `schema` is that of the results.
///
/// # Errors
/// Options that can't be, and what the outside world says.
pub(super) fn open(
    pipeline: &str,
    state: &SessionState,
    sources: &[Arc<SourceDef>],
    sink: &SinkDef,
    schema: &SchemaRef,
    settings: &StreamSettings,
) -> Result<Opened, SqlError> {
    let mut opened: Vec<Box<dyn Source>> = Vec::with_capacity(sources.len());
    let mut groups = BTreeMap::new();
    for source in sources {
        let given = source.options.as_slice();
        if source.connector == KAFKA {
            let columns: Vec<Column> =
                source.columns.iter().map(|column| column.column()).collect();
            let kafka = KafkaSource::new(pipeline, &columns, given)
                .map_err(|error| named("source", &source.name, error))?;
            groups.insert(source.name.clone(), kafka.group());
            opened.push(Box::new(kafka));
        } else {
            let replay = replay(state, source).map_err(|e| named("source", &source.name, e))?;
            opened.push(Box::new(replay));
        }
    }
    let sink = open_sink(sink, schema, groups).map_err(|e| named("sink", &sink.name, e))?;
    let place = format!("{}/{pipeline}", settings.state.trim_end_matches('/'));
    let options = Options::read("the store of state", STORE_OPTIONS, &[]);
    let store = options.and_then(|options| open_store(&place, &options))?;
    Ok(Opened { sources: opened, sink, store })
}

fn replay(state: &SessionState, source: &SourceDef) -> sembla_runtime::Result<ReplaySource> {
    let options = files_source_options(&source.options)?;
    let rows = rows_from(state, source, options.flag("in_order")?);
    let time = source.watermark.as_ref().map(|watermark| watermark.column.as_str());
    ReplaySource::new(source.schema(), rows, time, &options)
}

fn open_sink(
    sink: &SinkDef,
    schema: &SchemaRef,
    groups: BTreeMap<String, sembla_connectors::kafka::Group>,
) -> sembla_runtime::Result<Box<dyn Sink>> {
    let given = sink.options.as_slice();
    if sink.connector == KAFKA {
        return Ok(Box::new(KafkaSink::new(schema, given, groups)?));
    }
    debug_assert_eq!(sink.connector, FILES);
    let options = Options::read("a files sink", &sink_options(), given)?;
    Ok(Box::new(FilesSink::new(schema, &options)?))
}

fn named(kind: &str, name: &str, error: sembla_runtime::Error) -> SqlError {
    match SqlError::from(error) {
        SqlError::Statement(message) => SqlError::Statement(format!("{kind} '{name}': {message}")),
        SqlError::Io(message) => SqlError::Io(format!("{kind} '{name}': {message}")),
        other => other,
    }
}
