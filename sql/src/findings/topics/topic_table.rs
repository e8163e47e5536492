//! `topic_table(input)`: what topics are about.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, ListBuilder, StringArray, StringBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use sembla_operators::topics::{self, ScoredWord, Topic, TopicOptions};

use super::options::{RowTopics, TOPIC, TopicSource, described, topic_options};
use crate::SqlError;
use crate::error::arrow_error;
use crate::relations::declaration::{Declaration, InputDef, Need, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::roles::{InputTypes, column, list_of};
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "topic_table",
    about: "What topics are about: topic_id, size, words (by c-TF-IDF, the best first), label, representative_ids and \
            representatives (texts that stand for the topic), coherence (mean NPMI of its words). Topics are found as topics() \
            finds them with the same options, or given by topic => column.",
    example: "SELECT topic_id, size, label FROM topic_table('questions.parquet', k => 20)",
    inputs: &[TEXTS_IN_TOPICS],
    options: topic_options!(TOPIC),
    carries: false,
    takes_index: false,
    plan,
};

/// Texts, with vectors where topics are to be found.
pub(crate) const TEXTS_IN_TOPICS: InputDef =
    InputDef { texts: Need::Must, vectors: Need::MustUnless("topic"), ..VECTORS };

#[derive(Debug)]
struct TopicTable {
    source: TopicSource,
    options: TopicOptions,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let options = described(planning.options)?;
    Ok(Arc::new(TopicTable { source: TopicSource::of(planning)?, options }))
}

impl Finding for TopicTable {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(input)] = inputs else { return Vec::new() };
        vec![
            column("topic_id", self.source.data_type(input)),
            column("size", DataType::Int64),
            column("words", list_of(DataType::Utf8)),
            column("label", DataType::Utf8),
            column("representative_ids", list_of(input.id())),
            column("representatives", list_of(DataType::Utf8)),
            Field::new("coherence", DataType::Float64, true),
        ]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table)] = tables else { return Ok(()) };
        let of_rows = self.source.topics(table, host)?;
        let vectors = Some(table.vectors()).filter(|vectors| vectors.rows() > 0);
        let found =
            topics::describe(&table.texts(), &of_rows.of_rows, vectors, &self.options, host)?;
        emit(Found { columns: columns(table, &of_rows, &found)?, rows: Vec::new() })
    }
}

fn columns(table: &Table, of_rows: &RowTopics, found: &[Topic]) -> Result<Vec<ArrayRef>, SqlError> {
    let numbers: Vec<u32> = found.iter().map(|topic| topic.topic).collect();
    let rows = || found.iter().map(|topic| topic.representatives.as_slice());
    Ok(vec![
        of_rows.column(&numbers)?,
        Arc::new(Int64Array::from_iter_values(found.iter().map(|topic| topic.size as i64))),
        words(found.iter().map(|topic| topic.words.as_slice())),
        Arc::new(StringArray::from_iter_values(found.iter().map(|topic| &topic.label))),
        representative_ids(table, rows())?,
        representatives(table, rows()),
        Arc::new(found.iter().map(|topic| topic.coherence).collect::<Float64Array>()),
    ])
}

/// Words of topics, without their weights.
pub(crate) fn words<'a>(topics: impl Iterator<Item = &'a [ScoredWord]>) -> ArrayRef {
    lists(topics.map(|words| words.iter().map(|word| word.word.clone()).collect()))
}

fn lists(rows: impl Iterator<Item = Vec<String>>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for texts in rows {
        texts.iter().for_each(|text| builder.values().append_value(text));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// The texts of the rows that stand for topics.
pub(crate) fn representatives<'a>(
    table: &Table,
    topics: impl Iterator<Item = &'a [u32]>,
) -> ArrayRef {
    let text = |row: &u32| table.text(*row as usize).unwrap_or_default().to_string();
    lists(topics.map(|rows| rows.iter().map(text).collect()))
}

/// The ids of the rows that stand for topics.
///
/// # Errors
/// When arrow can't put them together.
pub(crate) fn representative_ids<'a>(
    table: &Table,
    topics: impl Iterator<Item = &'a [u32]> + Clone,
) -> Result<ArrayRef, SqlError> {
    let ids = table.ids(topics.clone().flatten().copied())?;
    let lengths = topics.map(<[u32]>::len);
    let item = Arc::new(Field::new_list_field(ids.data_type().clone(), true));
    let list = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), ids, None);
    Ok(Arc::new(list.map_err(|error| arrow_error(&error))?))
}
