//! What comes from a source, made ready for the row part: the hidden columns appended, rows whose
//! time can't be taken out.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch,
    TimestampMicrosecondArray,
};
use arrow::compute::{cast, filter, max, min};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

use crate::rejected::rejected_row;
use crate::stage::{HIDDEN_COLUMNS, TIME_TYPE, with_hidden_columns};
use crate::window::{WindowKind, check_time};
use crate::{Error, Mark, Partition, Rejected, Result, SourceBatch};

/// Rows of one partition with the hidden columns, and the records that can't be used.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) partition: Partition,
    pub(crate) rows: RecordBatch,
    pub(crate) rejected: Vec<Rejected>,
    /// From an exchange: how far event time has come, after the rows.
    pub(crate) marks: Vec<Mark>,
    pub(crate) bytes: usize,
}

impl Piece {
    /// Whether something follows the rows.
    pub(crate) fn has_followers(&self) -> bool {
        !(self.rejected.is_empty() && self.marks.is_empty())
    }
}

/// How the rows of one source are taken in.
pub(crate) struct Intake {
    name: String,
    event_time: Option<usize>,
    schema: SchemaRef,
    /// Whether its rows have hidden columns and marks already.
    is_marked: bool,
    /// The windows that rows go into, here or behind an exchange.
    windows: Option<WindowKind>,
}

impl Intake {
    /// The intake of a source of that name and schema; `event_time` is the position of a column.
    ///
    /// # Errors
    /// When there is no such column, or one of a hidden name.
    pub(crate) fn new(name: &str, source: &SchemaRef, event_time: Option<usize>) -> Result<Self> {
        if event_time.is_some_and(|column| column >= source.fields().len()) {
            return Err(Error::Bug(format!("source '{name}' has no column {event_time:?}")));
        }
        if let Some(taken) = HIDDEN_COLUMNS.iter().find(|name| source.index_of(name).is_ok()) {
            return Err(Error::Option(format!(
                "source '{name}' has a column '{taken}', a name that is reserved; rename it"
            )));
        }
        let schema = with_hidden_columns(source);
        let name = name.to_string();
        Ok(Self { name, event_time, schema, is_marked: false, windows: None })
    }

    /// The same for rows that go into windows.
    #[must_use]
    pub(crate) fn into_windows(mut self, windows: Option<WindowKind>) -> Self {
        self.windows = windows;
        self
    }

    /// The intake of an exchange, whose rows have the hidden columns.
    ///
    /// # Errors
    /// When they have not.
    pub(crate) fn marked(name: &str, source: &SchemaRef) -> Result<Self> {
        let hidden = source.fields().iter().rev().zip(HIDDEN_COLUMNS.iter().rev());
        if hidden.filter(|(field, name)| field.name() == *name).count() < HIDDEN_COLUMNS.len() {
            return Err(Error::Bug(format!("exchange '{name}' lacks the hidden columns")));
        }
        let schema = SchemaRef::clone(source);
        Ok(Self {
            name: name.to_string(),
            event_time: None,
            schema,
            is_marked: true,
            windows: None,
        })
    }

    /// The schema of what comes out.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether its rows come with marks, from an exchange.
    pub(crate) fn is_marked(&self) -> bool {
        self.is_marked
    }

    /// Whether its rows have a time.
    pub(crate) fn has_event_time(&self) -> bool {
        self.event_time.is_some()
    }

    /// Takes a batch of the partition with that number in.
    ///
    /// # Errors
    /// When the batch is not as the source's schema and trait say.
    pub(crate) fn accept(&self, batch: SourceBatch, number: i32) -> Result<Piece> {
        let SourceBatch { partition, rows, sequences, mut rejected, marks, bytes, .. } = batch;
        if self.is_marked {
            return Ok(Piece { partition, rows, rejected, marks, bytes });
        }
        let count = rows.num_rows();
        if sequences.len() != count {
            return Err(Error::Bug(format!(
                "source '{}' gave {count} rows with {} sequences",
                self.name,
                sequences.len()
            )));
        }
        let times = self.times(&rows)?;
        let unusable = self.unusable(&times);
        for &(row, ref reason) in &unusable {
            let position = sequences.get(row).copied().unwrap_or_default();
            let time = times.is_valid(row).then(|| times.value(row));
            rejected.push(rejected_row(&rows.slice(row, 1), &partition, position, time, reason));
        }
        let hidden: [ArrayRef; 3] = [
            Arc::new(times),
            Arc::new(Int64Array::from(sequences)),
            Arc::new(Int32Array::from(vec![number; count])),
        ];
        let mut columns: Vec<_> = rows.columns().iter().cloned().chain(hidden).collect();
        if !unusable.is_empty() {
            rejected.sort_by_key(|record| record.position);
            let mut keep = vec![true; count];
            for (row, _) in unusable {
                keep[row] = false;
            }
            let keep = BooleanArray::from(keep);
            for column in &mut columns {
                *column = filter(column, &keep)?;
            }
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::Bug(format!("source '{}': {error}", self.name)))?;
        Ok(Piece { partition, rows, rejected, marks, bytes })
    }

    /// The event time of each row.
    fn times(&self, rows: &RecordBatch) -> Result<TimestampMicrosecondArray> {
        let Some(column) = self.event_time else {
            return Ok(TimestampMicrosecondArray::from(vec![0; rows.num_rows()]));
        };
        let column = rows.column(column);
        let times = cast(column, &TIME_TYPE).map_err(|_| {
            Error::Option(format!(
                "the event time of source '{}' must be a timestamp, got {}",
                self.name,
                column.data_type()
            ))
        })?;
        Ok(times.as_primitive::<TimestampMicrosecondType>().clone())
    }

    /// The rows whose time can't be, and why.
    fn unusable(&self, times: &TimestampMicrosecondArray) -> Vec<(usize, String)> {
        let check = |time: i64| match &self.windows {
            Some(windows) => windows.check_row(time),
            None => check_time(time),
        };
        let extremes = [min(times), max(times)];
        if times.null_count() == 0 && extremes.into_iter().flatten().all(|t| check(t).is_ok()) {
            return Vec::new();
        }
        let reason = |time: Option<i64>| match time {
            Some(time) => check(time).err().map(|error| error.to_string()),
            None => Some("it has no event time".to_string()),
        };
        let rows = times.iter().enumerate();
        rows.filter_map(|(row, time)| reason(time).map(|reason| (row, reason))).collect()
    }
}

#[cfg(test)]
mod tests;
