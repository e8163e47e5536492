//! Rows that can't be used, as the records that dead letters take.

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use bytes::Bytes;

use crate::stage::HIDDEN_COLUMNS;
use crate::{Partition, Rejected};

/// The record of a batch of one row, which is given as JSON without its hidden columns.
pub(crate) fn rejected_row(
    row: &RecordBatch,
    partition: &Partition,
    position: i64,
    timestamp_us: Option<i64>,
    reason: &str,
) -> Rejected {
    Rejected {
        partition: Partition::clone(partition),
        position,
        timestamp_us,
        key: None,
        payload: row_json(row),
        reason: reason.to_string(),
    }
}

/// A row as JSON. `None` where its types have no such form.
fn row_json(row: &RecordBatch) -> Option<Bytes> {
    let schema = row.schema();
    let is_shown = |name: &str| !HIDDEN_COLUMNS.contains(&name);
    let fields = schema.fields().iter().enumerate();
    let shown: Vec<_> = fields.filter(|(_, f)| is_shown(f.name())).map(|(i, _)| i).collect();
    let row = row.project(&shown).ok()?;
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    writer.write(&row).ok()?;
    writer.finish().ok()?;
    let mut line = writer.into_inner();
    while line.last().is_some_and(u8::is_ascii_whitespace) {
        line.pop();
    }
    Some(line.into())
}
