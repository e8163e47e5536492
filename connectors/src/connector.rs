//! What a connector is: the traits by which it declares itself.
//!
//! A connector is one folder of this crate and one line in [`CONNECTORS`](crate::CONNECTORS).
//! Everything that depends on which connector a source or sink has is asked of it here: SQL's
//! statements, EXPLAIN, the probing before a start, and the opening of pipelines know no connector
//! by name.
//!
//! - *Invariant:* opening connects to nothing. So a statement checks a source or a sink by opening
//!   it, and what a connector forgets to check can't be found later than that.
//! - *Invariant:* options are declared ([`OptionDef`]), with what is secret and what saved state
//!   depends on. No other list says so.
//! - *Absent:* tables, queries, and how pipelines run.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{SchemaRef, TimeUnit};
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use sembla_runtime::{Assignment, Error, Result, Sink, Source};

use crate::formats::Column;
use crate::options::{GivenOptions, OptionDef, Options};
use crate::replay::RowsFrom;
use crate::stored::TableConnector;

/// Where rows come from, where they go to, or both.
pub trait Connector: Sync {
    /// Its name, as in `WITH (connector = 'name')`.
    fn name(&self) -> &'static str;

    /// How it is read; `None` where it can't be.
    fn source(&self) -> Option<&dyn SourceConnector> {
        None
    }

    /// How it is written; `None` where it can't be.
    fn sink(&self) -> Option<&dyn SinkConnector> {
        None
    }

    /// How its tables are read by queries; `None` where it has none.
    fn table(&self) -> Option<&dyn TableConnector> {
        None
    }
}

/// A connector as a source.
pub trait SourceConnector: fmt::Debug + Sync {
    /// Its options.
    fn options(&self) -> Vec<OptionDef>;

    /// Why its rows have no metadata (`METADATA FROM`), to follow "which": `rows of files don't
    /// have`. `None` where they have.
    fn no_metadata(&self) -> Option<&'static str>;

    /// The files that it reads, where it leaves that to who has files' readers: then
    /// [`SourceRequest::rows`] gives their rows. `None` for a source that reads by itself.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    fn files(&self, _options: &Options) -> Result<Option<SourceFiles>> {
        Ok(None)
    }

    /// Opens a source. Nothing outside is touched before [`Source::assigned`], and the cost is that
    /// of reading the options; what their values name on this machine, such as a schema, may be
    /// read.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be, or don't fit the columns.
    fn open(&self, request: SourceRequest<'_>) -> Result<OpenSource>;

    /// What is wrong outside, such as a topic that is missing, each with what helps; answered
    /// within about that time. Nothing is read or left behind.
    fn problems(
        &self,
        _request: SourceRequest<'_>,
        _within: Duration,
    ) -> BoxFuture<'static, Vec<Error>> {
        std::future::ready(Vec::new()).boxed()
    }

    /// Whether several instances can share its partitions.
    fn shares_partitions(&self) -> bool {
        false
    }

    /// The exchange of that name at the place of a source, for rows of a schema; `None` where it
    /// can't have one.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    fn exchange(
        &self,
        _name: &str,
        _schema: &SchemaRef,
        _given: &GivenOptions,
    ) -> Result<Option<Box<dyn Exchange>>> {
        Ok(None)
    }
}

/// A connector as a sink.
pub trait SinkConnector: fmt::Debug + Sync {
    /// Its options.
    fn options(&self) -> Vec<OptionDef>;

    /// The option that gives a place to rows that come too late for their windows, if one does.
    fn late_option(&self) -> Option<&'static str> {
        None
    }

    /// Checks options before the schema of the rows is known.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    fn check(&self, options: &Options) -> Result<()>;

    /// Opens a sink. Nothing outside is touched before [`Sink::recover`].
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be, or don't fit the schema.
    fn open(&self, request: SinkRequest<'_>) -> Result<Box<dyn Sink>>;

    /// Whether a row can take the place of an earlier one, as options say, so that rows that come
    /// again do no harm.
    fn replaces(&self, _options: &Options) -> bool {
        false
    }

    /// Whether the rows of a static query can be written to it, without a pipeline.
    fn takes_batches(&self) -> bool {
        false
    }

    /// The options that an address stands for, where it is one of this connector's: what `sembla
    /// embed -o ADDRESS` and `COPY … TO 'ADDRESS'` write to.
    fn of_address(&self, _address: &str) -> Option<Result<Vec<(String, String)>>> {
        None
    }

    /// What is wrong outside, such as a folder that can't be written, each with what helps;
    /// answered within about that time. Nothing is written or left behind.
    fn problems(
        &self,
        _request: SinkRequest<'_>,
        _within: Duration,
    ) -> BoxFuture<'static, Vec<Error>> {
        std::future::ready(Vec::new()).boxed()
    }
}

/// How a source is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// By a pipeline that other instances may share the partitions with.
    Shared,
    /// By a pipeline that has to see all partitions. While another instance reads, this one stands
    /// by, and takes over when that has ended.
    Alone,
    /// By a query that ends with what is there now. No progress of any pipeline counts, and none is
    /// kept.
    Bounded,
}

/// What a source is opened with.
#[derive(Clone)]
pub struct SourceRequest<'a> {
    /// The name of the pipeline.
    pub pipeline: &'a str,
    /// The declared columns.
    pub columns: &'a [Column],
    /// The column that is the event time, if one is.
    pub time: Option<&'a str>,
    /// The options of [`SourceConnector::options`].
    pub options: &'a Options,
    /// How it is read.
    pub mode: ReadMode,
    /// The rows of its [`SourceConnector::files`].
    pub rows: Option<RowsFrom>,
}

/// A source, and what a sink of the same connector may want of it.
pub struct OpenSource {
    /// The source.
    pub source: Box<dyn Source>,
    /// Its handle.
    pub handle: SourceHandle,
}

/// What a sink has to know of an open source to commit its progress: Kafka's consumer group, for
/// one. Only a connector that makes it understands it; to all others it is nothing.
#[derive(Clone, Default)]
pub struct SourceHandle(Option<Arc<dyn Any + Send + Sync>>);

impl SourceHandle {
    /// A handle that connectors that know the type can look into.
    pub fn new<T: Any + Send + Sync>(handle: T) -> Self {
        Self(Some(Arc::new(handle)))
    }

    /// What it is, if it is of that type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

/// The handles of the sources of a pipeline, by source.
pub type SourceHandles = BTreeMap<String, SourceHandle>;

/// What a sink is opened with.
pub struct SinkRequest<'a> {
    /// The schema of the results.
    pub schema: &'a SchemaRef,
    /// The options of [`SinkConnector::options`].
    pub options: &'a Options,
    /// The handles of the pipeline's sources.
    pub handles: SourceHandles,
    /// The time from one commit to the next.
    pub checkpoint_interval: Duration,
}

/// The way from instances that share a source to the one that has the windows; see
/// [`sembla_runtime::exchange`].
#[async_trait]
pub trait Exchange: Send + Sync {
    /// What it is, for EXPLAIN.
    fn describe(&self) -> String;

    /// The writing end.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    fn sink(&self, handles: SourceHandles) -> Result<Box<dyn Sink>>;

    /// The reading end, for a pipeline of that name. `start` says where it begins without progress.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    fn source(&self, pipeline: &str, start: Option<i64>) -> Result<OpenSource>;

    /// The position behind what it holds; it asks outside.
    ///
    /// # Errors
    /// What is wrong outside.
    async fn end(&self) -> Result<i64>;
}

/// What a probe of the connector `name` finds, which includes that nothing answers in time.
pub(crate) fn problems_of(
    name: &'static str,
    within: Duration,
    probe: impl Future<Output = Result<()>> + Send + 'static,
) -> BoxFuture<'static, Vec<Error>> {
    async move {
        match tokio::time::timeout(within, probe).await {
            Ok(probed) => probed.err().into_iter().collect(),
            Err(_) => vec![Error::Transient(format!(
                "{name} does not answer within {} s",
                within.as_secs_f64()
            ))],
        }
    }
    .boxed()
}

/// A source of which another instance reads a part, if there is one.
pub(crate) fn shared_source(assignment: &BTreeMap<String, Assignment>) -> Option<&str> {
    let shared = assignment.iter().find(|(_, assignment)| !assignment.is_whole());
    shared.map(|(source, _)| source.as_str())
}

/// What a sink says to a call after one that failed: recovery begins anew.
pub(crate) fn failed_before() -> Error {
    Error::Fenced("the sink failed before; the pipeline restarts".into())
}

/// The files of a source, and how their rows are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFiles {
    /// A file, a folder or a glob.
    pub path: String,
    /// What numbers count where a column holds times.
    pub time_unit: TimeUnit,
    /// The byte between fields of CSV; `None` where the file shows it.
    pub delimiter: Option<u8>,
    /// Whether CSV begins with names; `None` where the file shows it.
    pub header: Option<bool>,
    /// Whether rows come as they lie in the files, not in the order of their times.
    pub is_in_order: bool,
    /// How often new files are looked for; `None` for a source that ends with those there are.
    pub watch: Option<Duration>,
}
