//! The event times of rows of files: which can't be, and whether they look like another unit.
//!
//! - *Absent:* what windows make of a time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{TimeUnit, TimestampMicrosecondType};
use sembla_connectors::files::SourceFiles;
use sembla_runtime::window::{TIMES_US, check_time};

use super::Read;
use super::letters::Letter;
use crate::SqlError;
use crate::catalogue::source::SourceDef;
use crate::columns::TIME_TYPE;
use crate::error::arrow_error;

/// What times in seconds are where they are read as milliseconds: 12 January 1970 to 8 March 1970,
/// which stands for 2001 to 2150.
const SECONDS_AS_MILLIS_US: Range<i64> = 1_000_000_000_000..5_700_000_000_000;

/// The column of event times of a source.
pub(super) struct Times {
    source: Arc<SourceDef>,
    column: String,
    unit: TimeUnit,
    /// Whether the first times were looked at.
    has_looked: bool,
}

impl Times {
    /// That of a source that has one.
    pub(super) fn of(source: &Arc<SourceDef>, files: &SourceFiles) -> Option<Self> {
        let column = source.watermark.as_ref()?.column.clone();
        let unit = files.time_unit;
        Some(Self { source: Arc::clone(source), column, unit, has_looked: false })
    }

    /// Warns once where the first times look like seconds that were taken for milliseconds.
    pub(super) fn look(&mut self, rows: &RecordBatch) {
        if self.has_looked || self.unit != TimeUnit::Millisecond || rows.num_rows() == 0 {
            return;
        }
        self.has_looked = true;
        let Some(times) = times_in(rows, &self.column) else { return };
        let mut all = times.iter().flatten().peekable();
        if all.peek().is_some() && all.all(|time| SECONDS_AS_MILLIS_US.contains(&time)) {
            tracing::warn!(
                "source '{}': the times in '{}' are in early 1970; if they count seconds, \
                 set timestamp_unit = 's'",
                self.source.name,
                self.column
            );
        }
    }

    /// The rows that have a time that can be; the others are among those that can't be read.
    ///
    /// # Errors
    /// None that can happen; Arrow checks lengths.
    pub(super) fn checked(&self, read: Read, file: &str) -> Result<Read, SqlError> {
        let Some(times) = times_in(&read.rows, &self.column) else { return Ok(read) };
        if times.iter().all(|time| time.is_some_and(|time| TIMES_US.contains(&time))) {
            return Ok(read);
        }
        let (mut good, mut places, mut letters) = (Vec::new(), Vec::new(), read.letters);
        for (row, (time, place)) in times.iter().zip(&read.places).enumerate() {
            let why = match time {
                None => Some("it has no event time".to_string()),
                Some(time) => check_time(time).err().map(|error| error.to_string()),
            };
            good.push(why.is_none());
            match why {
                None => places.push(*place),
                Some(why) => {
                    let why = format!("file '{file}': {place}, column '{}': {why}", self.column);
                    letters.push(Letter::of_row(file, *place, why, &read.rows.slice(row, 1)));
                }
            }
        }
        let rows = filter_record_batch(&read.rows, &BooleanArray::from(good))
            .map_err(|error| arrow_error(&error))?;
        Ok(Read { rows, places, letters })
    }
}

/// The event times of rows, if they have the column.
fn times_in<'a>(
    rows: &'a RecordBatch,
    column: &str,
) -> Option<&'a arrow::array::TimestampMicrosecondArray> {
    let times = rows.column_by_name(column).filter(|times| *times.data_type() == TIME_TYPE)?;
    times.as_primitive_opt::<TimestampMicrosecondType>()
}
