//! Collections of Chroma as sinks, over its HTTP interface (version 2).
//!
//! A row is upserted when it comes, under an id that is made of its key alone, so writing it again
//! changes nothing. A commit puts the progress into a collection of its own, behind the rows. After
//! a failure rows that were written come once more, under the same ids.
//!
//! - *Invariant:* progress is never ahead of the rows that it stands for.
//! - *Absent:* transactions. A reader sees rows before their commit.

mod client;
mod connector;
mod options;
mod records;
mod sink;

pub use connector::Chroma;
pub use sink::ChromaSink;
