//! The options of Kafka sources and sinks, declared.

use crate::max_ahead::MAX_AHEAD;
use crate::options::{GivenOptions, Kind, OptionDef};

/// The option that names topics by a pattern.
pub(super) const PATTERN: &str = "topic_pattern";
/// The option that gives a place to records that can't be used.
pub(super) const REJECTED: &str = "dead_letter_topic";
/// The option that gives a place to late rows.
pub(super) const LATE: &str = "late_topic";

/// Partitions and replicas of topics that are made.
const SMALL: Kind = Kind::between(1, 10_000);

const SERVERS: OptionDef =
    OptionDef::new("bootstrap_servers", Kind::Text, "broker addresses: 'host:9092,host:9092'")
        .required();

/// Properties of the client that go by their own names, and whether each is a secret.
pub(super) const PROPERTIES: [OptionDef; 15] = [
    OptionDef::new("client.id", Kind::Text, "client name for the logs of the brokers"),
    OptionDef::new(
        "security.protocol",
        Kind::Choice(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
        "whether to use TLS and a login",
    ),
    OptionDef::new(
        "sasl.mechanism",
        Kind::Text,
        "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    ),
    OptionDef::new("sasl.username", Kind::Text, "the user"),
    OptionDef::new("sasl.password", Kind::Text, "the password").secret(),
    OptionDef::new("ssl.ca.location", Kind::Text, "file with the certificates to trust"),
    OptionDef::new("ssl.ca.pem", Kind::Text, "the certificates to trust"),
    OptionDef::new("ssl.certificate.location", Kind::Text, "file with the client's certificate"),
    OptionDef::new("ssl.certificate.pem", Kind::Text, "the client's certificate"),
    OptionDef::new("ssl.key.location", Kind::Text, "file with the client's private key").secret(),
    OptionDef::new("ssl.key.pem", Kind::Text, "the client's private key").secret(),
    OptionDef::new("ssl.key.password", Kind::Text, "password of the client's private key").secret(),
    OptionDef::new(
        "ssl.endpoint.identification.algorithm",
        Kind::Choice(&["https", "none"]),
        "whether to check the broker's host name",
    ),
    OptionDef::new(
        "enable.ssl.certificate.verification",
        Kind::Choice(&["true", "false"]),
        "whether to check the broker's certificate",
    ),
    ANY_PROPERTY,
];

/// Any other property. It may be a secret, so it is treated as one.
pub(super) const ANY_PROPERTY: OptionDef =
    OptionDef::new("kafka.*", Kind::Text, "any other property of librdkafka").secret();

const SOURCE: [OptionDef; 12] = [
    OptionDef::new("topic", Kind::Text, "topics to read: 'a' or 'a, b'").decides(),
    OptionDef::new(PATTERN, Kind::Text, "regular expression for the topics to read").decides(),
    SERVERS,
    OptionDef::new("group", Kind::Text, "consumer group; the pipeline's name by default"),
    OptionDef::new(
        "start",
        Kind::Text,
        "where to start without committed progress: earliest, latest, a time (2026-11-24T08:00:00Z, or \
         milliseconds since 1970), or offsets ('messages/0:42, messages/1:7')",
    )
    .or("earliest"),
    OptionDef::new(
        "on_missing_offset",
        Kind::Choice(&["error", "earliest"]),
        "what to do if the broker has deleted the next record",
    )
    .or("error"),
    MAX_AHEAD,
    OptionDef::new(
        "stop_at_end",
        Kind::Flag,
        "stop at the end of what exists when reading begins",
    )
    .or("false"),
    OptionDef::new("queue_rows", Kind::COUNT, "records to read ahead per partition").or("50000"),
    OptionDef::new("queue_bytes", Kind::BYTES, "bytes to read ahead per partition").or("16 MiB"),
    OptionDef::new(
        "session_timeout",
        Kind::Duration,
        "how long the group waits for an instance that vanished",
    )
    .or("10 s"),
    OptionDef::new(
        "rebalance_timeout",
        Kind::Duration,
        "how long the group waits for the last commit of an instance that returns partitions",
    )
    .or("5 min"),
];

const SINK: [OptionDef; 17] = [
    OptionDef::new("topic", Kind::Text, "topic to write").required(),
    SERVERS,
    OptionDef::new("key", Kind::Text, "column for the record key"),
    OptionDef::new("headers", Kind::Text, "column for the headers: a map or JSON"),
    OptionDef::new("timestamp", Kind::Text, "column for the record timestamp"),
    OptionDef::new(REJECTED, Kind::Text, "topic for dead letters: records that can't be used"),
    OptionDef::new(
        LATE,
        Kind::Text,
        "topic for late rows, as JSON with the columns of the window's input; open windows then hold all of these columns",
    ),
    OptionDef::new(
        "delivery",
        Kind::Choice(&["exactly_once", "at_least_once"]),
        "delivery guarantee: exactly_once uses transactions",
    )
    .or("exactly_once"),
    OptionDef::new(
        "transactional_id",
        Kind::Text,
        "prefix of the transactional ids; the pipeline's name by default",
    ),
    OptionDef::new(
        "transaction_timeout",
        Kind::Duration,
        "time after which the broker aborts a transaction; must be at least twice the checkpoint interval",
    )
    .or("2 min"),
    OptionDef::new(
        "progress_topic",
        Kind::Text,
        "compacted topic for progress, if it is not kept with the source's offsets",
    ),
    OptionDef::new("create_topics", Kind::Flag, "create missing topics").or("false"),
    OptionDef::new("partitions", SMALL, "partitions of created topics").or("1"),
    OptionDef::new("replication", SMALL, "replication factor of created topics").or("1"),
    OptionDef::new(
        "partitioner",
        Kind::Choice(&[
            "consistent_random",
            "consistent",
            "murmur2_random",
            "murmur2",
            "fnv1a_random",
            "fnv1a",
            "random",
        ]),
        "how a key chooses its partition; murmur2_random is the default of Java clients",
    )
    .or("murmur2_random"),
    OptionDef::new(
        "compression",
        Kind::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]),
        "compression of batches",
    )
    .or("none"),
    OptionDef::new("linger", Kind::Duration, "how long a batch waits for more records").or("5 ms"),
];

const SOURCE_COUNT: usize = SOURCE.len() + PROPERTIES.len();
const SINK_COUNT: usize = SINK.len() + PROPERTIES.len();

/// The options of a source, but for those of its format.
pub(super) const SOURCE_OPTIONS: [OptionDef; SOURCE_COUNT] = with_properties(&SOURCE);

/// The options of a sink, but for those of its format.
pub(super) const SINK_OPTIONS: [OptionDef; SINK_COUNT] = with_properties(&SINK);

/// Own options, then the properties of the client.
const fn with_properties<const N: usize>(own: &[OptionDef]) -> [OptionDef; N] {
    let mut all = [SERVERS; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < own.len() { own[at] } else { PROPERTIES[at - own.len()] };
        at += 1;
    }
    all
}

/// The options of a source that say how to reach its cluster, for another client of it.
pub(super) fn connection_of(given: &GivenOptions) -> Vec<(String, String)> {
    let covers =
        |key: &str| key == SERVERS.key || PROPERTIES.iter().any(|property| property.covers(key));
    let pairs = given.pairs().filter(|(key, _)| covers(key));
    pairs.map(|(key, text)| (key.to_string(), text.to_string())).collect()
}
