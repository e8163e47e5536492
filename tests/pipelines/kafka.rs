//! Pipelines between topics of a real broker, killed at every place.

use std::collections::BTreeSet;

use sembla_runtime::failpoint;

use super::topics::{Into, Topics};
use super::{POISON, QUERY, ROWS, reached, run, stderr};
use crate::place::Place;

/// A pipeline of the test's query.
fn into(topic: &str) -> Into<'_> {
    Into { topic, query: QUERY, stops_at_end: true, has_exchange: false }
}

#[test]
fn a_kill_at_any_failpoint_changes_no_topic() {
    let place = Place::new();
    let topics = Topics::filled();
    let golden_file = topics.pipeline(&place, &into("golden"));
    assert!(run(&place, &golden_file, None), "{}", stderr(&place));
    let golden = topics.committed("golden");
    assert!(golden.len() > 20 && golden.len() < ROWS, "{} rows", golden.len());
    let bad = topics.committed("golden_bad");
    assert_eq!(bad.len(), POISON.len(), "{bad:?}");
    // A drain is the data sets' to test, and giving partitions back that of several instances.
    let apart = ["pipeline.drain", "kafka.rebalance"];
    let others = ["embed.", "files.", "postgres.", "collection."];
    let is_others = |name: &str| others.iter().any(|other| name.starts_with(other));
    let own = |name: &&&str| !is_others(name) && !apart.contains(*name);
    for name in failpoint::ALL.iter().filter(own) {
        let sink = name.replace('.', "_");
        let file = topics.pipeline(&place, &into(&sink));
        assert!(!run(&place, &file, Some(name)), "{name} is not reached");
        assert!(run(&place, &file, None), "{name}: {}", stderr(&place));
        assert_eq!(topics.committed(&sink), golden, "{name}");
        assert_eq!(topics.committed(&format!("{sink}_bad")), bad, "{name}");
    }
    let all: BTreeSet<String> =
        failpoint::ALL.iter().filter(own).map(|name| name.to_string()).collect();
    assert_eq!(&all - &reached(&place), BTreeSet::new(), "failpoints that no run has reached");
}
