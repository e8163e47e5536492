//! The clock that says whether a partition is idle.

use std::time::Duration;

use tokio::time::Instant;

/// A clock that stands still while ingest is held up by what comes after it, for then it does not
/// hear what partitions have to say. It advances by a tick at most at a time: ingest looks at it
/// once a tick, so when more has passed, the whole process was held up.
#[derive(Debug)]
pub(super) struct ListeningClock {
    listened: Duration,
    looked_at: Instant,
    held_up: Duration,
    tick: Duration,
}

impl ListeningClock {
    pub(super) fn new(now: Instant, tick: Duration) -> Self {
        Self { listened: Duration::ZERO, looked_at: now, held_up: Duration::ZERO, tick }
    }

    /// Takes off a time for which ingest was held up.
    pub(super) fn hold(&mut self, time: Duration) {
        self.held_up += time;
    }

    /// Lets the time since the last call pass.
    pub(super) fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.looked_at).saturating_sub(self.held_up);
        self.listened += passed.min(self.tick);
        self.looked_at = now;
        self.held_up = Duration::ZERO;
    }

    /// How long ingest has listened.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.listened.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_while_ingest_is_held_up_and_advances_by_ticks() {
        let ms = Duration::from_millis;
        let began = Instant::now();
        let mut clock = ListeningClock::new(began, ms(100));
        clock.advance(began + ms(30));
        assert_eq!(clock.now_ms(), 30);
        clock.hold(ms(500));
        clock.hold(ms(440));
        clock.advance(began + ms(30 + 1000));
        assert_eq!(clock.now_ms(), 30 + 60, "940 of 1000 ms don't count");
        clock.advance(began + ms(9000));
        assert_eq!(clock.now_ms(), 90 + 100, "a stall counts as one tick");
        clock.advance(began);
        assert_eq!(clock.now_ms(), 190, "it never goes back");
    }
}
