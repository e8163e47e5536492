//! What is said once of event times that can't be right.

use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Partition;
use crate::status::Reporter;
use crate::watermark::Ahead;
use crate::window::shown;

/// Where the seconds of the years 2001 to 2052 lie if they are read as milliseconds, or their
/// milliseconds as microseconds: in January 1970.
const TOO_COARSE_US: RangeInclusive<i64> = 1_000_000_000_000..=2_600_000_000_000;

/// The time of day in microseconds since 1970.
pub(super) fn clock_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Says once for a source that its times may be in another unit than they are read in.
pub(super) fn on_unit(
    reporter: &Reporter,
    source: &str,
    partition: &Partition,
    mut rows: impl Iterator<Item = Ahead>,
) {
    let Some(row) = rows.find(|row| TOO_COARSE_US.contains(&row.time_us)) else { return };
    if reporter.is_first(&format!("unit of {source}")) {
        tracing::warn!(
            "source '{source}': the record at {partition}, position {}, has the event time {}, as if its unit were coarser than \
             the one that it is read in; if times are seconds since 1970, set timestamp_unit = 's'",
            row.sequence,
            shown(row.time_us)
        );
    }
}

/// Says once for a partition that a row is too far ahead to move the watermark.
pub(super) fn on_ahead(reporter: &Reporter, source: &str, partition: &Partition, row: Ahead) {
    if reporter.is_first(&format!("ahead in {source}/{partition}")) {
        tracing::warn!(
            "source '{source}': the record at {partition}, position {}, has the event time {}, which is \
             further ahead than max_ahead allows, so it does not move the watermark; later ones of \
             this partition are not reported",
            row.sequence,
            shown(row.time_us)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_read_as_milliseconds_are_told_from_real_times() {
        for (time_us, is_doubtful) in [
            (1_767_258_000_000_000, false),
            (1_767_258_000_000, true),
            (1_000_000_000_000, true),
            (0, false),
            (1_000_000, false),
            (-1_767_258_000_000, false),
        ] {
            assert_eq!(TOO_COARSE_US.contains(&time_us), is_doubtful, "{time_us}");
        }
        assert!(clock_us() > 1_700_000_000_000_000);
    }
}
