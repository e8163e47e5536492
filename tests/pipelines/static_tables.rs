//! A topic as a table: a query outside a pipeline reads what is there now.

use super::ROWS;
use super::topics::Topics;
use crate::place::Place;

#[test]
fn a_batch_query_reads_what_the_topics_have() {
    let place = Place::new();
    let topics = Topics::empty();
    topics.fill(0..ROWS / 2);
    let source = topics.source("");
    let ask = |query: &str| {
        place.run(&["sql", "--format", "csv", "-m", "potion", &format!("{source}; {query}")])
    };
    let counted = "SELECT count(*), count(DISTINCT id), min(id), max(id) FROM messages";
    assert_eq!(ask(counted).ok().lines().last(), Some("300,300,0,299"));
    topics.fill(ROWS / 2..ROWS);
    assert_eq!(ask(counted).ok().lines().last(), Some("600,600,0,599"));
    // Windows and findings take it as any table; a LIMIT ends early.
    let windows = "SELECT count(*) FROM (SELECT window_start FROM tumble(messages, INTERVAL '1 minute') GROUP BY window_start)";
    assert_eq!(ask(windows).ok().lines().last(), Some("10"));
    let found =
        ask("SELECT text FROM semantic_search(messages, query => 'refund', top_k => 1)").ok();
    assert!(found.lines().last().is_some_and(|line| line.contains("refund")), "{found}");
    assert_eq!(ask("SELECT id FROM messages LIMIT 3").ok().lines().count(), 4);
}

#[test]
fn a_record_that_cannot_be_used_ends_a_batch_query() {
    let place = Place::new();
    let topics = Topics::filled();
    let source = topics.source("");
    let refused = |source: &str| {
        let run = place.run(&["sql", &format!("{source}; SELECT count(id) FROM messages")]);
        assert_eq!(run.code, 2, "{}", run.err);
        run.err.lines().last().unwrap_or_default().to_string()
    };
    let line = refused(&source);
    assert!(line.starts_with("error: source 'messages': record 0 of messages-"), "{line}");
    let line = refused(&topics.source("_gone"));
    assert!(line.contains("_gone' does not exist"), "{line}");
}
