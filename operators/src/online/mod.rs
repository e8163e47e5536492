//! Findings that go from window to window of a stream: clusters and topics whose ids persist,
//! duplicates and paraphrases of what was seen before.
//!
//! Each operator takes in one [`Window`] after another and has a state between them. Its state can
//! be written to bytes and read back, which changes nothing: a run that is cut between two windows
//! and goes on from the bytes gives the same rows. Time is the event time of windows alone; windows
//! come in the order of their ends. Where one fails, its state is what it was before the window.
//!
//! Each file is one operator ([`clusters`], [`topics`], [`dedup`], [`paraphrases`]) or a part of
//! them: [`horizon`] keeps rows for a while, `bytes` writes and reads states.

mod bytes;
pub mod clusters;
pub mod dedup;
pub mod horizon;
pub mod paraphrases;
pub mod topics;

pub use clusters::{
    ClusterInWindow, ClusterOptions, Event, Grouping, OnlineClusters, WindowClusters,
};
pub use dedup::{DedupOptions, DedupRows, OnlineDedup, WindowVerdicts};
pub use horizon::{HorizonOptions, Key, Precision};
pub use paraphrases::{OnlinePair, OnlineParaphrases, ParaphraseOptions, Place, WindowPairs};
pub use topics::{OnlineTopic, OnlineTopicOptions, OnlineTopics, WindowTopics};

use bytes::{Reader, Writer};

use crate::error::{OperatorError, Result};

/// Windows whose lengths make up a half-life, where nothing else is said.
const HALF_LIFE_WINDOWS: f64 = 10.0;

/// A window of event time, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The first moment that is in it.
    pub start: i64,
    /// The first moment after it.
    pub end: i64,
}

/// How far event time has come, and how fast weights decay.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Clock {
    /// The latest end of a window.
    now: i64,
    /// Time in which weights halve.
    half_life: f64,
}

impl Clock {
    /// The clock after one more window, and what weights from before it are multiplied with. A
    /// window that ends before another that came earlier lets nothing decay.
    fn advanced(clock: Option<Self>, window: Window, half_life: Option<i64>) -> (Self, f64) {
        let length = (window.end as f64 - window.start as f64).max(1.0);
        let given = half_life.map(|half_life| half_life as f64);
        let Some(before) = clock else {
            let half_life = given.unwrap_or(length * HALF_LIFE_WINDOWS);
            return (Self { now: window.end, half_life }, 1.0);
        };
        let half_life = given.unwrap_or(before.half_life);
        let now = before.now.max(window.end);
        let passed = now as f64 - before.now as f64;
        (Self { now, half_life }, (-passed / half_life).exp2())
    }

    fn write(self, to: &mut Writer) {
        to.i64(self.now);
        to.f64(self.half_life);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self> {
        let clock = Self { now: from.i64()?, half_life: from.f64()? };
        if clock.half_life > 0.0 { Ok(clock) } else { Err(from.wrong("no half-life")) }
    }
}

/// Checks a length of time that weights or rows last.
fn check_duration(name: &str, microseconds: Option<i64>) -> Result<()> {
    match microseconds {
        Some(time) if time <= 0 => Err(OperatorError::Option(format!(
            "{name} must be longer than 0, got {time} microseconds"
        ))),
        _ => Ok(()),
    }
}

/// Checks that vectors go with those of the windows before.
fn check_same_model(dimension: usize, before: usize) -> Result<()> {
    if before == 0 || dimension == before {
        return Ok(());
    }
    Err(OperatorError::Data(format!(
        "the window has vectors of {dimension} components, but earlier windows had {before}; one model must embed the whole stream"
    )))
}

/// The rows that have a direction.
fn directed(vectors: &crate::UnitVectors) -> Vec<u32> {
    (0..vectors.rows() as u32).filter(|row| vectors.has_direction(*row as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_halve_in_event_time() {
        let window = |start, end| Window { start, end };
        let (clock, factor) = Clock::advanced(None, window(0, 100), Some(100));
        assert_eq!(factor, 1.0);
        let (clock, factor) = Clock::advanced(Some(clock), window(100, 200), Some(100));
        assert_eq!(factor, 0.5);
        let (clock, factor) = Clock::advanced(Some(clock), window(0, 100), Some(100));
        assert_eq!((clock.now, factor), (200, 1.0));
        let (_, factor) = Clock::advanced(Some(clock), window(400, 500), Some(100));
        assert_eq!(factor, 0.125);
    }

    #[test]
    fn without_a_half_life_ten_windows_are_one() {
        let (clock, _) = Clock::advanced(None, Window { start: 0, end: 7 }, None);
        assert_eq!(clock.half_life, 70.0);
        let (clock, factor) = Clock::advanced(Some(clock), Window { start: 70, end: 77 }, None);
        assert_eq!((clock.half_life, factor), (70.0, 0.5));
        let extreme = Window { start: i64::MIN, end: i64::MAX };
        assert!(Clock::advanced(None, extreme, None).0.half_life.is_finite());
    }
}
