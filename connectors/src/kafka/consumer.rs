//! The thread that serves a consumer group: it polls, and does nothing else that takes time.
//!
//! - *Invariant:* partitions are given back only when the pipeline has answered, or when the group
//!   would wait no longer; the lease ends at the same moment.
//! - *Invariant:* the assignment changes on this thread alone, so a change that was asked for and
//!   one that the group makes are never mixed.

use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_resp_err_t;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use sembla_runtime::{Error, Result, failpoint};
use tokio::sync::oneshot;

use super::client;
use super::failure::Explainer;
use super::group::{GroupConsumer, Member, Standing};
use super::positions::{Place, TopicPartition, partitions_of};

/// How long one poll waits: within this time the thread hears that it should do something else.
const POLL: Duration = Duration::from_millis(20);

/// How often the thread looks for the answer to a revocation.
const ANSWER_POLL: Duration = Duration::from_millis(2);

/// How long the thread waits for others to let go of the consumer, before it leaves the group.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// The queue of a partition.
pub(super) type Queue = PartitionQueue<MemberContext>;

/// What the client reports and asks.
pub(super) struct MemberContext {
    member: Arc<Member>,
    /// How long an answer to a revocation is waited for.
    answer_timeout: Duration,
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(&self.member.explainer, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.member.explainer.remember(&error, reason);
        if let Some(error) = self.member.explainer.refusal() {
            self.member.standing.send_replace(Standing::Failed(error));
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = self.member.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, topic) in statistics.topics {
            for (number, partition) in topic.partitions {
                let key = TopicPartition::new(&name, number);
                let (stable, last) = (partition.ls_offset, partition.hi_offset);
                if let Some(end) = ends.get_mut(&key).filter(|_| stable >= 0) {
                    *end = stable.max(*end);
                    self.member.waits.look(&key, stable, last, Instant::now());
                }
            }
        }
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: rd_kafka_resp_err_t,
        list: &mut TopicPartitionList,
    ) {
        let result = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            _ => self.revoke(consumer),
        };
        if let Err(error) = result {
            let error = self.member.explainer.explain("the consumer group", &error);
            self.member.standing.send_replace(Standing::Failed(error));
        }
    }
}

impl MemberContext {
    /// Says which partitions there are. Nothing is fetched before the source knows where to begin.
    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &TopicPartitionList,
    ) -> std::result::Result<(), KafkaError> {
        let partitions = partitions_of(list);
        consumer.assign(&TopicPartitionList::new())?;
        tracing::debug!("kafka: {} partitions assigned", partitions.len());
        self.member.assign(partitions);
        Ok(())
    }

    /// Gives the partitions back once what was read is committed or given up.
    fn revoke(&self, consumer: &BaseConsumer<Self>) -> std::result::Result<(), KafkaError> {
        if let Err(error) = failpoint::hit("kafka.rebalance") {
            self.member.standing.send_replace(Standing::Failed(error));
        }
        if self.member.is_reading.swap(false, Release) {
            self.wait_for_answer();
        }
        self.member.standing.send_modify(|standing| {
            if !matches!(standing, Standing::Failed(_)) {
                *standing = Standing::Waiting;
            }
        });
        tracing::debug!("kafka: partitions returned");
        consumer.unassign()
    }

    fn wait_for_answer(&self) {
        let (answer, mut answered) = oneshot::channel();
        let is_asked = self.member.standing.send_if_modified(|standing| match standing {
            Standing::Given { lease, .. } => {
                *standing = Standing::Revoking { lease: *lease, answer: Some(answer) };
                true
            }
            _ => false,
        });
        let deadline = Instant::now() + self.answer_timeout;
        while is_asked && !self.member.is_stopping.load(Acquire) {
            match answered.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) if Instant::now() < deadline => {
                    std::thread::sleep(ANSWER_POLL);
                }
                Err(oneshot::error::TryRecvError::Empty) => {
                    tracing::warn!(
                        "the last commit before partitions were returned took longer than rebalance_timeout; what was not \
                         committed is read again"
                    );
                    return;
                }
                Ok(()) | Err(oneshot::error::TryRecvError::Closed) => return,
            }
        }
    }
}

/// A request to read.
struct Start {
    lease: u64,
    places: Vec<(TopicPartition, Place)>,
    reply: oneshot::Sender<Result<Option<Vec<Queue>>>>,
}

/// The handle on the thread. Dropping it leaves the group, which takes some milliseconds.
pub(super) struct ConsumerThread {
    pub(super) consumer: std::sync::Weak<GroupConsumer>,
    pub(super) member: Arc<Member>,
    requests: Sender<Start>,
    thread: Option<JoinHandle<()>>,
}

impl ConsumerThread {
    /// Makes a consumer, which does not connect yet.
    ///
    /// # Errors
    /// [`Error::Option`] for a configuration that the client rejects.
    pub(super) fn new(
        config: &ClientConfig,
        explainer: &Arc<Explainer>,
        answer_timeout: Duration,
    ) -> Result<(Self, Arc<GroupConsumer>)> {
        let member = Arc::new(Member::new(Arc::clone(explainer)));
        let context = MemberContext { member: Arc::clone(&member), answer_timeout };
        let consumer: GroupConsumer = config
            .create_with_context(context)
            .map_err(|error| explainer.explain("making a consumer", &error))?;
        let consumer = Arc::new(consumer);
        let (requests, receiver) = channel();
        let thread = std::thread::Builder::new().name("kafka-consumer".into());
        let thread = {
            let (consumer, member) = (Arc::clone(&consumer), Arc::clone(&member));
            thread
                .spawn(move || serve(consumer, &member, &receiver))
                .map_err(|error| Error::External(format!("no thread can be started: {error}")))?
        };
        let weak = Arc::downgrade(&consumer);
        Ok((Self { consumer: weak, member, requests, thread: Some(thread) }, consumer))
    }

    /// Begins to fetch; the queues come in the order of the places. `None` when the lease has
    /// ended in the meantime.
    ///
    /// # Errors
    /// When the client rejects.
    pub(super) async fn start(
        &self,
        lease: u64,
        places: Vec<(TopicPartition, Place)>,
    ) -> Result<Option<Vec<Queue>>> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::Bug("the thread of the Kafka consumer has ended".into());
        self.requests.send(Start { lease, places, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for ConsumerThread {
    fn drop(&mut self) {
        self.member.is_stopping.store(true, Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

/// The thread.
fn serve(consumer: Arc<GroupConsumer>, member: &Member, requests: &Receiver<Start>) {
    while !member.is_stopping.load(Acquire) {
        poll(&consumer, member);
        for request in requests.try_iter() {
            let result = begin(&consumer, member, &request);
            // Who asked may have been stopped.
            let _ = request.reply.send(result);
        }
    }
    // The last owner leaves the group as it drops the consumer; that should be this thread.
    let deadline = Instant::now() + RELEASE_TIMEOUT;
    while Arc::strong_count(&consumer) > 1 && Instant::now() < deadline {
        poll(&consumer, member);
    }
}

/// Serves what there is. Records come by the queues of their partitions, never here.
fn poll(consumer: &GroupConsumer, member: &Member) {
    let Some(Err(error)) = consumer.poll(POLL) else { return };
    let code = error.rdkafka_error_code();
    let is_final = matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(
            code,
            Some(
                Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::InvalidGroupId
                    | Code::InvalidSessionTimeout
                    | Code::InconsistentGroupProtocol
            )
        );
    // The client goes on by itself after all others: it connects again and joins again.
    if is_final {
        let error = member.explainer.explain("the consumer group", &error);
        member.standing.send_replace(Standing::Failed(error));
    } else {
        tracing::debug!("kafka: {}", member.explainer.redact(&error.to_string()));
    }
}

/// Begins to fetch, if the lease is current.
fn begin(
    consumer: &Arc<GroupConsumer>,
    member: &Member,
    request: &Start,
) -> Result<Option<Vec<Queue>>> {
    match &*member.standing.borrow() {
        Standing::Given { lease, .. } if *lease == request.lease => {}
        Standing::Failed(error) => return Err(error.clone()),
        _ => return Ok(None),
    }
    let explain = |error| member.explainer.explain("beginning to read", &error);
    let mut list = TopicPartitionList::new();
    let mut queues = Vec::new();
    let mut ends = member.ends.lock().unwrap_or_else(PoisonError::into_inner);
    ends.clear();
    for (partition, place) in &request.places {
        let TopicPartition { topic, number } = partition;
        list.add_partition_offset(topic, *number, Offset::Offset(place.next)).map_err(explain)?;
        // Before the assignment: what is fetched then goes to this queue from the first record on.
        let queue = consumer.split_partition_queue(topic, *number).ok_or_else(|| {
            Error::Bug(format!("the Kafka client has no queue for {}", partition.name()))
        })?;
        queues.push(queue);
        ends.insert(partition.clone(), place.end);
    }
    drop(ends);
    consumer.assign(&list).map_err(explain)?;
    member.is_reading.store(true, Release);
    Ok(Some(queues))
}
