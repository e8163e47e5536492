//! The row part: a micro-batch through the stage, and the search for the rows that it rejects.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::partitions::Partitions;
use crate::rejected::{hidden_of, rejected_row};
use crate::{Error, Rejected, Result, RowStage};

/// What came of a micro-batch.
#[derive(Debug, Default)]
pub(crate) struct RowsOut {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rejected: Vec<Rejected>,
}

/// The row part of a pipeline.
pub(crate) struct RowPart {
    pub(crate) stage: Arc<dyn RowStage>,
    pub(crate) partitions: Partitions,
    /// Of each source, whether its rows have an event time.
    pub(crate) timed: Vec<bool>,
}

impl RowPart {
    /// Runs rows of a source through the stage. A batch that is rejected with [`Error::Data`] is
    /// halved until the rows are found that are to blame; those become rejected records, the others
    /// go through. A row to blame among n costs about 2·log₂ n more calls.
    ///
    /// # Errors
    /// What the stage says, but for [`Error::Data`].
    pub(crate) async fn run(&self, source: usize, rows: RecordBatch) -> Result<RowsOut> {
        let mut out = RowsOut::default();
        let mut parts = vec![rows];
        while let Some(rows) = parts.pop() {
            let count = rows.num_rows();
            match self.stage.run(source, rows.clone()).await {
                Ok(batches) => {
                    out.batches.extend(batches.into_iter().filter(|b| b.num_rows() > 0));
                }
                Err(Error::Data(reason)) if count <= 1 => {
                    out.rejected.push(self.refused(source, &rows, &reason)?);
                }
                Err(Error::Data(_)) => {
                    let half = count / 2;
                    parts.push(rows.slice(half, count - half));
                    parts.push(rows.slice(0, half));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(out)
    }

    /// The record of a batch of one row with hidden columns.
    fn refused(&self, source: usize, row: &RecordBatch, reason: &str) -> Result<Rejected> {
        let Some((time, sequence, number)) = hidden_of(row, 0) else {
            return Err(Error::Bug("a row without its hidden columns was rejected".into()));
        };
        let name = self.partitions.name(number);
        let name = name.ok_or_else(|| Error::Bug(format!("a row of partition number {number}")))?;
        let is_timed = self.timed.get(source).copied().unwrap_or_default();
        Ok(rejected_row(row, name, sequence, is_timed.then_some(time), reason))
    }
}
