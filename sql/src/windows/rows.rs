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

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::compute::concat_batches;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};

    use super::*;
    use crate::columns::TIME_TYPE;

    fn assigned(kind: WindowKind, times: &[i64], piece_rows: usize) -> Vec<RecordBatch> {
        let id = Field::new("id", DataType::Int64, false);
        let time = |name| Field::new(name, TIME_TYPE, false);
        let pane = Field::new("window_pane", DataType::Utf8, false);
        let with = vec![id.clone(), time("window_start"), time("window_end"), pane];
        let with_windows = WithWindows { schema: Arc::new(Schema::new(with)), has_pane: true };
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..times.len() as i64));
        let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![id])), vec![ids]).expect("rows");
        let times = Int64Array::from(times.to_vec());
        Assigned { kind, with_windows, rows, times, next: 0, piece_rows }
            .collect::<Result<_, _>>()
            .expect("pieces")
    }

    /// Every window that there could be, asked whether the row is in it.
    fn slow(slide: i64, size: i64, times: &[i64]) -> Vec<(i64, i64, i64)> {
        let mut found = Vec::new();
        for (id, time) in times.iter().enumerate() {
            for start in (-200..200).filter(|start: &i64| start.rem_euclid(slide) == 0) {
                if (start..start + size).contains(time) {
                    found.push((id as i64, start, start + size));
                }
            }
        }
        found
    }

    #[test]
    fn pieces_together_are_every_row_with_each_of_its_windows() {
        let times: Vec<i64> = (0..50).map(|n: i64| (n * 37) % 101 - 50).collect();
        for (slide, size) in [(10, 10), (3, 10), (5, 15), (7, 7)] {
            let kind = match slide == size {
                true => WindowKind::Tumble { size_us: size, offset_us: 0 },
                false => WindowKind::Hop { slide_us: slide, size_us: size, offset_us: 0 },
            };
            for piece_rows in [1, 4, 1000] {
                let pieces = assigned(kind, &times, piece_rows);
                assert!(pieces.iter().all(|piece| piece.num_rows() < piece_rows + 5));
                let all = concat_batches(&pieces[0].schema(), &pieces).expect("one batch");
                let ids = all.column(0).as_primitive::<Int64Type>();
                let starts = all.column(1).as_primitive::<TimestampMicrosecondType>();
                let ends = all.column(2).as_primitive::<TimestampMicrosecondType>();
                let found: Vec<(i64, i64, i64)> = (0..all.num_rows())
                    .map(|row| (ids.value(row), starts.value(row), ends.value(row)))
                    .collect();
                assert_eq!(found, slow(slide, size, &times), "{slide} {size} {piece_rows}");
                assert!(
                    all.column(3).as_string::<i32>().iter().all(|pane| pane == Some("on_time"))
                );
            }
        }
    }

    #[test]
    fn no_rows_give_no_pieces() {
        let kind = WindowKind::Tumble { size_us: 1, offset_us: 0 };
        assert!(assigned(kind, &[], 10).is_empty());
    }
}
