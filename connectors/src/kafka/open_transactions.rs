//! Records that wait behind an open transaction. A reader of committed records is given nothing
//! from the first record of a transaction on that was neither committed nor aborted, whoever wrote
//! what follows; a producer that has died can hold a topic up for as long as its transaction may
//! last.
//!
//! - *Absent:* waiting. A pipeline reads on by itself once the transaction has ended; this only
//!   says what it waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::client::{ANSWER_TIMEOUT, Reports};
use super::positions::{Place, TopicPartition};
use super::settings::Connection;

/// How long a transaction is open before a pipeline that waits says so.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// Says what a bounded read leaves out because a transaction is open there. The ends of the places
/// are those of committed records. Waits for the cluster.
pub(super) fn warn_of_hidden(connection: &Connection, places: &BTreeMap<TopicPartition, Place>) {
    let explainer = &connection.explainer;
    let consumer: Result<BaseConsumer<Reports>, _> = connection
        .config()
        .set("isolation.level", "read_uncommitted")
        .create_with_context(Reports(Arc::clone(explainer)));
    // The read itself says what is wrong with the cluster.
    let Ok(consumer) = consumer else { return };
    for (partition, place) in places {
        let ends = consumer.fetch_watermarks(&partition.topic, partition.number, ANSWER_TIMEOUT);
        let Ok((_, end)) = ends else { return };
        if end > place.end {
            tracing::warn!(
                "{}: a transaction is open at position {}, so up to {} records from there on can't be read until it is \
                 committed, aborted or timed out",
                partition.name(),
                place.end,
                end - place.end
            );
        }
    }
}

/// How long partitions have stood still before an open transaction.
#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<BTreeMap<TopicPartition, Wait>>);

#[derive(Debug)]
struct Wait {
    /// The offset up to which all transactions have ended.
    stable: i64,
    since: Instant,
    is_told: bool,
}

impl Waits {
    /// Takes in what the client reports of a partition: the offset up to which all transactions
    /// have ended, and the end. Says so once where one stays open.
    pub(super) fn look(&self, partition: &TopicPartition, stable: i64, end: i64, now: Instant) {
        if let Some(hidden) = self.hidden(partition, stable, end, now) {
            tracing::warn!(
                "{}: a transaction has been open at position {stable} for more than {} s, so up to {hidden} records from there \
                 on wait until it is committed, aborted or timed out",
                partition.name(),
                OPEN_MAX.as_secs()
            );
        }
    }

    /// How many records wait, where that is to be said now.
    fn hidden(
        &self,
        partition: &TopicPartition,
        stable: i64,
        end: i64,
        now: Instant,
    ) -> Option<i64> {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stable < 0 || end <= stable {
            waits.remove(partition);
            return None;
        }
        let wait =
            waits.entry(partition.clone()).or_insert(Wait { stable, since: now, is_told: false });
        if wait.stable != stable {
            *wait = Wait { stable, since: now, is_told: false };
        }
        let is_due = !wait.is_told && now.saturating_duration_since(wait.since) > OPEN_MAX;
        wait.is_told |= is_due;
        is_due.then_some(end - stable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_stays_open_is_told_of_once() {
        let (waits, partition) = (Waits::default(), TopicPartition::new("t", 0));
        let begun = Instant::now();
        let look = |stable, end, seconds| {
            waits.hidden(&partition, stable, end, begun + Duration::from_secs(seconds))
        };
        assert_eq!(look(5, 5, 0), None, "nothing waits");
        assert_eq!(look(5, 9, 1), None);
        assert_eq!(look(5, 9, 31), None, "not longer than that");
        assert_eq!(look(5, 12, 32), Some(7));
        assert_eq!(look(5, 13, 99), None, "it was said");
        assert_eq!(look(8, 20, 100), None, "another one, from now on");
        assert_eq!(look(8, 20, 131), Some(12));
        assert_eq!(look(20, 20, 140), None, "it has ended");
        assert_eq!(look(20, 30, 150), None);
        assert_eq!(look(-1001, 30, 999), None, "the client does not know yet");
    }
}
