//! Several instances of one pipeline: they share it, stand by, die and take over, and each result
//! is there once.

use super::topics::{Into, Topics};
use super::{QUERY, ROWS, interrupt, killed, log_of, run, start_as, stderr, waited_for};
use crate::place::Place;

/// A pipeline of the test's query.
fn into(topic: &str, stops_at_end: bool, has_exchange: bool) -> Into<'_> {
    Into { topic, query: QUERY, stops_at_end, has_exchange }
}

#[test]
fn windows_behind_an_exchange_give_what_they_give_without() {
    let place = Place::new();
    let topics = Topics::filled();
    for (name, has_exchange) in [("direct", false), ("exchanged", true)] {
        let file = topics.pipeline(&place, &into(name, true, has_exchange));
        assert!(run(&place, &file, None), "{}", stderr(&place));
    }
    assert!(topics.committed("direct").len() > 20);
    assert_eq!(topics.committed("exchanged"), topics.committed("direct"));
    assert_eq!(topics.committed("exchanged_bad"), topics.committed("direct_bad"));
    for name in ["state.put", "pipeline.window.close", "kafka.offsets", "kafka.commit.after"] {
        let sink = format!("exchanged_{}", name.replace('.', "_"));
        let file = topics.pipeline(&place, &into(&sink, true, true));
        assert!(!run(&place, &file, Some(&format!("{name}:2"))), "{name} is not reached");
        assert!(run(&place, &file, None), "{name}: {}", stderr(&place));
        assert_eq!(topics.committed(&sink), topics.committed("direct"), "{name}");
        let bad = topics.committed(&format!("{sink}_bad"));
        assert_eq!(bad, topics.committed("direct_bad"), "{name}");
    }
}

/// What a run over all rows gives, in a topic of its own.
fn golden(place: &Place, topics: &Topics, name: &str) -> Vec<String> {
    let file = topics.pipeline(place, &into(name, true, false));
    assert!(run(place, &file, None), "{}", stderr(place));
    topics.closed(name)
}

#[test]
fn instances_that_die_and_join_share_what_is_before_the_windows() {
    let place = Place::new();
    let topics = Topics::empty();
    topics.fill(0..ROWS / 2);
    let file = topics.pipeline(&place, &into("shared", false, true));
    // The first dies as it gives partitions back to the second.
    let mut one = start_as(&place, &file, Some("kafka.rebalance"), "one");
    topics.wait_for("shared", 1, || log_of(&place, "one"));
    let mut two = start_as(&place, &file, None, "two");
    assert!(!waited_for(&mut one), "{}", log_of(&place, "one"));
    topics.fill(ROWS / 2..ROWS * 3 / 4);
    let three = start_as(&place, &file, None, "three");
    std::thread::sleep(std::time::Duration::from_secs(2));
    killed(&mut two);
    topics.fill(ROWS * 3 / 4..ROWS);
    topics.close();
    let golden = golden(&place, &topics, "alone");
    topics.wait_for("shared", golden.len(), || log_of(&place, "three"));
    let mut three = three;
    interrupt(&three);
    assert!(waited_for(&mut three), "{}", log_of(&place, "three"));
    assert_eq!(topics.closed("shared"), golden);
}

#[test]
fn a_second_instance_stands_by_and_takes_over() {
    let place = Place::new();
    let topics = Topics::empty();
    topics.fill(0..ROWS / 2);
    let file = topics.pipeline(&place, &into("guarded", false, false));
    let mut one = start_as(&place, &file, None, "first");
    topics.wait_for("guarded", 1, || log_of(&place, "first"));
    let mut two = start_as(&place, &file, None, "second");
    let begun = std::time::Instant::now();
    while !log_of(&place, "second").contains("stands by") {
        assert!(begun.elapsed() < super::PATIENCE, "{}", log_of(&place, "second"));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    topics.fill(ROWS / 2..ROWS);
    killed(&mut one);
    topics.close();
    let golden = golden(&place, &topics, "unguarded");
    topics.wait_for("guarded", golden.len(), || log_of(&place, "second"));
    interrupt(&two);
    assert!(waited_for(&mut two), "{}", log_of(&place, "second"));
    assert_eq!(topics.closed("guarded"), golden);
}
