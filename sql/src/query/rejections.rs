//! Rows of a window that a step of the query can't use, while the others give their result.
//!
//! A finding that meets such a row (a repeated id, no id) asks [`Rejections::of`] for the collector
//! of its run. Where there is one, it hands the row over with [`Rejections::reject`] and goes on
//! without it; where there is none, the query is over a bounded table and the row is an error.
//!
//! - *Invariant:* a rejected row becomes one dead letter for each window that rejects it. It is
//!   traced back to its partition and position by its values: those of the columns that it still
//!   has under the names of the window's input. Of equal rows the last ones are taken.
//! - *Absent:* where dead letters go, and what happens without a place for them; that is the
//!   runtime's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::row::{RowConverter, SortField};
use datafusion::execution::TaskContext;
use sembla_runtime::RejectedRow;

/// The rows that one run over a window has rejected.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<Vec<(RecordBatch, String)>>);

impl Rejections {
    /// The collector of a run; `None` outside of streams, and where no window is.
    #[expect(dead_code, reason = "findings take it up next")]
    pub(crate) fn of(context: &TaskContext) -> Option<Arc<Self>> {
        context.session_config().get_extension::<Self>()
    }

    /// Rejects row number `row` of a batch, as the step sees it, for a reason in one line.
    #[cfg_attr(not(test), expect(dead_code, reason = "findings take it up next"))]
    pub(crate) fn reject(&self, rows: &RecordBatch, row: usize, reason: impl Into<String>) {
        if row < rows.num_rows() {
            let mut rejected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            rejected.push((rows.slice(row, 1), reason.into()));
        }
    }

    /// The rejected rows, traced back to the window's rows, whose columns have these names.
    pub(crate) fn trace(&self, window: &[RecordBatch], names: &[String]) -> Vec<RejectedRow> {
        let rejected = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        // Rows of one step have one set of columns, so what is found out of a window is used again.
        let mut known: HashMap<Vec<usize>, Option<Lookup>> = HashMap::new();
        let mut traced: Vec<RejectedRow> = Vec::with_capacity(rejected.len());
        for (content, reason) in rejected.into_iter().rev() {
            let shared = shared_columns(&content, window, names);
            let places: Vec<usize> = shared.iter().map(|(place, _)| *place).collect();
            let lookup =
                known.entry(places.clone()).or_insert_with(|| Lookup::new(window, &places));
            let row = lookup.as_mut().and_then(|lookup| lookup.take(shared));
            traced.push(RejectedRow { row, content: Some(content), reason });
        }
        traced.reverse();
        traced
    }
}

/// The columns of a rejected row that the window's rows have too: their places there, and the
/// row's values in the window's types.
fn shared_columns(
    content: &RecordBatch,
    window: &[RecordBatch],
    names: &[String],
) -> Vec<(usize, ArrayRef)> {
    let Some(first) = window.first() else { return Vec::new() };
    let mut shared: Vec<(usize, ArrayRef)> = Vec::new();
    for (field, column) in content.schema_ref().fields().iter().zip(content.columns()) {
        let mut of_name = names.iter().enumerate().filter(|(_, name)| *name == field.name());
        // A name that two columns have says nothing.
        let (Some((place, _)), None) = (of_name.next(), of_name.next()) else { continue };
        let Some(wanted) = first.columns().get(place).map(|column| column.data_type()) else {
            continue;
        };
        let is_known = shared.iter().any(|(known, _)| *known == place);
        if let (false, Ok(column)) = (is_known, cast(column, wanted)) {
            shared.push((place, column));
        }
    }
    shared.sort_by_key(|(place, _)| *place);
    shared
}

/// The rows of a window by the values of some of their columns.
struct Lookup {
    converter: RowConverter,
    /// By values: the numbers of the rows, the last one last.
    rows: HashMap<Box<[u8]>, Vec<usize>>,
}

impl Lookup {
    /// `None` where the columns can't be compared.
    fn new(window: &[RecordBatch], places: &[usize]) -> Option<Self> {
        let first = window.first().filter(|_| !places.is_empty())?;
        let fields = places
            .iter()
            .map(|place| Some(SortField::new(first.columns().get(*place)?.data_type().clone())));
        let converter = RowConverter::new(fields.collect::<Option<Vec<_>>>()?).ok()?;
        let mut lookup = Self { converter, rows: HashMap::new() };
        let mut before = 0;
        for batch in window {
            let columns = batch.project(places).ok()?;
            let values = lookup.converter.convert_columns(columns.columns()).ok()?;
            for (row, value) in values.iter().enumerate() {
                lookup.rows.entry(value.as_ref().into()).or_default().push(before + row);
            }
            before += batch.num_rows();
        }
        Some(lookup)
    }

    /// The last row with these values that was not taken before.
    fn take(&mut self, columns: Vec<(usize, ArrayRef)>) -> Option<usize> {
        let columns: Vec<ArrayRef> = columns.into_iter().map(|(_, column)| column).collect();
        let values = self.converter.convert_columns(&columns).ok()?;
        self.rows.get_mut(values.iter().next()?.as_ref())?.pop()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, StringViewArray};

    use super::*;

    fn window(ids: Vec<Option<i64>>, texts: &[&str]) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([
            ("c0", Arc::new(Int64Array::from(ids)) as ArrayRef, true),
            ("c1", Arc::new(StringArray::from(texts.to_vec())), true),
        ])
        .expect("rows")
    }

    #[test]
    fn a_row_is_traced_by_the_columns_that_it_still_has() {
        let window = [
            window(vec![Some(7), None, Some(7)], &["a", "b", "a"]),
            window(vec![Some(7), Some(8)], &["c", "d"]),
        ];
        let names = ["id".to_string(), "text".to_string()];
        let seen = RecordBatch::try_from_iter_with_nullable([
            ("text", Arc::new(StringViewArray::from(vec!["a", "b", "c", "x"])) as ArrayRef, true),
            ("id", Arc::new(Int64Array::from(vec![Some(7), None, Some(7), Some(9)])), true),
            ("length", Arc::new(Int64Array::from(vec![1, 1, 1, 1])), true),
        ])
        .expect("rows");
        let rejections = Rejections::default();
        (0..4).for_each(|row| rejections.reject(&seen, row, format!("row {row}")));
        rejections.reject(&seen, 4, "there is no such row");
        let traced = rejections.trace(&window, &names);
        let rows: Vec<_> = traced.iter().map(|t| (t.row, t.reason.as_str())).collect();
        let expected =
            [(Some(2), "row 0"), (Some(1), "row 1"), (Some(3), "row 2"), (None, "row 3")];
        assert_eq!(rows, expected, "of two equal rows the second, and none for values of no row");
        assert!(rejections.trace(&window, &names).is_empty(), "they are handed over once");
    }

    #[test]
    fn without_a_shared_column_the_origin_is_not_known() {
        let rejections = Rejections::default();
        let seen =
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
        rejections.reject(&seen.expect("rows"), 0, "no");
        let traced =
            rejections.trace(&[window(vec![Some(1)], &["a"])], &["id".into(), "text".into()]);
        assert_eq!(traced.first().map(|t| t.row), Some(None));
    }
}
