//! What belongs to one query while it runs: who stops it, who hears of its progress, and the memory
//! that it may hold.

mod blocking;
mod host;
mod rejections;
mod scope;

pub(crate) use blocking::blocking;
pub(crate) use host::QueryHost;
pub(crate) use rejections::Rejections;
pub use scope::Progress;
pub(crate) use scope::{Listener, QueryScope};
