//! Apache Kafka: topics as a source, and as a sink that promises each result once.
//!
//! The protocol has three parts:
//!
//! - *One transaction* holds results, late rows, dead letters and progress. Where every source of a
//!   pipeline is a consumer group of the sink's own cluster, progress is the group's committed
//!   offsets, and what else belongs to it rides in their metadata; else it is a record of a
//!   compacted topic.
//! - *Recovery fences first.* A transactional id is made of the pipeline and an input partition.
//!   Whoever is given a partition initialises its id, so what a predecessor left open is aborted
//!   before its progress is read, whoever it was and whatever else it had.
//! - *The consumer group is the lock.* A commit carries the group's generation as it was when the
//!   partitions were given; a broker rejects it from an instance that has lost them.
//!
//! Partitions are never paused. Each has a queue of its own inside the client, bounded by rows and
//! bytes, and the client fetches no more for a full one; the group is served by a thread that does
//! nothing else.
//!
//! - *Absent:* what bytes mean (`formats`), and when to commit (the runtime).

mod client;
mod connector;
mod consumer;
mod exchange;
mod failure;
mod group;
mod identity;
mod limits;
mod open_transactions;
mod options;
mod positions;
mod probe;
mod producer;
mod progress;
mod reader;
mod records;
mod seat;
mod session;
mod settings;
mod sink;
mod source;
mod topic_ids;
mod topics;

pub use connector::Kafka;
pub use exchange::{ExchangeSink, KafkaExchange};
pub use group::Group;
pub use sink::KafkaSink;
pub use source::KafkaSource;
