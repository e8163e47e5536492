//! End-to-end tests: they run the real binary as a user does, in folders of their own.

mod embed;
mod errors;
#[cfg(unix)]
mod examples;
mod finding_errors;
mod findings;
mod inputs;
mod manual;
mod outputs;
mod place;
mod processor;
mod shell;
#[cfg(unix)]
mod signals;
mod sql;
mod streams;
