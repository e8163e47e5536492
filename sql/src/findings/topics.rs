//! `topics(input)`: the topic of each row.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use sembla_operators::Host;

use super::clustering;
use super::declaration::{Declaration, Planning, VECTORS};
use super::finding::{Emit, Finding, Found};
use super::roles::InputTypes;
use super::table::Table;
use super::topic_options::{Source, described, topic_options};
use crate::SqlError;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "topics",
    about: "The topic of each row: id, topic_id (from 0, the largest first; NULL for none), and the other columns. topic_table with \
            the same options tells what the topics are about; the options about words make no difference here.",
    example: "SELECT topic_id, text FROM topics('questions.parquet', k => 20)",
    inputs: &[VECTORS],
    options: topic_options!(),
    carries: true,
    plan,
};

#[derive(Debug)]
struct Topics {
    source: Source,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    described(planning.options)?;
    Ok(Arc::new(Topics { source: Source::of(planning)? }))
}

impl Finding for Topics {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(input)] = inputs else { return Vec::new() };
        vec![input.id_field("id"), Field::new("topic_id", DataType::Int64, true)]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn Host,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table)] = tables else { return Ok(()) };
        let topics = self.source.topics(table, host)?;
        let rows: Vec<u32> = (0..table.rows() as u32).collect();
        let ids = table.ids(rows.iter().copied())?;
        let numbers = Arc::new(clustering::numbers(&topics.of_rows));
        emit(Found { columns: vec![ids, numbers], rows })
    }
}
