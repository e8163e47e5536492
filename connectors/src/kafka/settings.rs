//! What the options of Kafka sources and sinks come to, and the client configurations that they
//! make.
//!
//! - *Invariant:* what the protocol rests on can't be set by a user; such a property is rejected.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use sembla_runtime::{Error, Result};

use super::failure::{Explainer, Secrets};
use super::options::{ANY_PROPERTY, PROPERTIES};
use super::positions::Start;
use super::topics::RECORD_BYTES_MAX;
use crate::max_ahead::max_ahead_us;
use crate::options::Options;

/// Properties that the protocol rests on.
const FIXED_PROPERTIES: [&str; 14] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.protocol",
    "heartbeat.interval.ms",
    "isolation.level",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "statistics.interval.ms",
];

/// Properties that go by another name here.
const RENAMED_PROPERTIES: [(&str, &str); 12] = [
    ("bootstrap.servers", "bootstrap_servers"),
    ("compression.codec", "compression"),
    ("compression.type", "compression"),
    ("group.id", "group"),
    ("linger.ms", "linger"),
    ("max.poll.interval.ms", "rebalance_timeout"),
    ("partitioner", "partitioner"),
    ("queued.max.messages.kbytes", "queue_bytes"),
    ("queued.min.messages", "queue_rows"),
    ("session.timeout.ms", "session_timeout"),
    ("transaction.timeout.ms", "transaction_timeout"),
    ("transactional.id", "transactional_id"),
];

/// How clients of one cluster are made.
#[derive(Clone)]
pub(super) struct Connection {
    config: ClientConfig,
    pub(super) explainer: Arc<Explainer>,
}

impl Connection {
    fn new(options: &Options) -> Result<Self> {
        let servers = options.text("bootstrap_servers")?;
        let mut config = ClientConfig::new();
        let mut secrets = Secrets::default();
        secrets.add_credentials(servers);
        config.set("bootstrap.servers", servers).set("client.id", "sembla");
        for def in PROPERTIES.iter().filter(|def| def.key != ANY_PROPERTY.key) {
            if let Some(value) = options.find_text(def.key) {
                if def.key.ends_with(".location") {
                    check_file(def.key, value)?;
                }
                config.set(def.key, value);
                if def.is_secret {
                    secrets.add(value);
                }
            }
        }
        for (key, value) in options.below("kafka.") {
            check_property(key)?;
            config.set(key, value);
            secrets.add_if_secret(key, value);
        }
        Ok(Self { config, explainer: Arc::new(Explainer::new(servers, secrets)) })
    }

    /// A configuration to be completed.
    pub(super) fn config(&self) -> ClientConfig {
        self.config.clone()
    }
}

/// Names a file that the client would only say it can't read. One that a variable names, which
/// isn't set where options are only checked, is not looked for.
fn check_file(key: &str, path: &str) -> Result<()> {
    match std::fs::File::open(path) {
        Ok(_) => Ok(()),
        Err(_) if path.starts_with("env:") => Ok(()),
        Err(error) => {
            Err(Error::Option(format!("{key}: the file '{path}' can't be read: {error}")))
        }
    }
}

/// Rejects the properties that are not the user's.
fn check_property(key: &str) -> Result<()> {
    if FIXED_PROPERTIES.contains(&key) {
        let line = format!("kafka.{key} can't be set: exactly-once delivery depends on it");
        return Err(Error::Option(line));
    }
    match RENAMED_PROPERTIES.iter().find(|(property, _)| *property == key) {
        Some((_, option)) => {
            Err(Error::Option(format!("use the option {option} instead of kafka.{key}")))
        }
        None => Ok(()),
    }
}

impl Secrets {
    /// Adds the value of a property whose name says that it is a secret. Short values such as
    /// `true` would put stars in messages where they help nobody.
    fn add_if_secret(&mut self, key: &str, value: &str) {
        const WORDS: [&str; 7] = ["password", "secret", "token", "jaas", "key", "pem", "oauth"];
        if WORDS.iter().any(|word| key.contains(word)) {
            self.add(value);
        }
    }
}

/// What a source reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    /// These.
    Named(Vec<String>),
    /// All that match; a regular expression that begins with `^`.
    Matching(String),
}

/// The checked options of a source.
#[derive(Clone)]
pub(super) struct SourceSettings {
    pub(super) connection: Connection,
    pub(super) topics: Topics,
    pub(super) group: String,
    pub(super) start: Start,
    pub(super) skips_missing: bool,
    pub(super) stops_at_end: bool,
    pub(super) max_ahead_us: Option<i64>,
    pub(super) queue_rows: u64,
    pub(super) queue_bytes: u64,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
}

impl SourceSettings {
    pub(super) fn new(pipeline: &str, options: &Options) -> Result<Self> {
        let topics = match (options.find_text("topic"), options.find_text("topic_pattern")) {
            (Some(names), None) => Topics::Named(names_of(names)?),
            (None, Some(pattern)) => Topics::Matching(match pattern.starts_with('^') {
                true => pattern.into(),
                false => format!("^{pattern}"),
            }),
            (Some(_), Some(_)) => {
                return Err(Error::Option(
                    "topic and topic_pattern can't be combined; leave one out".into(),
                ));
            }
            (None, None) => {
                return Err(Error::Option(
                    "a kafka source needs the option 'topic' (or topic_pattern)".into(),
                ));
            }
        };
        Ok(Self {
            connection: Connection::new(options)?,
            topics,
            group: options.find_text("group").unwrap_or(pipeline).to_string(),
            start: Start::parse(options.text("start")?)?,
            skips_missing: options.choice("on_missing_offset")? == "earliest",
            stops_at_end: options.flag("stop_at_end")?,
            max_ahead_us: max_ahead_us(options)?,
            queue_rows: options.count("queue_rows")?.clamp(1, 10_000_000),
            queue_bytes: options.bytes("queue_bytes")?.max(1024),
            session_timeout: options.duration("session_timeout")?,
            rebalance_timeout: options.duration("rebalance_timeout")?,
        })
    }

    /// The consumer's configuration.
    pub(super) fn config(&self) -> ClientConfig {
        let session_ms = self.session_timeout.as_millis();
        let rebalance_ms = self.rebalance_timeout.as_millis().max(session_ms);
        let mut config = self.connection.config();
        config
            .set("group.id", &self.group)
            .set("group.protocol", "classic")
            // Every rebalance gives all partitions back, so a generation never changes under rows
            // that are on their way.
            .set("partition.assignment.strategy", "roundrobin")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", if self.skips_missing { "earliest" } else { "error" })
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", (session_ms / 10).clamp(100, 3000).to_string())
            .set("max.poll.interval.ms", rebalance_ms.to_string())
            .set("queued.min.messages", self.queue_rows.to_string())
            .set("queued.max.messages.kbytes", self.queue_bytes.div_ceil(1024).to_string())
            .set("statistics.interval.ms", "5000");
        // How long a partition with a full queue waits before it is fetched again, and how long a
        // broker may hold a fetch back; both are for throughput and set too long by default.
        for (key, value) in [
            ("fetch.queue.backoff.ms", "20"),
            ("fetch.wait.max.ms", "100"),
            ("topic.metadata.refresh.interval.ms", "60000"),
        ] {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        config
    }
}

/// The names in a list with commas.
fn names_of(list: &str) -> Result<Vec<String>> {
    let names: Vec<String> =
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect();
    match names.iter().find(|name| name.starts_with('^')) {
        _ if names.is_empty() => {
            Err(Error::Option(format!("topic must name a topic, got '{list}'")))
        }
        Some(name) => Err(Error::Option(format!(
            "topic '{name}' looks like a regular expression; use topic_pattern"
        ))),
        None => Ok(names),
    }
}

/// The checked options of a sink.
#[derive(Clone)]
pub(super) struct SinkSettings {
    pub(super) connection: Connection,
    pub(super) topic: String,
    pub(super) key: Option<String>,
    pub(super) headers: Option<String>,
    pub(super) timestamp: Option<String>,
    pub(super) dead_letter_topic: Option<String>,
    pub(super) late_topic: Option<String>,
    pub(super) is_transactional: bool,
    pub(super) transactional_id: Option<String>,
    pub(super) transaction_timeout: Duration,
    pub(super) progress_topic: Option<String>,
    pub(super) creates_topics: bool,
    pub(super) partitions: i32,
    pub(super) replication: i32,
    partitioner: &'static str,
    compression: &'static str,
    linger: Duration,
}

impl SinkSettings {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let text = |key| options.find_text(key).map(String::from);
        let small = |key| Ok::<_, Error>(i32::try_from(options.count(key)?).unwrap_or(i32::MAX));
        Ok(Self {
            connection: Connection::new(options)?,
            topic: options.text("topic")?.into(),
            key: text("key"),
            headers: text("headers"),
            timestamp: text("timestamp"),
            dead_letter_topic: text("dead_letter_topic"),
            late_topic: text("late_topic"),
            is_transactional: options.choice("delivery")? == "exactly_once",
            transactional_id: text("transactional_id"),
            transaction_timeout: options.duration("transaction_timeout")?,
            progress_topic: text("progress_topic"),
            creates_topics: options.flag("create_topics")?,
            partitions: small("partitions")?,
            replication: small("replication")?,
            partitioner: options.choice("partitioner")?,
            compression: options.choice("compression")?,
            linger: options.duration("linger")?,
        })
    }

    /// Whether records are compressed on their way.
    pub(super) fn is_compressed(&self) -> bool {
        self.compression != "none"
    }

    /// The largest record that the client sends.
    pub(super) fn record_bytes_max(&self) -> usize {
        let config = self.config(None);
        let max = config.get("message.max.bytes").and_then(|max| max.parse().ok());
        max.unwrap_or(usize::MAX)
    }

    /// The producer's configuration, with a transactional id or without transactions.
    pub(super) fn config(&self, transactional_id: Option<&str>) -> ClientConfig {
        let mut config = self.connection.config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", self.partitioner)
            .set("compression.type", self.compression)
            .set("linger.ms", self.linger.as_millis().to_string());
        // A broker knows best how large a record may be. A transaction that comes right after
        // another is asked to try again some milliseconds later.
        for (key, value) in [
            ("message.max.bytes", RECORD_BYTES_MAX),
            ("queue.buffering.max.kbytes", "262144"),
            ("retry.backoff.ms", "10"),
        ] {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        if let Some(id) = transactional_id {
            config
                .set("transactional.id", id)
                .set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string());
        }
        config
    }
}
