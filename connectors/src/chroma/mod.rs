//! Collections of Chroma as sinks, over its HTTP interface (version 2).
//!
//! What a sink does is in `collections`; here is how Chroma's calls look.

mod connector;
mod options;
mod store;

pub use connector::Chroma;
