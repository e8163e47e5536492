//! Kafka sources and sinks against a real broker. Each test has topics of its own; one broker
//! serves them all, but for those that kill it.

mod failures;
mod pipelines;
mod places;
mod rebalance;
mod recovery;
mod round_trip;
mod support;
