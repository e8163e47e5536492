//! What the client library reports, as errors that name the thing and the fix.
//!
//! - *Invariant:* no message holds a secret; every text of the library goes through [`Secrets`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use sembla_runtime::Error;

/// The values that must not be shown.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Adds a value.
    pub(super) fn add(&mut self, value: &str) {
        if !value.is_empty() {
            self.0.push(value.to_string());
        }
    }

    /// Adds what stands before an `@` in a list of addresses. Kafka takes no credentials there, but
    /// people put them where other addresses have them.
    pub(super) fn add_credentials(&mut self, servers: &str) {
        for server in servers.split(',') {
            let Some((before, _)) = server.rsplit_once('@') else { continue };
            let credentials = before.rsplit_once("://").map_or(before, |(_, after)| after).trim();
            self.add(credentials);
            if let Some((_, password)) = credentials.split_once(':') {
                self.add(password);
            }
        }
    }

    /// A text on one line, with every secret replaced by stars.
    pub(super) fn redact(&self, text: &str) -> String {
        let line = text.replace(['\n', '\r'], " ");
        self.0.iter().fold(line, |text, secret| text.replace(secret.as_str(), "***"))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// Explains errors of one cluster's clients. The library often reports only that something took too
/// long, and says why elsewhere; so the last reason is kept.
#[derive(Debug)]
pub(super) struct Explainer {
    servers: String,
    secrets: Secrets,
    last: Mutex<Option<(Code, String)>>,
    /// Whether it was said that the cluster can't be reached.
    has_said: AtomicBool,
}

impl Explainer {
    /// For the cluster behind `servers`.
    pub(super) fn new(servers: &str, secrets: Secrets) -> Self {
        let servers = secrets.redact(servers);
        Self { servers, secrets, last: Mutex::new(None), has_said: AtomicBool::new(false) }
    }

    /// The addresses of the cluster, as given.
    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    /// A text of the library without secrets.
    pub(super) fn redact(&self, text: &str) -> String {
        self.secrets.redact(text)
    }

    /// Keeps what the library reports on its own account.
    pub(super) fn remember(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        // That a partition has no more records at the moment is none.
        if code == Code::PartitionEOF {
            return;
        }
        let reason = self.redact(reason);
        tracing::debug!(servers = %self.servers, "kafka: {code:?}: {reason}");
        // The first word comes at once: calls go on trying for a while before they fail.
        let is_unreachable = matches!(code, Code::Resolve | Code::SSL | Code::Authentication)
            || (code == Code::BrokerTransportFailure && reason.contains("Connect to "));
        if is_unreachable && !self.has_said.swap(true, Ordering::Relaxed) {
            tracing::warn!("Kafka at '{}' can't be reached yet: {reason}", self.servers);
        }
        // That all brokers are down follows from a reason; it is none.
        if code != Code::AllBrokersDown {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((code, reason));
        }
    }

    /// The error that stops a client for good, if there was one: a login that is rejected, or a
    /// certificate that nobody known has signed.
    pub(super) fn refusal(&self) -> Option<Error> {
        let (code, reason) = self.last()?;
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed => {
                Some(self.refused_login(&reason))
            }
            Code::SSL if reason.contains("certificate verify failed") => {
                Some(self.failed_tls(&reason))
            }
            _ => None,
        }
    }

    /// The error for a failed call. `what` says what was tried: `the commit of pipeline 'p'`.
    pub(super) fn explain(&self, what: &str, error: &KafkaError) -> Error {
        let text = self.redact(&error.to_string());
        match error {
            KafkaError::ClientConfig(_, description, key, _) => {
                return Error::Option(self.redact(&format!("{description} ('{key}')")));
            }
            KafkaError::ClientCreation(description) => {
                return Error::Option(
                    self.redact(&format!("the Kafka client rejected these options: {description}")),
                );
            }
            // A refusal by name stays one, also where it has ended the producer for good.
            KafkaError::Transaction(error) if error.is_fatal() && !is_refusal(error.code()) => {
                return Error::Fenced(format!("{what}: {}", self.redact(&error.string())));
            }
            _ => {}
        }
        match error.rdkafka_error_code() {
            Some(code) => self.explain_code(what, code, &text),
            None => Error::External(format!("{what}: {text}")),
        }
    }

    /// The error for a code of the library or the broker.
    pub(super) fn explain_code(&self, what: &str, code: Code, text: &str) -> Error {
        let servers = &self.servers;
        match code {
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState => self.refused_login(text),
            Code::SSL => self.failed_tls(text),
            code if is_not_allowed(code) => Error::External(format!(
                "{what}: Kafka at '{servers}' denied access ({text}); grant the user access"
            )),
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                Error::External(format!(
                    "{what}: the topic or partition does not exist on '{servers}'; create it first"
                ))
            }
            Code::InvalidTransactionTimeout => Error::Option(format!(
                "{what}: transaction_timeout is longer than Kafka at '{servers}' allows \
                 (transaction.max.timeout.ms, 15 min by default); make it shorter"
            )),
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => Error::External(format!(
                "{what}: the broker rejected the record as too large; raise max.message.bytes of the topic"
            )),
            Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::Fenced
            | Code::TransactionCoordinatorFenced => Error::Replaced(taken_over(what, text)),
            Code::FencedInstanceId
            | Code::FencedMemberEpoch
            | Code::StaleMemberEpoch
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::RebalanceInProgress
            | Code::AssignmentLost
            | Code::InvalidProducerIdMapping
            | Code::InvalidTransactionalState => Error::Fenced(taken_over(what, text)),
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::NetworkException
            | Code::WaitingForCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::ConcurrentTransactions
            | Code::UnstableOffsetCommit
            | Code::NotController
            | Code::Retry => self.unreachable(what, text),
            _ => Error::External(format!("{what}: {text}")),
        }
    }

    /// The error for a question that got no answer.
    pub(super) fn unanswered(&self, what: &str) -> Error {
        self.unreachable(what, "no answer in time")
    }

    /// Why the brokers don't answer, by the last reason that the library gave.
    fn unreachable(&self, what: &str, text: &str) -> Error {
        let servers = &self.servers;
        match self.last() {
            Some((Code::Authentication | Code::SaslAuthenticationFailed, reason)) => {
                self.refused_login(&reason)
            }
            Some((Code::SSL, reason)) => self.failed_tls(&reason),
            // A broker without TLS hangs up, as one that is about to stop does.
            Some((_, reason)) if reason.contains("SSL") => {
                Error::Transient(self.failed_tls(&reason).to_string())
            }
            Some((_, reason)) => Error::Transient(format!(
                "{what}: Kafka at '{servers}' can't be reached ({reason}); check bootstrap_servers and \
                 security.protocol, and that the broker runs"
            )),
            None => Error::Transient(format!(
                "{what}: Kafka at '{servers}' does not answer ({text}); check bootstrap_servers and that \
                 the broker runs"
            )),
        }
    }

    fn refused_login(&self, reason: &str) -> Error {
        Error::External(format!(
            "Kafka at '{}' rejected the login: {reason}; check sasl.mechanism, sasl.username and \
             sasl.password",
            self.servers
        ))
    }

    fn failed_tls(&self, reason: &str) -> Error {
        Error::External(format!(
            "TLS with Kafka at '{}' failed: {reason}; check security.protocol and the ssl.* options",
            self.servers
        ))
    }

    fn last(&self) -> Option<(Code, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn taken_over(what: &str, text: &str) -> String {
    format!("{what}: another instance has taken over, or the transaction has timed out ({text})")
}

/// Whether a user lacks a right.
fn is_not_allowed(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// Whether a broker rejects what is asked for, so that asking again changes nothing.
pub(super) fn is_refusal(code: Code) -> bool {
    is_not_allowed(code) || matches!(code, Code::InvalidTransactionTimeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explainer() -> Explainer {
        let mut secrets = Secrets::default();
        secrets.add("hunter2");
        secrets.add("");
        Explainer::new("broker:9092", secrets)
    }

    #[test]
    fn secrets_are_stars_everywhere() {
        let explainer = explainer();
        assert_eq!(explainer.redact("a hunter2\nb hunter2"), "a *** b ***");
        explainer.remember(&KafkaError::Global(Code::Authentication), "bad password hunter2");
        let error =
            explainer.explain("reading", &KafkaError::MetadataFetch(Code::OperationTimedOut));
        assert!(error.to_string().contains("rejected the login: bad password ***"), "{error}");
        assert!(!format!("{explainer:?} {error:?}").contains("hunter2"));
    }

    #[test]
    fn credentials_among_addresses_are_stars_too() {
        let mut secrets = Secrets::default();
        secrets.add_credentials("tester:hunter2@a:9092, b:9092,PLAINTEXT://me:hunter3@c:9092");
        let servers = "tester:hunter2@a:9092, b:9092,PLAINTEXT://me:hunter3@c:9092";
        let explainer = Explainer::new(servers, secrets);
        assert_eq!(explainer.servers(), "***@a:9092, b:9092,PLAINTEXT://***@c:9092");
        assert_eq!(explainer.redact("no host 'tester:hunter2@a'"), "no host '***@a'");
        assert_eq!(explainer.redact("the password hunter3"), "the password ***");
    }

    #[test]
    fn each_kind_of_failure_has_its_kind_of_error() {
        let explain = |code| explainer().explain("it", &KafkaError::Global(code));
        assert!(matches!(explain(Code::ProducerFenced), Error::Replaced(_)));
        assert!(matches!(explain(Code::IllegalGeneration), Error::Fenced(_)));
        assert!(explain(Code::AllBrokersDown).is_transient());
        assert!(matches!(explain(Code::TopicAuthorizationFailed), Error::External(_)));
        assert!(explain(Code::MessageSizeTooLarge).to_string().contains("max.message.bytes"));
    }

    #[test]
    fn the_reason_of_a_timeout_is_what_was_said_before() {
        let explainer = explainer();
        explainer.remember(&KafkaError::Global(Code::SSL), "certificate unknown");
        explainer.remember(&KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        explainer.remember(&KafkaError::Global(Code::PartitionEOF), "the end of a partition");
        let error =
            explainer.explain("it", &KafkaError::MetadataFetch(Code::BrokerTransportFailure));
        assert!(
            error.to_string().starts_with("TLS with Kafka at 'broker:9092' failed: certificate")
        );
    }
}
