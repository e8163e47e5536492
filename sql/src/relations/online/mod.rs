//! Findings that go from window to window: what one is, and the windows of its input.
//!
//! *Invariant:* windows go to a state in the order of their ends, then of their starts, so that a
//! static table and a stream take the same way.

use std::fmt::Debug;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use sembla_operators::Host;
use sembla_operators::online::Window;

use super::finding::{Emit, Finding, FindingHost};
use super::groups::Group;
use super::roles::InputTypes;
use super::table::Table;
use crate::SqlError;
use crate::columns::{WINDOW_END, WINDOW_START};
use crate::error::arrow_error;

pub(crate) mod slots;

pub use slots::OnlineSlots;
pub(crate) use slots::SlotForEach;

/// A finding that keeps a state from window to window.
pub(crate) trait Online: Debug + Send + Sync {
    /// The finding's own columns.
    fn columns(&self, input: &InputTypes) -> Vec<Field>;

    /// The state before the first window.
    ///
    /// # Errors
    /// What the operator says of options.
    fn begin(&self) -> Result<Box<dyn OnlineState>, SqlError>;

    /// The state that [`OnlineState::to_bytes`] gave.
    ///
    /// # Errors
    /// [`SqlError::Data`] for bytes that are damaged or of another finding.
    fn restore(&self, bytes: &[u8]) -> Result<Box<dyn OnlineState>, SqlError>;
}

/// What a finding keeps from window to window.
pub(crate) trait OnlineState: Send {
    /// Takes in a window and gives what is found in it. All of the state's changes are made before
    /// the first row is given.
    ///
    /// # Errors
    /// What the operator, the host or `emit` say. Unless it was `emit`, the state is what it was.
    fn step(
        &mut self,
        window: Window,
        table: &Table,
        host: &dyn Host,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError>;

    /// The state as bytes.
    fn to_bytes(&self) -> Vec<u8>;

    /// Another state like this one.
    fn fork(&self) -> Box<dyn OnlineState>;
}

/// An online finding as one of all findings.
#[derive(Debug)]
pub(crate) struct Windowed<T>(pub(crate) T);

impl<T: Online> Finding for Windowed<T> {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(input)] = inputs else { return Vec::new() };
        self.0.columns(input)
    }

    fn run(
        &self,
        _: &[Option<Table>],
        _: &dyn FindingHost,
        _: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        Err(SqlError::Bug("a finding that runs window by window has no window".into()))
    }

    fn online(&self) -> Option<&dyn Online> {
        Some(&self.0)
    }
}

/// The windows of a table with their rows, in order.
///
/// # Errors
/// [`SqlError::Data`] for rows without a window.
pub(crate) fn in_order(
    whole: &Table,
    groups: Vec<Group>,
) -> Result<Vec<(Window, Group)>, SqlError> {
    let bounds = |column: usize, name: &str| -> Result<TimestampMicrosecondArray, SqlError> {
        let column = whole.roles.groups.get(column);
        let column = column.ok_or_else(|| SqlError::Bug(format!("column {name} is missing")))?;
        let column = column.gather(groups.iter().map(|group| group.shown_by))?;
        let microseconds = in_microseconds(column.data_type());
        let column = cast(&column, &microseconds).map_err(|error| arrow_error(&error))?;
        if column.null_count() > 0 {
            return Err(SqlError::Data(format!(
                "{name} is NULL in a row, so the row is in no window; leave such rows out"
            )));
        }
        Ok(column.as_primitive::<TimestampMicrosecondType>().clone())
    };
    let (starts, ends) = (bounds(0, WINDOW_START)?, bounds(1, WINDOW_END)?);
    let windows = starts.values().iter().zip(ends.values());
    let windows = windows.map(|(start, end)| Window { start: *start, end: *end });
    let mut windows: Vec<(Window, Group)> = windows.zip(groups).collect();
    windows.sort_by_key(|(window, _)| (window.end, window.start));
    Ok(windows)
}

/// Times in microseconds as a column of the type of an input's windows.
///
/// # Errors
/// When arrow can't put them there.
pub(crate) fn times(
    table: &Table,
    microseconds: impl Iterator<Item = i64>,
) -> Result<ArrayRef, SqlError> {
    let wanted = table.roles.groups.get(1).map(|column| column.data_type());
    let wanted = wanted.ok_or_else(|| SqlError::Bug("the window is missing".into()))?;
    let times = TimestampMicrosecondArray::from_iter_values(microseconds);
    let times = times.with_data_type(in_microseconds(wanted));
    cast(&times, wanted).map_err(|error| arrow_error(&error))
}

/// The type of the same moments in microseconds. The time zone stays, since a cast without it would
/// move them.
fn in_microseconds(data_type: &DataType) -> DataType {
    let zone = match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    DataType::Timestamp(TimeUnit::Microsecond, zone)
}

/// The type of an input's windows.
pub(crate) fn time_type(input: &InputTypes) -> DataType {
    input.roles.groups.get(1).cloned().unwrap_or(DataType::Null)
}
