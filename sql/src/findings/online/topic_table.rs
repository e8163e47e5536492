//! `online_topic_table(windows)`: what the topics of each window are about and what became of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use sembla_operators::Host;
use sembla_operators::online::{OnlineTopic, OnlineTopicOptions, OnlineTopics, Window};

use super::clusters::numbers;
use super::options as online_options;
use super::options::online_cluster_options;
use crate::SqlError;
use crate::findings::topics::options::{
    NGRAMS, REDUCE_FREQUENT_WORDS, STOP_WORDS, WORDS, described,
};
use crate::findings::topics::topic_table::{representative_ids, representatives, words};
use crate::relations::declaration::{Declaration, InputDef, Need, Planning, WINDOWS};
use crate::relations::finding::{Emit, Finding, Found};
use crate::relations::online::{Online, OnlineState, Windowed, time_type, times};
use crate::relations::roles::{InputTypes, column, list_of};
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "online_topic_table",
    about: "The topics of each window and how they changed since the last one: window_start, window_end, topic_id, \
            event ('new', 'grown', 'shrunk', 'stable', 'split', 'merged' or 'died'), related_id (the topic that it was split from or \
            merged into), size (rows in the window), weight (rows of all windows, decayed), words (by c-TF-IDF, decayed, the best \
            first), label, representative_ids and representatives (texts of the window that stand for the topic), first_seen and \
            last_seen (the start of its first window, the end of the last one with rows of it).",
    example: "SELECT window_end, topic_id, event, size, label FROM online_topic_table((SELECT * FROM tumble(messages, ts, INTERVAL '10 minutes')))",
    inputs: &[InputDef { texts: Need::Must, ..WINDOWS }],
    options: online_cluster_options!(WORDS, NGRAMS, STOP_WORDS, REDUCE_FREQUENT_WORDS),
    carries: false,
    takes_index: false,
    plan,
};

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let clusters = online_options::clusters(planning.options)?;
    let options = OnlineTopicOptions { clusters, topics: described(planning.options)? };
    OnlineTopics::new(options.clone())?;
    Ok(Arc::new(Windowed(TopicTable { options })))
}

#[derive(Debug)]
struct TopicTable {
    options: OnlineTopicOptions,
}

impl Online for TopicTable {
    fn columns(&self, input: &InputTypes) -> Vec<Field> {
        vec![
            column("topic_id", DataType::Int64),
            column("event", DataType::Utf8),
            Field::new("related_id", DataType::Int64, true),
            column("size", DataType::Int64),
            column("weight", DataType::Float64),
            column("words", list_of(DataType::Utf8)),
            column("label", DataType::Utf8),
            column("representative_ids", list_of(input.id())),
            column("representatives", list_of(DataType::Utf8)),
            column("first_seen", time_type(input)),
            column("last_seen", time_type(input)),
        ]
    }

    fn begin(&self) -> Result<Box<dyn OnlineState>, SqlError> {
        Ok(Box::new(State(OnlineTopics::new(self.options.clone())?)))
    }

    fn restore(&self, bytes: &[u8]) -> Result<Box<dyn OnlineState>, SqlError> {
        Ok(Box::new(State(OnlineTopics::from_bytes(self.options.clone(), bytes)?)))
    }
}

struct State(OnlineTopics);

impl OnlineState for State {
    fn step(
        &mut self,
        window: Window,
        table: &Table,
        host: &dyn Host,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let found = self.0.step(window, &table.texts(), table.vectors(), host)?;
        emit(Found { columns: columns(table, &found.topics)?, rows: Vec::new() })
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    fn fork(&self) -> Box<dyn OnlineState> {
        Box::new(Self(self.0.clone()))
    }
}

fn columns(table: &Table, topics: &[OnlineTopic]) -> Result<Vec<ArrayRef>, SqlError> {
    let clusters = || topics.iter().map(|topic| &topic.cluster);
    let rows = || topics.iter().map(|topic| topic.representatives.as_slice());
    Ok(vec![
        Arc::new(numbers(clusters().map(|cluster| Some(cluster.id)))),
        Arc::new(StringArray::from_iter_values(clusters().map(|cluster| cluster.event.name()))),
        Arc::new(numbers(clusters().map(|cluster| cluster.related))),
        Arc::new(Int64Array::from_iter_values(clusters().map(|cluster| cluster.size as i64))),
        Arc::new(Float64Array::from_iter_values(clusters().map(|cluster| cluster.weight))),
        words(topics.iter().map(|topic| topic.words.as_slice())),
        Arc::new(StringArray::from_iter_values(topics.iter().map(|topic| &topic.label))),
        representative_ids(table, rows())?,
        representatives(table, rows()),
        times(table, clusters().map(|cluster| cluster.first_seen))?,
        times(table, clusters().map(|cluster| cluster.last_seen))?,
    ])
}
