//! Collections of Qdrant as sinks, over its REST interface.
//!
//! What a sink does is in `collections`; here is how Qdrant's calls look.
//!
//! - *Invariant:* a change waits until it is applied (`wait=true`), so progress that is written
//!   behind rows is never ahead of them.

mod connector;
mod ids;
mod options;
mod store;

pub use connector::Qdrant;
