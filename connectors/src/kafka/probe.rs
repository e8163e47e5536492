//! Whether a cluster answers and has the topics that are asked for, before anything is opened.
//!
//! Nothing is joined, read, written or made here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::AdminClient;
use rdkafka::metadata::Metadata;
use sembla_runtime::{Error, Result};

use super::client::{Reports, blocking};
use super::settings::Connection;

/// How long one question waits, before the reason for the silence is looked at.
const QUESTION_TIME: Duration = Duration::from_millis(700);

/// What is wrong with the cluster or with the topics, each with the option that names it. `within`
/// is about how long an answer may take.
pub(super) async fn check(
    connection: Connection,
    topics: Vec<(&'static str, String)>,
    within: Duration,
) -> Vec<Error> {
    let servers = connection.explainer.servers().to_string();
    let there = match blocking(move || topics_there(&connection, within)).await {
        Ok(there) => there,
        Err(error) => return vec![error],
    };
    let missing = topics.into_iter().filter(|(_, name)| !there.contains(name));
    missing
        .map(|(option, name)| {
            Error::Option(format!(
                "topic '{name}' does not exist on '{servers}'; create it, or correct the option {option}"
            ))
        })
        .collect()
}

/// The names of all topics. Asking for all of them makes none, unlike asking for one by name.
fn topics_there(connection: &Connection, within: Duration) -> Result<Vec<String>> {
    let explainer = &connection.explainer;
    let what = "listing the topics";
    let client: AdminClient<Reports> = connection
        .config()
        .create_with_context(Reports(Arc::clone(explainer)))
        .map_err(|error| explainer.explain(what, &error))?;
    let begun = Instant::now();
    loop {
        match client.inner().fetch_metadata(None, QUESTION_TIME) {
            Ok(metadata) => return Ok(names(&metadata)),
            Err(error) => {
                if let Some(refusal) = explainer.refusal() {
                    return Err(refusal);
                }
                if begun.elapsed() >= within {
                    return Err(explainer.explain(what, &error));
                }
            }
        }
    }
}

fn names(metadata: &Metadata) -> Vec<String> {
    let there = metadata.topics().iter().filter(|topic| topic.error().is_none());
    there.map(|topic| topic.name().to_string()).collect()
}
