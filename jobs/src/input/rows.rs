//! The rows of a plan, from any row on. Never holds more than one batch.

use arrow::array::RecordBatch;
use sembla_readers::Cancel;
use sembla_readers::files::TableRows;

use super::plan::Plan;
use crate::failure::Result;

/// All rows of a plan from some row on, as batches with the plan's schema.
pub struct Rows<'a> {
    plan: &'a Plan,
    /// The columns of the files that are read.
    whole: Vec<usize>,
    rows: TableRows,
}

impl<'a> Rows<'a> {
    /// The rows of `plan` without the first `skip`, in batches of at most `batch_rows` rows.
    pub fn new(plan: &'a Plan, skip: u64, batch_rows: usize) -> Self {
        let whole = plan.whole_columns();
        let table = plan.as_written();
        let rows = TableRows::new(table, whole.clone(), skip, batch_rows, Cancel::never());
        Self { plan, whole, rows }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.rows.next()?;
        Some(batch.map_err(Into::into).and_then(|batch| self.plan.batch(&self.whole, &batch)))
    }
}
