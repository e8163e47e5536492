//! Files as a connector.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use sembla_runtime::{Error, Result, Sink};

use super::sink::{FilesSink, check_places};
use super::source::source_options;
use super::{LATE, PLACES, sink_options};
use crate::connector::{
    Connector, OpenSource, SinkConnector, SinkRequest, SourceConnector, SourceFiles, SourceHandle,
    SourceRequest,
};
use crate::formats::schema_of;
use crate::options::{OptionDef, Options};
use crate::replay::ReplaySource;
use crate::store::check_place;

/// Files: Parquet, CSV or JSON to read, Parquet or JSON lines to write.
#[derive(Clone, Copy, Debug)]
pub struct Files;

impl Connector for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(self)
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl SourceConnector for Files {
    fn options(&self) -> Vec<OptionDef> {
        source_options()
    }

    fn no_metadata(&self) -> Option<&'static str> {
        Some("rows of files don't have; leave METADATA out to read a column of the files")
    }

    fn files(&self, options: &Options) -> Result<Option<SourceFiles>> {
        SourceFiles::new(options).map(Some)
    }

    fn open(&self, request: SourceRequest<'_>) -> Result<OpenSource> {
        let SourceRequest { columns, time, options, rows, .. } = request;
        let table = SourceFiles::new(options)?;
        let rows = rows.ok_or_else(|| Error::Bug("files are opened without their rows".into()))?;
        let replay = ReplaySource::new(schema_of(columns), rows, time, options)?;
        let replay = if table.watch.is_some() { replay.endless() } else { replay };
        Ok(OpenSource { source: Box::new(replay), handle: SourceHandle::default() })
    }
}

impl SinkConnector for Files {
    fn options(&self) -> Vec<OptionDef> {
        sink_options()
    }

    fn late_option(&self) -> Option<&'static str> {
        Some(LATE)
    }

    fn check(&self, options: &Options) -> Result<()> {
        check_places(options)
    }

    fn open(&self, request: SinkRequest<'_>) -> Result<Box<dyn Sink>> {
        Ok(Box::new(FilesSink::new(request.schema, request.options)?))
    }

    fn problems(
        &self,
        request: SinkRequest<'_>,
        within: Duration,
    ) -> BoxFuture<'static, Vec<Error>> {
        let options = request.options.clone();
        async move {
            let places = PLACES.iter().filter_map(|key| options.find_text(key));
            let checks = places.map(|place| check_place(place, &options, within));
            join_all(checks).await.into_iter().filter_map(Result::err).collect()
        }
        .boxed()
    }
}
