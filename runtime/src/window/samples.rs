//! Rows for the tests of windows and state.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};

use super::{WindowKind, WindowSpec};
use crate::ClosedWindow;
use crate::stage::HIDDEN_COLUMNS;

/// A row: its number, its key and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) time_us: i64,
    pub(crate) number: i64,
    pub(crate) key: Option<u8>,
}

impl Row {
    pub(crate) fn new(number: i64, key: u8, time_us: i64) -> Self {
        Self { time_us, number, key: Some(key) }
    }
}

pub(crate) fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let types = [time, DataType::Int64, DataType::Int32];
    let hidden = HIDDEN_COLUMNS.into_iter().zip(types);
    let mut fields = vec![
        Field::new("number", DataType::Int64, false),
        Field::new("key", DataType::Utf8, true),
        Field::new("text", DataType::Utf8View, false),
    ];
    fields.extend(hidden.map(|(name, of_type)| Field::new(name, of_type, false)));
    Arc::new(Schema::new(fields))
}

pub(crate) fn spec(kind: WindowKind, lateness_us: i64) -> WindowSpec {
    let keys = if matches!(kind, WindowKind::Session { .. }) { vec![1] } else { Vec::new() };
    WindowSpec { kind, schema: schema(), keys, lateness_us, bytes_max: usize::MAX }
}

/// Rows as a row stage gives them. The sequence is the row's number and the partition 0.
pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let numbers = rows.iter().map(|row| row.number);
    let keys = rows.iter().map(|row| row.key.map(|key| format!("key {key}")));
    let texts = rows.iter().map(|row| format!("the text of the row with number {}", row.number));
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(Int64Array::from_iter_values(numbers.clone())),
        Arc::new(keys.collect::<StringArray>()),
        Arc::new(arrow::array::StringViewArray::from_iter_values(texts)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.time_us))),
        Arc::new(Int64Array::from_iter_values(numbers)),
        Arc::new(Int32Array::from(vec![0; rows.len()])),
    ];
    RecordBatch::try_new(schema(), columns).expect("a sample")
}

/// The numbers of the rows of batches, which must have their own texts and no hidden columns.
pub(crate) fn numbers<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Vec<i64> {
    let mut numbers = Vec::new();
    for batch in batches {
        assert_eq!(batch.num_columns(), 3);
        let texts = batch.column(2).as_string_view();
        for (row, number) in batch.column(0).as_primitive::<Int64Type>().values().iter().enumerate()
        {
            assert!(texts.value(row).ends_with(&format!(" {number}")));
            numbers.push(*number);
        }
    }
    numbers
}

/// A window as (start, end, pane, numbers of its rows).
pub(crate) type Shown = (i64, i64, &'static str, Vec<i64>);

pub(crate) fn shown(closed: &ClosedWindow) -> Shown {
    let window = closed.window;
    (window.start_us, window.end_us, closed.pane.as_str(), numbers(&closed.rows))
}

/// Small random numbers, the same on every run (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub(crate) fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}
