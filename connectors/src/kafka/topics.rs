//! Topics: whether they are there, and making those that may be made.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use sembla_runtime::{Error, Result};

use super::client::{ANSWER_TIMEOUT, Reports, ask};
use super::failure::Explainer;
use super::positions::TopicPartition;
use super::settings::Connection;

/// The largest record that is written: whether it may be is the broker's to say.
pub(super) const RECORD_BYTES_MAX: &str = "104857600";

/// The setting of a topic that takes such records.
pub(super) const TAKES_LARGE_RECORDS: (&str, &str) = ("max.message.bytes", RECORD_BYTES_MAX);

/// The setting of a topic that keeps the last record of each key for good.
pub(super) const KEEPS_LAST_RECORDS: (&str, &str) = ("cleanup.policy", "compact");

/// The number of partitions of a topic; `None` where it is not there. Waits for the cluster.
pub(super) fn partitions_of_topic<C: ClientContext>(
    client: &Client<C>,
    explainer: &Explainer,
    name: &str,
) -> Result<Option<usize>> {
    let what = format!("looking up topic '{name}'");
    let metadata = ask(explainer, |wait| client.fetch_metadata(Some(name), wait))
        .map_err(|error| explainer.explain(&what, &error))?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    let Some(topic) = topic else { return Ok(None) };
    match topic.error().map(Code::from) {
        None => Ok(Some(topic.partitions().len()).filter(|count| *count > 0)),
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => Ok(None),
        Some(code) => Err(explainer.explain_code(&what, code, &code.to_string())),
    }
}

/// The partitions of topics, which must all be there. Waits for the cluster.
pub(super) fn partitions_of_topics<C: ClientContext>(
    client: &Client<C>,
    explainer: &Explainer,
    names: &[String],
) -> Result<Vec<TopicPartition>> {
    let mut partitions = Vec::new();
    for name in names {
        let count = partitions_of_topic(client, explainer, name)?.ok_or_else(|| {
            Error::Option(format!(
                "topic '{name}' does not exist on '{}'; create it, or correct the option topic",
                explainer.servers()
            ))
        })?;
        let numbers = 0..i32::try_from(count).unwrap_or(i32::MAX);
        partitions.extend(numbers.map(|number| TopicPartition::new(name, number)));
    }
    Ok(partitions)
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicSpec {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replication: i32,
    /// Settings of the topic.
    pub(super) config: Vec<(&'static str, &'static str)>,
}

pub(super) fn admin(connection: &Connection, what: &str) -> Result<AdminClient<Reports>> {
    let explainer = &connection.explainer;
    connection
        .config()
        .create_with_context(Reports(std::sync::Arc::clone(explainer)))
        .map_err(|error| explainer.explain(what, &error))
}

/// Rejects a topic that forgets records by their age or its size. Where the cluster does not say,
/// the topic is taken as it is.
pub(super) async fn refuse_forgetful(connection: &Connection, topic: &str) -> Result<()> {
    let what = format!("reading the settings of topic '{topic}'");
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
    let asked = [ResourceSpecifier::Topic(topic)];
    let configs = match admin(connection, &what)?.describe_configs(&asked, &options).await {
        Ok(configs) => configs,
        Err(error) => {
            tracing::warn!("{}", connection.explainer.explain(&what, &error));
            return Ok(());
        }
    };
    let (setting, wanted) = KEEPS_LAST_RECORDS;
    let settings = configs.into_iter().flatten().next();
    let policy = settings.as_ref().and_then(|settings| settings.get(setting)?.value.as_deref());
    match policy {
        Some(policy) if policy != wanted => Err(Error::Option(format!(
            "topic '{topic}' deletes records ({setting} is '{policy}'), so it can't keep the progress of a pipeline; set it to '{wanted}'"
        ))),
        _ => Ok(()),
    }
}

/// Makes topics; one that another instance has made meanwhile is as good.
pub(super) async fn create(connection: &Connection, specs: &[TopicSpec]) -> Result<()> {
    let explainer = &connection.explainer;
    let admin = admin(connection, "making topics")?;
    let topics: Vec<NewTopic<'_>> = specs
        .iter()
        .map(|spec| {
            let topic = NewTopic::new(
                &spec.name,
                spec.partitions,
                TopicReplication::Fixed(spec.replication),
            );
            spec.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
    let results = admin
        .create_topics(&topics, &options)
        .await
        .map_err(|error| explainer.explain("making topics", &error))?;
    for result in results {
        match result {
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                let what = format!("creating topic '{name}'");
                return Err(explainer.explain_code(&what, code, &code.to_string()));
            }
        }
    }
    Ok(())
}
