//! How long a record of a topic takes until its result can be read, without a window.
//!
//! `cargo bench -p sembla-sql -p sembla --bench stream_latency -- [RATE [SECONDS [MODEL]]]`:
//! records a second (10000 if not said), for how long (30), and the model (`potion`). A broker of
//! its own runs on the same processors. The pipeline compares each text with a fixed one. The time
//! goes from just before a record is given to the producer until a reader of committed records has
//! its result. Once with transactions, committed every 20 ms, and once at least once. The first 45
//! seconds of each are not counted: so long a new broker takes until its code is compiled, and till
//! then records wait in the producer.

#![expect(clippy::print_stdout, reason = "a benchmark speaks to a person")]

use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sembla_testing::Broker;

/// Time before the first record that counts.
const WARM_UP: Duration = Duration::from_secs(45);

/// Partitions of the input.
const PARTITIONS: i32 = 4;

/// What is run.
struct Load {
    rate: u64,
    time: Duration,
    model: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let number = |at: usize, default: u64| -> Result<u64, Box<dyn Error>> {
        given.get(at).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let load = Load {
        rate: number(0, 10_000)?.max(1),
        time: WARM_UP + Duration::from_secs(number(1, 30)?),
        model: given.get(2).map_or("potion", String::as_str).to_string(),
    };
    println!(
        "{}, {} records/s for {:?}, ms from record to result:",
        load.model, load.rate, load.time
    );
    let broker = Broker::start_for_load();
    for delivery in ["exactly_once", "at_least_once"] {
        let mut times = measured(&broker, &load, delivery)?;
        times.sort_unstable();
        let at = |part: f64| {
            let place = (times.len() as f64 * part) as usize;
            times.get(place.min(times.len().saturating_sub(1))).map_or(0.0, |us| *us as f64 / 1e3)
        };
        println!(
            "{delivery:>14}: p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, most {:.1} ({} results)",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0),
            times.len()
        );
    }
    Ok(())
}

/// The times of all results, in microseconds.
fn measured(broker: &Broker, load: &Load, delivery: &str) -> Result<Vec<u64>, Box<dyn Error>> {
    let input = broker.topic("input", PARTITIONS);
    let output = broker.topic("output", 1);
    let folder = tempfile::tempdir()?;
    let (file, servers) = (folder.path().join("pipeline.sql"), broker.servers());
    std::fs::write(
        &file,
        format!(
            "CREATE SOURCE messages (sent BIGINT, text VARCHAR NOT NULL)
               WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = '{input}', kafka.fetch.wait.max.ms = '5');
             CREATE SINK {delivery} WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = '{output}',
               delivery = '{delivery}', linger = '1 ms');
             INSERT INTO {delivery} SELECT sent, similarity(text, 'my card was stolen') AS score FROM messages;"
        ),
    )?;
    let mut pipeline = started(&file, folder.path(), &load.model)?;
    let is_over = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(&servers, &output, &is_over));
        let sent = send(&servers, &input, load);
        std::thread::sleep(Duration::from_secs(2));
        is_over.store(true, Ordering::Relaxed);
        let times = reading.join().map_err(|_| "the reader has panicked")?;
        sent.and(times)
    });
    pipeline.kill()?;
    pipeline.wait()?;
    times.map_err(Into::into)
}

fn started(
    file: &std::path::Path,
    folder: &std::path::Path,
    model: &str,
) -> std::io::Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_sembla"))
        .arg("run")
        .arg(file)
        .args(["-m", model, "--set", "checkpoint_interval=20 ms", "--set", "linger=1 ms"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
}

fn client(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or_default()
}

/// Sends records evenly.
fn send(servers: &str, topic: &str, load: &Load) -> Result<(), String> {
    let words = ["card", "refund", "fee", "transfer", "top up", "exchange", "cash", "account"];
    let told = |error: rdkafka::error::KafkaError| error.to_string();
    let producer: ThreadedProducer<DefaultProducerContext> =
        client(servers).set("linger.ms", "1").create().map_err(told)?;
    let (begun, mut sent) = (Instant::now(), 0_u64);
    while begun.elapsed() < load.time {
        let due = (begun.elapsed().as_secs_f64() * load.rate as f64) as u64;
        while sent < due {
            let pick = |step: u64| words[(sent / step % words.len() as u64) as usize];
            let text = format!("why is my {} {} {} late {sent}", pick(1), pick(8), pick(64));
            let payload = format!("{{\"sent\": {}, \"text\": \"{text}\"}}", now_us());
            let record = BaseRecord::<[u8], [u8]>::to(topic)
                .partition((sent % PARTITIONS as u64) as i32)
                .payload(payload.as_bytes());
            producer.send(record).map_err(|(error, _)| told(error))?;
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    producer.flush(Duration::from_secs(10)).map_err(told)
}

/// Reads results as they can be read: how long each took.
fn read(servers: &str, topic: &str, is_over: &AtomicBool) -> Result<Vec<u64>, String> {
    let told = |error: rdkafka::error::KafkaError| error.to_string();
    let consumer: BaseConsumer = client(servers)
        .set("group.id", "latency")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "5")
        .create()
        .map_err(told)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).map_err(told)?;
    consumer.assign(&list).map_err(told)?;
    let (mut times, mut counts_from) = (Vec::new(), None);
    while !is_over.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(5)) else { continue };
        let now = now_us();
        let result: serde_json::Value =
            serde_json::from_slice(message.payload().unwrap_or_default())
                .map_err(|e| e.to_string())?;
        let sent = result["sent"].as_u64().unwrap_or(now);
        let from = *counts_from.get_or_insert(sent + WARM_UP.as_micros() as u64);
        if sent >= from {
            times.push(now.saturating_sub(sent));
        }
    }
    Ok(times)
}
