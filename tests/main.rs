//! End-to-end tests: they run the real binary as a user does, in folders of their own.

mod command_line;
mod pipelines;
mod place;
