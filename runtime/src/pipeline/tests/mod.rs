//! Whole pipelines over a simulated world: scripted sources, a sink that commits all or nothing, a
//! store, and a failure at any one operation of theirs.
//!
//! What holds in all of them: every row is in exactly one committed result, and the results are
//! those of a plain computation over the same static rows.

mod crashes;
mod exchange;
mod flows;
mod metrics;
mod oracle;
mod refusals;
mod rejections;
mod sim_sink;
mod sim_source;
mod sim_stage;
mod stops;
mod world;
