//! Rejected records as rows: origin, reason and raw bytes.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use sembla_runtime::window::TIMES_US;
use sembla_runtime::{Rejected, Result};

use crate::base64::base64;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Schema::new(vec![
        text("partition", false),
        Field::new("position", DataType::Int64, false),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        text("reason", false),
        text("key", true),
        text("key_base64", true),
        text("payload", true),
        text("payload_base64", true),
    ])
    .into()
});

/// The columns of rejected records as rows.
pub(crate) fn rejected_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The time of a record, where it can be written: a record may be rejected because it can't.
fn timestamp_of(record: &Rejected) -> Option<i64> {
    record.timestamp_us.filter(|time_us| TIMES_US.contains(time_us))
}

/// Records as rows. Bytes that are text stand in `key` and `payload`, others in `key_base64` and
/// `payload_base64`.
///
/// # Errors
/// None that can happen; Arrow checks lengths.
pub(crate) fn rejected_rows(records: &[Rejected]) -> Result<RecordBatch> {
    let bytes = |of: fn(&Rejected) -> Option<&bytes::Bytes>| -> [ArrayRef; 2] {
        let texts = records.iter().map(|r| of(r).and_then(|bytes| std::str::from_utf8(bytes).ok()));
        let coded = records.iter().map(|record| {
            let bytes = of(record)?;
            std::str::from_utf8(bytes).is_err().then(|| base64(bytes))
        });
        [Arc::new(texts.collect::<StringArray>()), Arc::new(coded.collect::<StringArray>())]
    };
    let [key, key_base64] = bytes(|record| record.key.as_ref());
    let [payload, payload_base64] = bytes(|record| record.payload.as_ref());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(records.iter().map(|record| &record.partition))),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|record| record.position))),
        Arc::new(records.iter().map(timestamp_of).collect::<TimestampMicrosecondArray>()),
        Arc::new(StringArray::from_iter_values(records.iter().map(|record| &record.reason))),
        key,
        key_base64,
        payload,
        payload_base64,
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}
