//! Opens what a pipeline reads from, and where its state is kept.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SessionState;
use sembla_connectors::store::{STORE_OPTIONS, open_store};
use sembla_connectors::{Exchange, ReadMode, SourceHandles};
use sembla_options::Options;
use sembla_runtime::Source;
use sembla_runtime::state::Store;

use super::replay::rows_from;
use super::settings::StreamSettings;
use crate::SqlError;
use crate::catalogue::SourceDef;

/// Opens the sources of a pipeline, and gives their handles for its sink.
///
/// # Errors
/// Options that can't be.
pub(super) fn sources(
    pipeline: &str,
    state: &SessionState,
    sources: &[Arc<SourceDef>],
    mode: ReadMode,
) -> Result<(Vec<Box<dyn Source>>, SourceHandles), SqlError> {
    let mut opened: Vec<Box<dyn Source>> = Vec::with_capacity(sources.len());
    let mut handles = SourceHandles::new();
    for source in sources {
        let rows = source.files()?.map(|files| rows_from(state, source, &files));
        let open = source.open(pipeline, mode, rows)?;
        handles.insert(source.name.clone(), open.handle);
        opened.push(open.source);
    }
    Ok((opened, handles))
}

/// Opens where the state of a pipeline is kept.
///
/// # Errors
/// An address that can't be.
pub(super) fn store(pipeline: &str, settings: &StreamSettings) -> Result<Arc<dyn Store>, SqlError> {
    let place = format!("{}/{pipeline}", settings.state.trim_end_matches('/'));
    let options = Options::read("the store of state", STORE_OPTIONS, &[]);
    let store = options.map_err(sembla_runtime::Error::from);
    Ok(store.and_then(|options| open_store(&place, &options))?)
}

/// The exchange of a pipeline, at the place of its first source.
///
/// # Errors
/// [`SqlError::Statement`] where a source can't be shared by instances.
pub(super) fn exchange(
    pipeline: &str,
    sources: &[Arc<SourceDef>],
    schema: &SchemaRef,
) -> Result<Box<dyn Exchange>, SqlError> {
    let mut first = None;
    for source in sources {
        let Some(exchange) = source.exchange(&exchange_name(pipeline), schema)? else {
            return Err(SqlError::Statement(format!(
                "pipeline '{pipeline}' can't have an exchange: source '{}' has no named partitions that instances \
                 can share; leave stream.exchange out",
                source.name
            )));
        };
        first.get_or_insert(exchange);
    }
    first.ok_or_else(|| SqlError::Bug(format!("pipeline '{pipeline}' has no source")))
}

/// The name of a pipeline's exchange.
fn exchange_name(pipeline: &str) -> String {
    format!("{pipeline}.exchange")
}
