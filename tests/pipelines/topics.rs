//! The topics of a test, and pipelines between them.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sembla_testing::{Broker, Record};

use super::{PATIENCE, POISON, ROWS, messages};
use crate::place::Place;

/// Ids from here on are of rows that come last, and close the windows before them.
const LAST_ID: usize = 1_000_000;

/// A topic of messages, and the broker.
pub(super) struct Topics {
    broker: &'static Broker,
    messages: String,
}

/// A pipeline from the messages into a topic of its own.
pub(super) struct Into<'a> {
    pub(super) topic: &'a str,
    pub(super) query: &'a str,
    pub(super) stops_at_end: bool,
    pub(super) has_exchange: bool,
}

impl Topics {
    /// No messages yet.
    pub(super) fn empty() -> Self {
        let broker = Broker::shared();
        Self { broker, messages: broker.topic(&Broker::unique("messages"), 2) }
    }

    /// All messages, with poison among them.
    pub(super) fn filled() -> Self {
        let topics = Self::empty();
        topics.write(messages_and_poison());
        topics
    }

    /// Messages with numbers in a range.
    pub(super) fn fill(&self, range: std::ops::Range<usize>) {
        self.write(messages()[range].iter().map(Record::new).collect());
    }

    /// Rows that close all windows.
    pub(super) fn close(&self) {
        let last = |n| {
            let at = 1_767_232_800_000_u64;
            format!("{{\"id\": {}, \"text\": \"the end\", \"ts\": {at}}}", LAST_ID + n)
        };
        self.write((0..2).map(last).map(Record::new).collect());
    }

    /// One message with that id at that second of the stream.
    pub(super) fn add(&self, id: usize, second: u64) {
        let at = 1_767_225_600_000 + second * 1000;
        let line = format!("{{\"id\": {id}, \"text\": \"one more\", \"ts\": {at}}}");
        self.write(vec![Record::new(line)]);
    }

    fn write(&self, records: Vec<Record>) {
        let of = |(n, record): (usize, Record)| record.partition(n as i32 % 2);
        let records: Vec<Record> = records.into_iter().enumerate().map(of).collect();
        self.broker.produce(&self.messages, &records);
    }

    /// The statement that makes a source of them, or of a topic with a longer name.
    pub(super) fn source(&self, more: &str) -> String {
        let (servers, topic) = (self.broker.servers(), &self.messages);
        format!(
            "CREATE SOURCE messages (id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP, WATERMARK FOR ts)
               WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = '{topic}{more}')"
        )
    }

    /// Writes the file of a pipeline.
    pub(super) fn pipeline(&self, place: &Place, into: &Into<'_>) -> PathBuf {
        let Into { topic, query, stops_at_end, has_exchange } = into;
        let servers = self.broker.servers();
        place.write(
            &format!("{topic}.sql"),
            &format!(
                "SET stream.exchange = '{has_exchange}';
                 CREATE SOURCE messages (id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
                   WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = '{}', stop_at_end = '{stops_at_end}',
                         session_timeout = '6 s');
                 CREATE SINK {topic} WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = '{topic}',
                         dead_letter_topic = '{topic}_bad', late_topic = '{topic}_late', create_topics = 'true');
                 INSERT INTO {topic} {query};",
                self.messages
            ),
        )
    }

    /// What is committed, sorted.
    pub(super) fn committed(&self, topic: &str) -> Vec<String> {
        let mut all: Vec<String> =
            self.broker.read_committed(topic).iter().map(|record| record.text()).collect();
        all.sort();
        all
    }

    /// What is committed of windows that all runs close.
    pub(super) fn closed(&self, topic: &str) -> Vec<String> {
        let mut all = self.committed(topic);
        all.retain(|line| !line.contains("the end"));
        all
    }

    /// Waits until a topic that another process makes has so many results of closed windows.
    pub(super) fn wait_for(&self, topic: &str, count: usize, whom: impl Fn() -> String) {
        let begun = Instant::now();
        while !self.broker.has_topic(topic) || self.closed(topic).len() < count {
            let so_far = || self.broker.has_topic(topic).then(|| self.closed(topic).len());
            assert!(begun.elapsed() < PATIENCE, "{topic}: {:?} of {count}\n{}", so_far(), whom());
            sleep(Duration::from_millis(200));
        }
    }
}

fn messages_and_poison() -> Vec<Record> {
    let mut records: Vec<Record> = messages().iter().map(Record::new).collect();
    let poison = POISON.iter().map(Record::new);
    let places = [0, 1, ROWS / 2, records.len() + 3];
    for (record, place) in poison.zip(places) {
        records.insert(place, record);
    }
    records
}
