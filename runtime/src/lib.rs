//! How streams run: rows come from a source, go through the row part of a query, gather in windows
//! of event time, go through the window part, and leave through a sink together with the progress
//! that they stand for.
//!
//! - *Invariant:* the sink's progress is the truth. A state file is written first, and the commit
//!   of the sink names it; what no commit names never happened.
//! - *Invariant:* every queue is bounded by rows and by bytes.
//! - *Invariant:* watermarks never go back, and nothing vanishes: a row is in a result, or late, or
//!   rejected, and each of these is counted.
//! - *Absent:* text, models, SQL, Kafka. An Arrow batch is the word that is shared with them.

mod attempt;
mod deliver;
mod error;
pub mod exchange;
pub mod failpoint;
mod flow;
mod ingest;
mod message;
mod meters;
pub mod options;
mod partitions;
pub mod pipeline;
mod positions;
mod queue;
mod rejected;
mod retry;
mod rows;
pub mod sink;
pub mod source;
pub mod stage;
pub mod state;
pub mod status;
pub mod stop;
pub mod watermark;
pub mod window;

pub use error::{Error, Fault, Result};
pub use exchange::{Mark, Passing, Standing};
pub use options::PipelineOptions;
pub use pipeline::{End, Pipeline, SourceInput, Summary, WindowPart, run};
pub use rejected::row_json;
pub use retry::random;
pub use sink::{Delivery, Output, Progress, Sink};
pub use source::{Assignment, EventTime, Partition, Rejected, Source, SourceBatch, SourceEvent};
pub use stage::{
    ClosedWindow, Pane, RejectedRow, RowStage, StateTable, Window, WindowOut, WindowStage,
};
pub use status::{Phase, Status};
pub use stop::{Stop, StopSignal};
