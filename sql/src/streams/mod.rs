//! Queries over streams: how `INSERT INTO sink SELECT …` becomes a pipeline.
//!
//! The way of a statement: [`insert`] plans the query as any other, with sources as tables;
//! [`split`] cuts the plan at its window into a row part and a window part, and checks that each
//! does the same piecewise as over everything at once ([`row_wise`], [`keyed`]); [`bound`] makes
//! physical plans whose inputs are [`feed`]s; [`stages`] lets the runtime run them; [`connect`]
//! opens sources, sink and state, and [`probe`] asks them before that.
//!
//! - *Invariant:* a closed window is a small table, and the plan that runs on it is the plan that
//!   runs on a static table. So a stream gives, window by window, what the same batch
//!   query gives.
//! - *Absent:* tasks, queues, watermarks, checkpoints. Those are the runtime's.

mod bound;
mod carry;
mod columns;
mod connect;
mod feed;
mod hoist;
mod insert;
mod keyed;
mod probe;
mod replay;
mod row_wise;
mod scans;
mod settings;
mod split;
mod stages;
mod static_tables;
mod traced;

pub(crate) use bound::as_declared;
pub use insert::StreamPlan;
pub(crate) use insert::into_sink;
pub(crate) use scans::reads_stream;
pub(crate) use settings::StreamSettings;
