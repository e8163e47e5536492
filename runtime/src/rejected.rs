//! Rows that can't be used, as the records that dead letters take.
//!
//! - *Invariant:* a letter can always be made: what of a row has no form in JSON is written as a
//!   number or a text, or left out.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use bytes::Bytes;

use crate::partitions::Partitions;
use crate::stage::HIDDEN_COLUMNS;
use crate::window::shown;
use crate::{Error, Partition, Rejected, RejectedRow, Result, Sink, Window};

/// The position of a record whose place among those of its partition isn't known.
pub(crate) const NO_POSITION: i64 = -1;

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

/// The record of a row of a result that the sink can't write. Where it came from is not known any
/// more.
pub(crate) fn unwritable_row(row: &RecordBatch, what: &str, reason: &str) -> Rejected {
    rejected_row(row, &what.into(), NO_POSITION, None, reason)
}

/// Whether the sink has a place for rejected records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RejectedPlace {
    exists: bool,
    /// The option that gives the sink one, for the message.
    option: Option<&'static str>,
}

impl RejectedPlace {
    /// That of a sink.
    pub(crate) fn of(sink: &dyn Sink) -> Self {
        Self { exists: sink.takes_rejected(), option: sink.rejected_option() }
    }

    /// Stops a pipeline that has no place for a record.
    ///
    /// # Errors
    /// [`Error::Data`] with where the record is and what helps.
    pub(crate) fn check(self, record: &Rejected) -> Result<()> {
        if self.exists {
            return Ok(());
        }
        let place = match record.position {
            NO_POSITION => record.partition.to_string(),
            position => format!("partition '{}', position {position}", record.partition),
        };
        let help = match self.option {
            Some(option) => format!("give the sink a place for such records ({option}), or "),
            None => String::new(),
        };
        Err(Error::Data(format!("{place}: {}; {help}correct the record", record.reason)))
    }
}

/// The hidden columns of the row of that number: event time, sequence, number of the partition.
pub(crate) fn hidden_of(rows: &RecordBatch, row: usize) -> Option<(i64, i64, i32)> {
    let [time, sequence, partition] = HIDDEN_COLUMNS.map(|name| rows.column_by_name(name));
    let time = time?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let sequence = sequence?.as_primitive_opt::<Int64Type>()?;
    let partition = partition?.as_primitive_opt::<Int32Type>()?;
    (row < rows.num_rows()).then(|| (time.value(row), sequence.value(row), partition.value(row)))
}

/// What a window stage was given, so that the rows that it rejects can be named.
pub(crate) struct WindowRowsGiven {
    pub(crate) window: Window,
    pub(crate) rows: Vec<RecordBatch>,
    /// The hidden columns of the rows.
    pub(crate) origins: Vec<RecordBatch>,
}

impl WindowRowsGiven {
    /// The letters of rejected rows. Without `partitions`, those of another pipeline are named by
    /// their numbers. `shown_row` gives a row of the window the columns and names that people know.
    ///
    /// # Errors
    /// What `shown_row` says.
    pub(crate) fn letters(
        &self,
        rejected: &[RejectedRow],
        partitions: Option<&Partitions>,
        shown_row: impl Fn(RecordBatch) -> Result<RecordBatch>,
    ) -> Result<Vec<Rejected>> {
        let window = format!(
            "in the window {} to {}",
            shown(self.window.start_us),
            shown(self.window.end_us)
        );
        let letter = |rejected: &RejectedRow| {
            let place = rejected.row.and_then(|row| self.place(row));
            let origin = place.and_then(|(batch, row)| hidden_of(self.origins.get(batch)?, row));
            let rows = place.and_then(|(batch, row)| Some((self.rows.get(batch)?, row)));
            let content = match rows {
                Some((rows, row)) => Some(shown_row(rows.slice(row, 1))?),
                None => rejected.content.clone().filter(|content| content.num_rows() > 0),
            };
            let (partition, position, time) = match origin {
                Some((time, sequence, number)) => {
                    let known = partitions.and_then(|all| all.name(number)).cloned();
                    (known.unwrap_or_else(|| number.to_string().into()), sequence, Some(time))
                }
                None => ("a row of a window".into(), NO_POSITION, None),
            };
            Ok(Rejected {
                partition,
                position,
                timestamp_us: time,
                key: None,
                payload: content.and_then(|content| row_json(&content.slice(0, 1))),
                reason: format!("{} ({window})", rejected.reason),
            })
        };
        rejected.iter().map(letter).collect()
    }

    /// The batch that the row of that number is in, and its number there.
    fn place(&self, mut row: usize) -> Option<(usize, usize)> {
        for (batch, rows) in self.rows.iter().enumerate() {
            if row < rows.num_rows() {
                return Some((batch, row));
            }
            row -= rows.num_rows();
        }
        None
    }
}

/// A batch of one row as JSON, without its hidden columns, as dead letters have it. A column that
/// has no form in JSON is written as a number or a text; one that has neither is left out.
pub fn row_json(row: &RecordBatch) -> Option<Bytes> {
    let schema = row.schema();
    let shown = schema.fields().iter().zip(row.columns());
    let shown = shown.filter(|(field, _)| !HIDDEN_COLUMNS.contains(&field.name().as_str()));
    let writable = shown.filter_map(|(field, column)| {
        let column = writable(field.name(), column)?;
        Some((Field::new(field.name(), column.data_type().clone(), true), column))
    });
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = writable.unzip();
    if columns.is_empty() {
        return None;
    }
    json(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).ok()?)
}

/// The column in a form that JSON has: itself, else numbers, else texts.
fn writable(name: &str, column: &ArrayRef) -> Option<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let forms = [None, Some(DataType::Int64), Some(DataType::Utf8)];
    forms.into_iter().find_map(|form| {
        let column = match form {
            None => Arc::clone(column),
            Some(form) => cast_with_options(column, &form, &strict).ok()?,
        };
        let field = Field::new(name, column.data_type().clone(), true);
        let alone = Arc::new(Schema::new(vec![field]));
        let is_time = column.data_type().is_temporal();
        let line = json(&RecordBatch::try_new(alone, vec![Arc::clone(&column)]).ok()?)?;
        // A time that has no form is written as a text that tells of an error.
        let has_form = !(is_time && line.windows(6).any(|part| part == b"ERROR:"));
        has_form.then_some(column)
    })
}

/// A batch of one row as JSON.
fn json(row: &RecordBatch) -> Option<Bytes> {
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    writer.write(row).ok()?;
    writer.finish().ok()?;
    let mut line = writer.into_inner();
    while line.last().is_some_and(u8::is_ascii_whitespace) {
        line.pop();
    }
    Some(line.into())
}
