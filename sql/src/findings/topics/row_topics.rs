//! `topics(input)`: the topic of each row.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};

use super::options::{TopicSource, described, topic_options};
use crate::SqlError;
use crate::findings::groups::clustering;
use crate::relations::declaration::{Declaration, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "topics",
    about: "The topic of each row: id, topic_id (from 0, the largest first; NULL for none), and the other columns. topic_table with \
            the same options describes the topics; options about words have no effect here.",
    example: "SELECT topic_id, text FROM topics('questions.parquet', k => 20)",
    inputs: &[VECTORS],
    options: topic_options!(),
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Topics {
    source: TopicSource,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    described(planning.options)?;
    Ok(Arc::new(Topics { source: TopicSource::of(planning)? }))
}

impl Finding for Topics {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(input)] = inputs else { return Vec::new() };
        vec![input.id_field("id"), Field::new("topic_id", DataType::Int64, true)]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table)] = tables else { return Ok(()) };
        let topics = self.source.topics(table, host)?;
        emit(Found::all(table, [Arc::new(clustering::numbers(&topics.of_rows)) as ArrayRef])?)
    }
}
