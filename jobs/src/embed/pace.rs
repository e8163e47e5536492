//! How many rows a model gets at a time: few at first, so that the first ones are done soon, then
//! more, as long as they don't take long.

use std::time::Duration;

/// Rows of the first piece.
const ROWS_MIN: usize = 32;
/// Rows of a piece, at most.
const ROWS_MAX: usize = 1 << 20;
/// A piece that took less is followed by one of twice its rows.
const TIME_MIN: Duration = Duration::from_secs(2);
/// A piece that took more is followed by one of half its rows.
const TIME_MAX: Duration = Duration::from_secs(8);

/// The pace of a model.
#[derive(Debug)]
pub(super) struct Pace {
    rows: usize,
}

impl Pace {
    /// The pace before anything is known.
    pub(super) fn new() -> Self {
        Self { rows: ROWS_MIN }
    }

    /// Rows of the next piece, at most.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Learns how long a piece took. One that was shorter than it might have been tells only if it
    /// was slow.
    pub(super) fn took(&mut self, rows: usize, time: Duration) {
        if time > TIME_MAX {
            self.rows = (self.rows / 2).max(ROWS_MIN);
        } else if time < TIME_MIN && rows >= self.rows {
            self.rows = (self.rows * 2).min(ROWS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_while_they_are_quick_and_shrink_when_they_are_slow() {
        let mut pace = Pace::new();
        let seconds = Duration::from_secs;
        for _ in 0..3 {
            pace.took(pace.rows(), seconds(1));
        }
        assert_eq!(pace.rows(), 8 * ROWS_MIN);
        pace.took(3, seconds(1));
        pace.took(8 * ROWS_MIN, seconds(5));
        assert_eq!(pace.rows(), 8 * ROWS_MIN);
        pace.took(8 * ROWS_MIN, seconds(9));
        assert_eq!(pace.rows(), 4 * ROWS_MIN);
        for _ in 0..99 {
            pace.took(pace.rows(), seconds(20));
        }
        assert_eq!(pace.rows(), ROWS_MIN);
    }
}
