//! How long a pipeline waits before it restarts after a failure.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The wait after the first failure, before it is shortened at random.
const BACKOFF_MIN: Duration = Duration::from_millis(200);

/// The wait after so many failures in a row (from 1): twice as long each time, up to `longest`,
/// shortened by up to a half so that many instances don't come back at once. `random` is in [0, 1).
pub(crate) fn backoff(failures: usize, longest: Duration, random: f64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
    let wait = BACKOFF_MIN.saturating_mul(1 << doublings).min(longest);
    wait.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
}

/// A number in [0, 1) that differs from call to call and from process to process.
pub fn random() -> f64 {
    (RandomState::new().hash_one(()) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_shortened_by_half_at_most() {
        let longest = Duration::from_secs(30);
        let waits: Vec<_> = (1..=9).map(|n| backoff(n, longest, 0.0).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        assert_eq!(backoff(usize::MAX, longest, 0.0), longest);
        assert_eq!(backoff(1, longest, 1.0), BACKOFF_MIN / 2);
        assert_eq!(backoff(5, Duration::ZERO, 0.3), Duration::ZERO);
    }

    #[test]
    fn random_numbers_are_in_range_and_differ() {
        let numbers: Vec<_> = (0..100).map(|_| random()).collect();
        assert!(numbers.iter().all(|n| (0.0..1.0).contains(n)));
        assert!(numbers.iter().any(|n| *n != numbers[0]));
    }
}
