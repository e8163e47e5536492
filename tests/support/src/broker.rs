//! A Kafka broker of one node, started by `scripts/kafka.sh`.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::{Record, ports};

/// Ports in a row that a broker listens on.
const PORTS: u16 = 4;

/// How long a test waits for a broker.
const TIMEOUT: Duration = Duration::from_secs(180);

/// A broker. It ends when it is dropped, or with the process.
pub struct Broker {
    folder: TempDir,
    port: u16,
    /// Whether its code is compiled well rather than quickly.
    is_for_load: bool,
}

impl Broker {
    /// Starts a broker of its own on free ports. The first start on a machine downloads Kafka.
    pub fn start() -> Self {
        Self::start_as(false)
    }

    /// The same for minutes of load: it takes longer to be fast, and is faster then.
    pub fn start_for_load() -> Self {
        Self::start_as(true)
    }

    fn start_as(is_for_load: bool) -> Self {
        // A port may be taken between the look and the start; then another is tried.
        for _ in 0..3 {
            let folder = tempfile::Builder::new().prefix("sembla-kafka").tempdir();
            let folder = folder.expect("a folder");
            let broker = Self { folder, port: ports::free(PORTS), is_for_load };
            if broker.script("start") {
                broker.wait_until_ready();
                return broker;
            }
        }
        panic!("no broker could be started");
    }

    /// The broker that the tests of this process share. Topics of a test have names of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A name that no other topic, group or pipeline of this process has.
    pub fn unique(name: &str) -> String {
        static LAST: AtomicU32 = AtomicU32::new(0);
        format!("{name}-{}", LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// The user that may log in.
    pub const USER: &str = "tester";

    /// The user's password.
    pub const PASSWORD: &str = "tester-password";

    /// Its address for clients that log in by SASL PLAIN as [`Self::USER`].
    pub fn servers_with_login(&self) -> String {
        format!("127.0.0.1:{}", self.port + 2)
    }

    /// Its address, for `bootstrap_servers`.
    pub fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its address for clients that speak TLS, and the file with the certificate to trust.
    pub fn servers_with_tls(&self) -> (String, std::path::PathBuf) {
        let certificate = self.folder.path().join("certificate.pem");
        (format!("127.0.0.1:{}", self.port + 3), certificate)
    }

    /// Kills it as a power cut would. Afterwards nobody listens on its port.
    pub fn kill_hard(&self) {
        assert!(self.script("kill"), "the broker could not be killed");
        assert!(!self.answers(), "a broker that was killed still answers");
    }

    /// Stops it in order. Afterwards nobody listens on its port.
    pub fn stop(&self) {
        assert!(self.script("stop"), "the broker could not be stopped");
        assert!(!self.answers(), "a broker that was stopped still answers");
    }

    /// Starts it again on the same port with the same data.
    pub fn restart(&self) {
        assert!(self.script("restart"), "the broker could not be started again");
        self.wait_until_ready();
    }

    /// Whether something listens on its port.
    pub fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// The id of its process, while it runs.
    pub fn process(&self) -> Option<u32> {
        std::fs::read_to_string(self.folder.path().join("pid")).ok()?.trim().parse().ok()
    }

    /// Makes a topic under a name of its own.
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        self.topic_with(name, partitions, &[])
    }

    /// Makes a topic with settings under a name of its own.
    pub fn topic_with(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        let name = Self::unique(name);
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let topic = config.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let results = block_on(self.admin().create_topics([&topic], &AdminOptions::new()));
        results.expect("topics")[0].as_ref().expect("a topic");
        name
    }

    /// Deletes a topic, and waits until it is gone.
    pub fn delete_topic(&self, topic: &str) {
        let results = block_on(self.admin().delete_topics(&[topic], &AdminOptions::new()));
        results.expect("topics")[0].as_ref().expect("a topic that was there");
        let deadline = Instant::now() + TIMEOUT;
        while self.has_topic(topic) {
            assert!(Instant::now() < deadline, "topic '{topic}' is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Deletes a topic and makes another one of its name.
    pub fn create_anew(&self, topic: &str, partitions: i32) {
        self.delete_topic(topic);
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let results = block_on(self.admin().create_topics([&new], &AdminOptions::new()));
        results.expect("topics")[0].as_ref().expect("a topic");
    }

    /// Deletes what a group without members has committed, as the broker does when it expires.
    pub fn delete_group(&self, group: &str) {
        let results = block_on(self.admin().delete_groups(&[group], &AdminOptions::new()));
        results.expect("groups")[0].as_ref().expect("a group that was there");
    }

    /// Commits an offset without metadata, as any other consumer of the group does.
    pub fn commit_as_another(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let consumer: BaseConsumer =
            self.client().set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        consumer.commit(&list, CommitMode::Sync).expect("committed");
    }

    /// Whether a topic is there.
    pub fn has_topic(&self, topic: &str) -> bool {
        let consumer: BaseConsumer = self.client().create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
        metadata.topics().iter().any(|found| found.name() == topic && found.error().is_none())
    }

    /// Raises the number of a topic's partitions.
    pub fn add_partitions(&self, topic: &str, partitions: usize) {
        let more = NewPartitions::new(topic, partitions);
        let results = block_on(self.admin().create_partitions([&more], &AdminOptions::new()));
        results.expect("topics")[0].as_ref().expect("partitions");
    }

    /// Deletes the records of a partition before an offset.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        block_on(self.admin().delete_records(&list, &AdminOptions::new())).expect("deleted");
    }

    /// Writes records in their order, and waits until they are there.
    pub fn produce(&self, topic: &str, records: &[Record]) {
        let producer: ThreadedProducer<DefaultProducerContext> = self
            .client()
            .set("message.max.bytes", "104857600")
            .set("enable.idempotence", "true")
            .create()
            .expect("a producer");
        for record in records {
            let mut next = BaseRecord::<Vec<u8>, Vec<u8>>::to(topic);
            next.partition = record.partition;
            next.key = record.key.as_ref();
            next.payload = record.value.as_ref();
            next.timestamp = record.timestamp_ms;
            next.headers = (!record.headers.is_empty()).then(|| record.owned_headers());
            while let Err((error, unsent)) = producer.send(next) {
                let is_full = error.to_string().contains("Queue full");
                assert!(is_full, "the record could not be written: {error}");
                std::thread::sleep(Duration::from_millis(5));
                next = unsent;
            }
        }
        producer.flush(TIMEOUT).expect("written");
    }

    /// Writes records in a transaction that is neither committed nor aborted before the guard that
    /// it gives is dropped.
    pub fn produce_openly(&self, topic: &str, records: &[Record]) -> OpenTransaction {
        let producer: ThreadedProducer<DefaultProducerContext> = self
            .client()
            .set("transactional.id", Self::unique("open"))
            .create()
            .expect("a producer");
        producer.init_transactions(TIMEOUT).expect("a transactional id");
        producer.begin_transaction().expect("a transaction");
        for record in records {
            let mut next = BaseRecord::<Vec<u8>, Vec<u8>>::to(topic);
            next.partition = record.partition;
            next.payload = record.value.as_ref();
            assert!(producer.send(next).is_ok(), "the record could not be written");
        }
        producer.flush(TIMEOUT).expect("written");
        OpenTransaction(producer)
    }

    /// All committed records of a topic, by partition and offset.
    pub fn read_committed(&self, topic: &str) -> Vec<Record> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()
            .expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("offset");
        }
        let mut open = list.count();
        consumer.assign(&list).expect("assigned");
        let (mut records, deadline) = (Vec::new(), Instant::now() + TIMEOUT);
        while open > 0 {
            assert!(Instant::now() < deadline, "topic '{topic}' has no end");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => records.push(Record::read(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(_)) | None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// The offset that a group has committed, and its metadata.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
        let consumer: BaseConsumer =
            self.client().set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let list = consumer.committed_offsets(list, TIMEOUT).expect("offsets");
        match list.elements()[0].offset() {
            Offset::Offset(offset) => Some((offset, list.elements()[0].metadata().into())),
            _ => None,
        }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.servers());
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("a client")
    }

    /// Waits until it answers and transactions have a coordinator.
    fn wait_until_ready(&self) {
        let deadline = Instant::now() + TIMEOUT;
        let producer: ThreadedProducer<DefaultProducerContext> =
            self.client().set("transactional.id", "ready").create().expect("a producer");
        while let Err(error) = producer.init_transactions(Duration::from_secs(5)) {
            assert!(Instant::now() < deadline, "the broker is not ready: {error}");
        }
    }

    /// Runs the script, and says whether it succeeded.
    fn script(&self, command: &str) -> bool {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut script = Command::new(root.join("scripts/kafka.sh"));
        script.arg(command).arg(self.folder.path()).arg(self.port.to_string());
        script.env("KAFKA_OWNER", std::process::id().to_string());
        if self.is_for_load {
            script.env("KAFKA_JIT", "");
        }
        let status = script.status();
        status.expect("scripts/kafka.sh").success()
    }
}

/// A transaction that is open.
pub struct OpenTransaction(ThreadedProducer<DefaultProducerContext>);

impl OpenTransaction {
    /// Commits it.
    pub fn commit(self) {
        self.0.commit_transaction(TIMEOUT).expect("committed");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.script("kill");
    }
}
