//! Windows of event time: which ones a row belongs to, and the rows of those that are open.
//!
//! - *Invariant:* a window is `[start, end)`; it closes when the watermark reaches its end.
//! - *Invariant:* times are within the years 1 to 9999 ([`check_time`]) and sizes within 1000 years,
//!   so no sum overflows.
//! - *Absent:* clocks, files, tasks. The same assignment serves tables at rest.

mod rows;

use std::ops::RangeInclusive;

pub use crate::stage::Window;
use crate::{Error, Result};
pub use rows::{SavedWindows, Segment, SegmentRef, WindowCheckpoint, WindowRows, WindowSpec};

/// The event times that can be: from the year 1 to the year 9999, in microseconds since 1970.
pub const TIMES_US: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// How rows are put into windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// Windows of one size, one after another. They begin at `offset_us` and multiples of the size
    /// from there.
    Tumble {
        /// The length of a window.
        size_us: i64,
        /// Where one of them begins.
        offset_us: i64,
    },
    /// Windows of one size, one beginning every `slide_us`; they overlap.
    Hop {
        /// From the beginning of a window to that of the next.
        slide_us: i64,
        /// The length of a window; it need not be a multiple of the slide.
        size_us: i64,
        /// Where one of them begins.
        offset_us: i64,
    },
    /// Rows of one key that lie less than `gap_us` apart are in one window, which ends `gap_us`
    /// after its last row. Rows exactly that far apart are in two.
    Session {
        /// How long a key must be silent.
        gap_us: i64,
    },
}

impl WindowKind {
    /// Whether these windows can be.
    ///
    /// # Errors
    /// [`Error::Option`] for a size that isn't positive or over 1000 years, a slide over the size
    /// (rows between two windows would be in none), or too many windows for each row.
    pub fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The windows of a row in the order of their starts. For a session this is the row's own
    /// window, which then merges with others that it overlaps.
    ///
    /// # Errors
    /// [`Error::Data`] for a time outside of [`TIMES_US`].
    pub fn assign(&self, time_us: i64) -> Result<impl Iterator<Item = Window> + use<>> {
        check_time(time_us)?;
        Ok(std::iter::empty())
    }
}

/// Whether a row's event time can be. Ingest rejects rows for which it can't.
///
/// # Errors
/// [`Error::Data`] for a time outside of [`TIMES_US`].
pub fn check_time(time_us: i64) -> Result<()> {
    if TIMES_US.contains(&time_us) {
        return Ok(());
    }
    Err(Error::Data(format!("event time {time_us}")))
}

/// Of each row the session that it is in, for rows at rest in any order. `keys` has one key for each
/// row; `&[(); n]` is one key for all.
///
/// # Errors
/// [`Error::Data`] for a time outside of [`TIMES_US`].
pub fn sessions_of<K: Ord>(gap_us: i64, times_us: &[i64], keys: &[K]) -> Result<Vec<Window>> {
    let _ = (gap_us, times_us, keys);
    Ok(Vec::new())
}
