//! Where rows come from and go to.
//!
//! - [`CONNECTORS`]: all connectors; [`Connector`] is what each says of itself. A new one is a
//!   folder beside [`files`], and a line in that list.
//! - [`options`]: options are declared once and read once.
//! - [`formats`]: bytes of a record to rows, and back.
//! - [`files`]: data sets of Parquet or JSON lines as sinks, exactly once; files as sources.
//! - [`kafka`]: topics as sources, and as sinks, exactly once.
//! - [`chroma`], [`qdrant`]: collections of vectors as sinks, at least once, each row under one id.
//! - [`postgres`]: tables of PostgreSQL as sinks, with pgvector for vectors, exactly once.
//! - [`replay`]: a static table as a stream.
//! - [`store`]: folders, on this machine or in an object store.
//! - *Absent:* what rows mean. A connector turns bytes into rows and rows into bytes.

mod base64;
pub mod chroma;
mod collections;
mod connector;
pub mod files;
pub mod formats;
mod http;
pub mod kafka;
mod keys;
mod list;
mod max_ahead;
mod missing;
pub mod postgres;
pub mod qdrant;
mod rejected;
pub mod replay;
pub mod store;
mod stored;

pub use connector::{
    Connector, Exchange, OpenSource, ReadMode, SinkConnector, SinkRequest, SourceConnector,
    SourceHandle, SourceHandles, SourceRequest,
};
pub use list::{
    CONNECTORS, Side, all_options, connector, is_secret, names, sink_of_address, table_of_address,
};
pub use sembla_options as options;
pub use stored::{Comparison, Condition, StoredTable, TableConnector, Value, Wanted};
