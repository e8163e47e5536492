//! Windows of event time: which ones a row belongs to, and the rows of those that are open.
//!
//! - *Invariant:* a window is `[start, end)`; it closes when the watermark reaches its end.
//! - *Invariant:* times are within the years 1 to 9999 ([`check_time`]) and lengths within
//!   [`LENGTH_MAX_US`], so no sum overflows.
//! - *Absent:* clocks, files, tasks. The same assignment serves static tables.
//!
//! [`WindowRows`] is the front; `bins` knows which row is in which open window, `slots` keeps the
//! rows in memory, `held` decides what a checkpoint writes, `segment` writes it down.

mod bins;
mod held;
mod rows;
#[cfg(test)]
pub(crate) mod samples;
mod segment;
mod sessions;
mod slots;

use std::ops::RangeInclusive;

pub(crate) use self::rows::Restoring;
pub use self::rows::{WindowCheckpoint, WindowRows, WindowSpec};
pub(crate) use self::segment::HASH_DIGITS;
pub use self::segment::{SavedWindows, Segment, SegmentRef};
pub use self::sessions::sessions_of;
pub use crate::stage::Window;
use crate::{Error, Result};

/// The event times that can be: from the year 1 to the year 9999, in microseconds since 1970.
pub const TIMES_US: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// The last end that a window can have: it is shown as a time too.
const LAST_END_US: i64 = *TIMES_US.end();

/// The greatest size, slide, gap, offset or lateness: 1000 years of 366 days.
pub const LENGTH_MAX_US: i64 = 1000 * 366 * 86_400_000_000;

/// In how many windows a row may be.
pub const WINDOWS_PER_ROW_MAX: i64 = 10_000;

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
    /// [`Error::Option`] for a length that isn't positive or is over [`LENGTH_MAX_US`], a slide
    /// over the size (rows between two windows would be in none), or more than
    /// [`WINDOWS_PER_ROW_MAX`] windows for each row.
    pub fn check(&self) -> Result<()> {
        match *self {
            Self::Tumble { size_us, offset_us } => {
                check_length("size", size_us)?;
                check_offset(offset_us)
            }
            Self::Hop { slide_us, size_us, offset_us } => {
                check_length("slide", slide_us)?;
                check_length("size", size_us)?;
                check_offset(offset_us)?;
                check_overlap(slide_us, size_us)
            }
            Self::Session { gap_us } => check_length("gap", gap_us),
        }
    }

    /// The windows of a row in the order of their starts, at least one. For a session this is the
    /// row's own window, which then merges with others that it overlaps.
    ///
    /// # Errors
    /// [`Error::Data`] for a time outside of [`TIMES_US`], and what `check` says.
    pub fn assign(
        &self,
        time_us: i64,
    ) -> Result<impl DoubleEndedIterator<Item = Window> + ExactSizeIterator + use<>> {
        self.check()?;
        check_time(time_us)?;
        let (first_us, count, slide_us, size_us) = match *self {
            Self::Session { gap_us } => (time_us, 1, 0, gap_us),
            Self::Tumble { .. } | Self::Hop { .. } => {
                let grid = self.grid();
                let last_us = grid.last_start(time_us);
                let earlier = (grid.size_us - 1 - (time_us - last_us)) / grid.slide_us;
                (last_us - earlier * grid.slide_us, earlier + 1, grid.slide_us, grid.size_us)
            }
        };
        // `check` holds the count within i32.
        Ok((0..count as i32).map(move |n| {
            let start_us = first_us + i64::from(n) * slide_us;
            Window { start_us, end_us: start_us + size_us }
        }))
    }

    /// Whether a row of that time can be in these windows: its time, and the ends of all windows
    /// that it is in, are times that can be written.
    ///
    /// # Errors
    /// [`Error::Data`] where one of them is outside of [`TIMES_US`].
    pub fn check_row(&self, time_us: i64) -> Result<()> {
        check_time(time_us)?;
        let end_us = match *self {
            Self::Session { gap_us } => time_us + gap_us,
            Self::Tumble { .. } | Self::Hop { .. } => {
                let grid = self.grid();
                grid.last_start(time_us) + grid.size_us
            }
        };
        match end_us <= LAST_END_US {
            true => Ok(()),
            false => Err(Error::Data(format!(
                "the event time {} is in a window that ends after the year 9999",
                shown(time_us)
            ))),
        }
    }

    /// The grid of a tumble or a hop. A session has none; it is given one that no row is put on.
    fn grid(&self) -> Grid {
        match *self {
            Self::Tumble { size_us, offset_us } => Grid { slide_us: size_us, size_us, offset_us },
            Self::Hop { slide_us, size_us, offset_us } => Grid { slide_us, size_us, offset_us },
            Self::Session { gap_us } => Grid { slide_us: gap_us, size_us: gap_us, offset_us: 0 },
        }
    }
}

/// Windows of a fixed size that begin every slide.
#[derive(Clone, Copy, Debug)]
struct Grid {
    slide_us: i64,
    size_us: i64,
    offset_us: i64,
}

impl Grid {
    /// The start of the last window that a time is in.
    fn last_start(&self, time_us: i64) -> i64 {
        time_us - (time_us - self.offset_us).rem_euclid(self.slide_us)
    }

    /// Where the slice begins that a time is in: no window starts or ends within a slice, so a
    /// window is a number of whole slices.
    fn slice_start(&self, time_us: i64) -> i64 {
        let last_end =
            time_us - (time_us - self.offset_us - self.size_us).rem_euclid(self.slide_us);
        self.last_start(time_us).max(last_end)
    }
}

fn check_length(name: &str, length_us: i64) -> Result<()> {
    if (1..=LENGTH_MAX_US).contains(&length_us) {
        return Ok(());
    }
    Err(Error::Option(format!(
        "the window's {name} must be longer than 0 and at most 1000 years, got {length_us} microseconds"
    )))
}

fn check_offset(offset_us: i64) -> Result<()> {
    if (-LENGTH_MAX_US..=LENGTH_MAX_US).contains(&offset_us) {
        return Ok(());
    }
    Err(Error::Option(format!(
        "the window's offset must be at most 1000 years, got {offset_us} microseconds"
    )))
}

fn check_overlap(slide_us: i64, size_us: i64) -> Result<()> {
    if slide_us > size_us {
        return Err(Error::Option(format!(
            "the window's slide must be at most its size, {size_us} microseconds, or rows between two \
             windows would be in none, got {slide_us}"
        )));
    }
    let windows = (size_us - 1) / slide_us + 1;
    if windows > WINDOWS_PER_ROW_MAX {
        return Err(Error::Option(format!(
            "with a size of {size_us} and a slide of {slide_us} microseconds each row is in \
             {windows} windows, but at most {WINDOWS_PER_ROW_MAX} are possible; make the slide longer"
        )));
    }
    Ok(())
}

/// A time within [`TIMES_US`] as a person writes it, in UTC.
pub(crate) fn shown(time_us: i64) -> String {
    use arrow::temporal_conversions::timestamp_us_to_datetime;
    match timestamp_us_to_datetime(time_us) {
        Some(time) => format!("{}Z", time.format("%Y-%m-%dT%H:%M:%S%.f")),
        None => format!("{time_us} microseconds since 1970"),
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
    Err(Error::Data(format!(
        "the event time is {time_us} microseconds since 1970, which is outside the years 1 to \
         9999; is it in another unit?"
    )))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests;
