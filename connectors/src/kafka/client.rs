//! What every client of the library is given: a place to report to.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use sembla_runtime::{Error, Result};

use super::failure::Explainer;

/// How long a question to the cluster may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the tries of one question wait for an answer, [`ANSWER_TIMEOUT`] together. Between two
/// of them it is looked whether the login was rejected, which no waiting changes.
const TRIES: [Duration; 4] = [
    Duration::from_millis(700),
    Duration::from_millis(1300),
    Duration::from_secs(4),
    Duration::from_secs(14),
];

/// Asks the cluster, and again until it answers, rejects the login or the time is over.
pub(super) fn ask<T, E>(
    explainer: &Explainer,
    mut question: impl FnMut(Duration) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let [first, later @ ..] = TRIES;
    let mut answer = question(first);
    for wait in later {
        if answer.is_ok() || explainer.refusal().is_some() {
            break;
        }
        answer = question(wait);
    }
    answer
}

/// Reports go to the log, and to where errors are explained.
#[derive(Clone, Debug)]
pub(super) struct Reports(pub(super) Arc<Explainer>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(&self.0, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.remember(&error, reason);
    }
}

impl ConsumerContext for Reports {}

/// Writes a line of the library to the log.
pub(super) fn log(explainer: &Explainer, level: RDKafkaLogLevel, facility: &str, message: &str) {
    let message = explainer.redact(message);
    match level {
        RDKafkaLogLevel::Debug => tracing::trace!("librdkafka {facility}: {message}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
            tracing::debug!("librdkafka {facility}: {message}");
        }
        _ => tracing::info!("librdkafka {facility}: {message}"),
    }
}

/// Drops what takes time to end, such as a producer, where it keeps nobody waiting.
pub(super) fn drop_in_background<T: Send + 'static>(value: T) {
    // Nobody has to hear when it is done.
    drop(tokio::task::spawn_blocking(move || drop(value)));
}

/// Runs a call that waits for the cluster where it keeps nobody else waiting.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(Error::Stopped),
        Err(error) => Err(Error::Bug(format!("a call of the Kafka client panicked: {error}"))),
    }
}
