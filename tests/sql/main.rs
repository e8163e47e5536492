//! The tests of SQL in one program: linking the engine takes longer than running them.

mod engine;
mod file_sources;
mod findings;
mod goldens;
mod hard_negatives;
mod indexes;
mod online;
mod order;
mod session;
mod slt;
mod streams;
mod windows;
