//! Tables of PostgreSQL as sinks, with pgvector for vectors, exactly once; and as tables that
//! queries read (`table`).
//!
//! A row is staged when it comes: a binary COPY into a temporary table that has the checks of the
//! table, so that a row that can't be is found at once and becomes a dead letter. A commit is one
//! transaction:
//!
//! 1. lock the pipeline's row of `sembla_progress`, and go on only if its fence is still the one
//!    that this process took when it started;
//! 2. one `INSERT … SELECT … ON CONFLICT (key) DO UPDATE` of what is staged, where of rows with one
//!    key the last counts; before it one `DELETE` of rows that go away;
//! 3. write the progress into that row.
//!
//! So rows and progress are visible together or not at all. A new process raises the fence, for
//! which it waits until a commit that is under way has ended; then it reads what that has written.
//! Staged rows end with the session that staged them.
//!
//! The client of the protocol is in `wire`. It is our own: what is needed of the protocol is
//! little, and COPY of rows as they lie in Arrow needs no other form of them in between.
//!
//! - *Invariant:* a name or a text of a user enters a statement quoted, or as a parameter.
//! - *Invariant:* the password is in no message and no debug output.
//! - *Absent:* several processes that share one table's progress; a second one is refused.

mod address;
mod catalogue;
mod connector;
mod encode;
mod failure;
mod names;
mod numeric;
mod options;
mod progress;
mod provenance;
mod sink;
mod source;
mod table;
mod target;
mod types;
mod wire;

pub use connector::Postgres;
pub use sink::PostgresSink;
