//! What a topic is: the id that a cluster gives it, which no other topic ever has, not even one
//! that is made under its name once it is deleted.
//!
//! The client library tells ids only by a call that its Rust binding doesn't have, so this file
//! makes it. Clusters before Apache Kafka 2.8 have no ids, and a user may lack the right to
//! describe a topic; then nothing is known.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings::{
    RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT, rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new,
    rd_kafka_AdminOptions_set_request_timeout, rd_kafka_DescribeTopics,
    rd_kafka_DescribeTopics_result_topics, rd_kafka_TopicCollection_destroy,
    rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicDescription_error,
    rd_kafka_TopicDescription_name, rd_kafka_TopicDescription_t,
    rd_kafka_TopicDescription_topic_id, rd_kafka_Uuid_base64str,
    rd_kafka_Uuid_least_significant_bits, rd_kafka_Uuid_most_significant_bits, rd_kafka_admin_op_t,
    rd_kafka_error_code, rd_kafka_event_DescribeTopics_result, rd_kafka_event_destroy,
    rd_kafka_event_error, rd_kafka_event_t, rd_kafka_event_type, rd_kafka_queue_destroy,
    rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_resp_err_t,
};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// The ids of those of these topics that are there and whose ids the cluster tells. Waits for it.
///
/// # Errors
/// When the cluster doesn't answer within the time.
pub(super) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    timeout: Duration,
) -> Result<BTreeMap<String, String>, KafkaError> {
    // A name with a NUL byte is no topic's.
    let names: Vec<CString> =
        topics.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let event = described(client, &names, timeout)
        .ok_or(KafkaError::MetadataFetch(Code::OperationTimedOut))?;
    // SAFETY: the event is one that `described` has just been given, and nobody else has it.
    match unsafe { rd_kafka_event_error(event.0) } {
        rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(event.ids()),
        error => Err(KafkaError::MetadataFetch(error.into())),
    }
}

/// The answer of a cluster.
struct Event(*mut rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: it came from the library's queue and is destroyed once.
        unsafe { rd_kafka_event_destroy(self.0) }
    }
}

/// Asks the cluster. `None` without an answer in time.
fn described<C: ClientContext>(
    client: &Client<C>,
    names: &[CString],
    timeout: Duration,
) -> Option<Event> {
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let wanted = RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT;
    let rk = client.native_ptr();
    // SAFETY: the client lives as long as its reference. The library copies the names and the
    // options before the call returns, so what is made here is destroyed here; the queue is
    // destroyed after its last poll. No pointer is used after it was destroyed.
    unsafe {
        let queue = rd_kafka_queue_new(rk);
        let options =
            rd_kafka_AdminOptions_new(rk, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let topics = rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), names.len());
        rd_kafka_DescribeTopics(rk, topics, options, queue);
        rd_kafka_TopicCollection_destroy(topics);
        rd_kafka_AdminOptions_destroy(options);
        let event = rd_kafka_queue_poll(queue, timeout_ms);
        rd_kafka_queue_destroy(queue);
        let event = (!event.is_null()).then(|| Event(event))?;
        (rd_kafka_event_type(event.0) == wanted).then_some(event)
    }
}

impl Event {
    fn ids(&self) -> BTreeMap<String, String> {
        let mut count = 0;
        // SAFETY: `described` has checked that the event is of this type. The descriptions belong
        // to it, and it lives longer than what is read here.
        unsafe {
            let result = rd_kafka_event_DescribeTopics_result(self.0);
            if result.is_null() {
                return BTreeMap::new();
            }
            let topics = rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            (0..count).filter_map(|number| id_of(*topics.add(number))).collect()
        }
    }
}

/// The name and the id of a topic.
///
/// # Safety
/// The description is one of an answer that is still there.
unsafe fn id_of(topic: *const rd_kafka_TopicDescription_t) -> Option<(String, String)> {
    // SAFETY: the caller says that the topic is there; its error, name and id are parts of it. The
    // texts end with a NUL byte and are copied.
    unsafe {
        let error = rd_kafka_TopicDescription_error(topic);
        if rd_kafka_error_code(error) != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let id = rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null()
            || (rd_kafka_Uuid_most_significant_bits(id), rd_kafka_Uuid_least_significant_bits(id))
                == (0, 0)
        {
            return None;
        }
        let text = |text: *const c_char| {
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        let name = text(rd_kafka_TopicDescription_name(topic))?;
        Some((name, text(rd_kafka_Uuid_base64str(id))?))
    }
}
