//! The exchange: how the pipeline that reads a source's rows, of which there may be several
//! instances, hands them to the one that has the windows.
//!
//! Rows leave through a sink that is an exchange, with their hidden columns, and come in again
//! from a source that is one. Event time goes with them: what the first pipeline knows of each
//! input partition travels as a [`Mark`] behind the rows that it is about, so the second one closes
//! a window exactly when all input partitions have passed it, whoever reads them.
//!
//! - *Invariant:* the first marks of an instance name all input partitions, those of other
//!   instances too. So no watermark is found before all of them are known.
//! - *Absent:* the way between the two, which is a connector's.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Result, RowStage};

/// How far event time has come in an input partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The number of the partition, as in the hidden column.
    pub partition: i32,
    /// Its watermark in microseconds since 1970; `i64::MIN` before the first row.
    pub watermark_us: i64,
    /// Whether it goes on.
    pub standing: Standing,
}

/// Whether an input partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It is there; who reads it says more.
    Elsewhere,
    /// Its watermark holds the others back.
    Awake,
    /// It had no rows for a while, and holds nobody back until it has some.
    Idle,
    /// It has no more rows, ever.
    Ended,
}

/// A row part that hands its rows on as they are: what comes from an exchange has been through one.
#[derive(Clone, Debug)]
pub struct Passing(pub SchemaRef);

#[async_trait]
impl RowStage for Passing {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.0)
    }

    async fn run(&self, _source: usize, rows: RecordBatch) -> Result<Vec<RecordBatch>> {
        Ok(vec![rows])
    }
}
