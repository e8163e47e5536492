//! Rows with their windows: batches of the input become batches of the result.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatchOptions;
use sembla_runtime::Pane;
use sembla_runtime::window::{Window, WindowKind};

use crate::SqlError;
use crate::error::arrow_error;

/// Puts the columns of windows behind those of rows.
#[derive(Clone, Debug)]
pub(super) struct WithWindows {
    /// The columns of the rows, then of the windows.
    pub(super) schema: SchemaRef,
    /// Whether there is the column `window_pane`.
    pub(super) has_pane: bool,
}

impl WithWindows {
    /// Rows with the window of each.
    ///
    /// # Errors
    /// When arrow can't put the columns together.
    pub(super) fn join(
        &self,
        rows: &RecordBatch,
        windows: &[Window],
    ) -> Result<RecordBatch, SqlError> {
        let times = |of: fn(&Window) -> i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(windows.iter().map(of)))
        };
        let mut columns = rows.columns().to_vec();
        columns.push(times(|window| window.start_us));
        columns.push(times(|window| window.end_us));
        if self.has_pane {
            let pane = std::iter::repeat_n(Pane::OnTime.as_str(), windows.len());
            columns.push(Arc::new(StringArray::from_iter_values(pane)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| arrow_error(&error))
    }
}

/// The rows of a batch, each once for every window that it is in, in pieces.
pub(super) struct Assigned {
    pub(super) kind: WindowKind,
    pub(super) with_windows: WithWindows,
    pub(super) rows: RecordBatch,
    /// The time of each row.
    pub(super) times: Int64Array,
    /// The first row that is not given out yet.
    pub(super) next: usize,
    /// Rows of a piece, but for the windows of its last row.
    pub(super) piece_rows: usize,
}

impl Assigned {
    fn piece(&mut self) -> Result<RecordBatch, SqlError> {
        let first = self.next;
        let (mut positions, mut windows) = (Vec::new(), Vec::new());
        while let Some(time) = self.times.values().get(self.next)
            && windows.len() < self.piece_rows
        {
            windows.extend(self.kind.assign(*time)?);
            positions.resize(windows.len(), u32::try_from(self.next).unwrap_or(u32::MAX));
            self.next += 1;
        }
        let count = self.next - first;
        let is_each_once = positions.len() == count
            && positions.iter().enumerate().all(|(n, position)| *position as usize == first + n);
        let rows = match is_each_once {
            true => self.rows.slice(first, count),
            false => take_record_batch(&self.rows, &UInt32Array::from(positions))
                .map_err(|error| arrow_error(&error))?,
        };
        self.with_windows.join(&rows, &windows)
    }
}

impl Iterator for Assigned {
    type Item = Result<RecordBatch, SqlError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.next < self.times.len()).then(|| self.piece())
    }
}
