//! What records a topic takes: how large they may be and of what time. A record that a broker
//! rejects fails the whole transaction and comes again after a restart, so it is checked before it
//! is sent.
//!
//! - *Invariant:* a record that is checked here and rejected is an [`Error::Data`] of its row; a
//!   letter is never rejected, but cut.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use sembla_runtime::{Error, Result};

use super::client::ANSWER_TIMEOUT;
use super::producer::OutRecord;
use super::settings::SinkSettings;
use super::topics::admin;

/// Bytes that a record takes beside its key, its value and its headers, and its batch around it.
const OVERHEAD_BYTES: usize = 128;
/// Bytes that the client puts together in a batch by itself.
const BATCH_BYTES: usize = 1_000_000;
/// Bytes that a header takes beside its name and its value.
const HEADER_BYTES: usize = 10;
/// Most bytes of the reason in a letter.
const REASON_BYTES_MAX: usize = 4096;

/// What a topic takes. What isn't known is left to the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Most bytes of a record.
    bytes_max: Option<usize>,
    /// How far the time of a record may lie before and after the broker's, in milliseconds; `None`
    /// where the broker gives records its own.
    before_ms: Option<i64>,
    after_ms: Option<i64>,
}

/// By topic its limits.
pub(super) type TopicLimits = BTreeMap<String, Limits>;

/// The limits of topics, as far as the cluster tells them.
pub(super) async fn limits_of(settings: &SinkSettings, topics: &[&str]) -> TopicLimits {
    let what = "reading the limits of topics";
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
    let asked: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let configs = match admin(&settings.connection, what) {
        Ok(admin) => admin.describe_configs(&asked, &options).await,
        Err(_) => return TopicLimits::new(),
    };
    let configs = configs.unwrap_or_else(|error| {
        tracing::debug!("{}", settings.connection.explainer.explain(what, &error));
        Vec::new()
    });
    let limits = topics.iter().zip(configs).map(|(topic, configs)| {
        let limits = configs.ok().map(|config| Limits::of(&config, settings.is_compressed()));
        let mut limits = limits.unwrap_or_default();
        let client_max = settings.record_bytes_max();
        limits.bytes_max = Some(limits.bytes_max.map_or(client_max, |max| max.min(client_max)));
        (topic.to_string(), limits)
    });
    limits.collect()
}

/// The size that batches must keep to, where a topic takes less than the client puts together.
pub(super) fn smallest_batch(limits: &TopicLimits) -> Option<usize> {
    let least = limits.values().filter_map(|limits| limits.bytes_max).min();
    least.filter(|bytes| *bytes < BATCH_BYTES).map(|bytes| bytes.max(1))
}

impl Limits {
    fn of(config: &ConfigResource, is_compressed: bool) -> Self {
        let text = |key| config.get(key).and_then(|entry| entry.value.as_deref());
        let number = |key| text(key).and_then(|text| text.parse::<i64>().ok());
        let takes_times = text("message.timestamp.type") != Some("LogAppendTime");
        let bytes_max = number("max.message.bytes").and_then(|max| usize::try_from(max).ok());
        Self {
            // The limit is for what is sent, and how small that becomes is not known before.
            bytes_max: bytes_max.filter(|_| !is_compressed),
            before_ms: number("message.timestamp.before.max.ms").filter(|_| takes_times),
            after_ms: number("message.timestamp.after.max.ms").filter(|_| takes_times),
        }
    }

    /// Checks a record.
    ///
    /// # Errors
    /// [`Error::Data`] for one that the topic does not take.
    pub(super) fn check(&self, record: &OutRecord<'_>) -> Result<()> {
        let (bytes, topic) = (size_of(record), record.topic);
        if let Some(max) = self.bytes_max.filter(|max| bytes > *max) {
            return Err(Error::Data(format!(
                "the record for topic '{topic}' has {bytes} bytes, more than the topic allows, {max} (max.message.bytes)"
            )));
        }
        let Some(time_ms) = record.timestamp_ms else { return Ok(()) };
        if time_ms < 0 {
            return Err(Error::Data(format!(
                "the time of the record for topic '{topic}' is before 1970, which Kafka can't hold"
            )));
        }
        let now_ms = now_ms();
        let is_early = self.before_ms.is_some_and(|before| time_ms < now_ms.saturating_sub(before));
        let is_late = self.after_ms.is_some_and(|after| time_ms > now_ms.saturating_add(after));
        match (is_early, is_late) {
            (false, false) => Ok(()),
            (is_early, _) => Err(Error::Data(format!(
                "the time of the record for topic '{topic}', {time_ms} milliseconds since 1970, is further {} the present than \
                 the topic allows (message.timestamp.{}.max.ms)",
                if is_early { "before" } else { "after" },
                if is_early { "before" } else { "after" },
            ))),
        }
    }

    /// How much of a letter's payload fits beside the rest of it, and the reason with a word about
    /// what was cut.
    pub(super) fn cut<'a>(
        &self,
        payload: Option<&'a [u8]>,
        rest_bytes: usize,
        reason: &str,
    ) -> (Option<&'a [u8]>, String) {
        let reason = within(reason, REASON_BYTES_MAX);
        let Some(payload) = payload else { return (None, reason.to_string()) };
        let room = self.bytes_max.unwrap_or(usize::MAX);
        let room = room.saturating_sub(rest_bytes + reason.len() + OVERHEAD_BYTES + 64);
        match payload.get(..room) {
            Some(cut) if cut.len() < payload.len() => {
                let (kept, all) = (cut.len(), payload.len());
                (Some(cut), format!("{reason} (the first {kept} of {all} bytes)"))
            }
            _ => (Some(payload), reason.to_string()),
        }
    }
}

/// The beginning of a text, up to that many bytes.
fn within(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// About how many bytes a record takes on its way.
fn size_of(record: &OutRecord<'_>) -> usize {
    use rdkafka::message::Headers;
    let of = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers: usize = record.headers.as_ref().map_or(0, |headers| {
        headers.iter().map(|h| h.key.len() + of(h.value) + HEADER_BYTES).sum()
    });
    of(record.key) + of(record.value) + headers + OVERHEAD_BYTES
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { bytes_max: Some(1000), before_ms: Some(10_000), after_ms: Some(3_600_000) }
    }

    fn refusal(limits: &Limits, value: &[u8], timestamp_ms: Option<i64>) -> Option<String> {
        let record =
            OutRecord { topic: "t", value: Some(value), timestamp_ms, ..OutRecord::default() };
        match limits.check(&record) {
            Ok(()) => None,
            Err(Error::Data(line)) => Some(line),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn records_that_a_topic_does_not_take_are_their_rows_fault() {
        let limits = limits();
        assert_eq!(refusal(&limits, &[0; 800], Some(now_ms())), None);
        let line = refusal(&limits, &[0; 900], None).expect("refused");
        assert!(line.contains("has 1028 bytes, more than the topic allows, 1000"), "{line}");
        let line = refusal(&limits, b"", Some(now_ms() + 7_200_000)).expect("refused");
        assert!(line.contains("message.timestamp.after.max.ms"), "{line}");
        let line = refusal(&limits, b"", Some(now_ms() - 20_000)).expect("refused");
        assert!(line.contains("message.timestamp.before.max.ms"), "{line}");
        assert!(
            refusal(&Limits::default(), b"", Some(-1)).is_some_and(|line| line.contains("1970"))
        );
        assert_eq!(refusal(&Limits::default(), &[0; 5000], Some(i64::MAX)), None);
    }

    #[test]
    fn a_letter_is_cut_and_says_so() {
        let limits = limits();
        let payload = [7; 5000];
        let (cut, reason) = limits.cut(Some(&payload), 100, "too large");
        let kept = cut.expect("some").len();
        assert!(kept > 600 && kept < 800, "{kept}");
        assert_eq!(reason, format!("too large (the first {kept} of 5000 bytes)"));
        assert_eq!(limits.cut(Some(b"x"), 100, "no"), (Some(&b"x"[..]), "no".into()));
        assert_eq!(limits.cut(None, 100, "no"), (None, "no".into()));
        assert_eq!(limits.cut(Some(b"x"), 5000, "no").0, Some(&b""[..]), "a large key");
        let (_, reason) = limits.cut(None, 0, &"ä".repeat(5000));
        assert_eq!(reason.len(), REASON_BYTES_MAX);
    }
}
