//! End-to-end tests: they run the real binary as a user does, in folders of their own.

mod embed;
mod errors;
#[cfg(unix)]
mod examples;
mod finding_errors;
mod findings;
mod place;
mod sql;
mod streams;
