//! Early results of windows that are open, and results made again by rows that come late.

use std::time::{Duration, Instant};

use super::topics::{Into, Topics};
use super::{PATIENCE, interrupt, log_of, start_as, waited_for};
use crate::place::Place;

#[test]
fn windows_speak_early_and_again_when_rows_come_late() {
    let place = Place::new();
    let topics = Topics::empty();
    let query = "SELECT window_start, window_pane, count(*) AS n
                 FROM tumble(messages, INTERVAL '1 minute', early => INTERVAL '300 milliseconds', lateness => INTERVAL '2 minutes')
                 GROUP BY window_start, window_pane";
    let into = Into { topic: "panes", query, stops_at_end: false, has_exchange: false };
    let file = topics.pipeline(&place, &into);
    let line = |minute: usize, pane: &str, n: usize| {
        format!(
            "{{\"window_start\":\"2026-01-01T00:0{minute}:00Z\",\"window_pane\":\"{pane}\",\"n\":{n}}}"
        )
    };
    let wait_for = |line: String, topic: &str| {
        let begun = Instant::now();
        topics.wait_for(topic, 1, || log_of(&place, "panes.log"));
        while !topics.committed(topic).contains(&line) {
            let so_far = || format!("{:#?}", topics.committed(topic));
            assert!(
                begun.elapsed() < PATIENCE,
                "no {line} in {}{}",
                so_far(),
                log_of(&place, "panes.log")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    topics.fill(0..30);
    let mut running = start_as(&place, &file, None, "panes.log");
    wait_for(line(0, "early", 30), "panes");
    topics.fill(30..200);
    for minute in 0..3 {
        wait_for(line(minute, "on_time", 60), "panes");
    }
    // The window of minute 1 still takes rows, and speaks again when it takes no more.
    topics.add(1_000, 100);
    std::thread::sleep(Duration::from_secs(1));
    topics.fill(200..600);
    wait_for(line(8, "on_time", 60), "panes");
    wait_for(line(1, "late", 61), "panes");
    topics.add(1_001, 10);
    let begun = Instant::now();
    while topics.committed("panes_late").is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{}", log_of(&place, "panes.log"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let told = topics.committed("panes_late");
    assert_eq!(told, ["{\"id\":1001,\"text\":\"one more\",\"ts\":\"2026-01-01T00:00:10Z\"}"]);
    interrupt(&running);
    assert!(waited_for(&mut running), "{}", log_of(&place, "panes.log"));
}
