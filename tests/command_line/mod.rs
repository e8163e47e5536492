//! The command line: what each command prints, writes and rejects.

mod bench;
#[cfg(unix)]
mod distil;
mod docs;
mod embed;
mod errors;
mod eval;
#[cfg(unix)]
mod examples;
mod finding_errors;
mod findings;
mod images;
mod inputs;
mod jobs;
mod manual;
mod outputs;
mod processor;
mod reading;
mod reranker;
mod shell;
#[cfg(unix)]
mod signals;
mod sql;
mod stored;
mod train;
mod train_classifier;
