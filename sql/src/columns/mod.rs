//! Columns: their names and types, and arrays read as texts, vectors, times and keys.
//!
//! *Absent:* plans, models, sessions.

use arrow::datatypes::{DataType, TimeUnit};

pub mod by_name;
mod constant;
pub(crate) mod images;
pub(crate) mod interval;
pub(crate) mod keys;
pub(crate) mod provenance;
mod shown;
mod sql_type;
pub(crate) mod texts;
mod vector_type;
pub(crate) mod vectors;

pub(crate) use constant::constant;
pub(crate) use shown::shown;
pub(crate) use sql_type::planned_type;
pub(crate) use vector_type::VectorType;

/// The type of event times: microseconds since 1970, UTC.
pub(crate) const TIME_TYPE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The first moment of a row's window.
pub(crate) const WINDOW_START: &str = "window_start";
/// The end of a row's window, which is not in it.
pub(crate) const WINDOW_END: &str = "window_end";
/// Why a window gives a result: `early`, `on_time` or `late`.
pub(crate) const WINDOW_PANE: &str = "window_pane";

/// The column of vectors, which no other column is called.
pub(crate) const VECTORS_COLUMN: &str = "__vector";
