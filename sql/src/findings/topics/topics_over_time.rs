//! `topics_over_time(input, time => column, bin => INTERVAL …)`: how topics come and go.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::topics::{self, TopicInTime, TopicOptions};

use super::options::{TOPIC, TopicSource, Values, described, topic_options};
use super::topic_table::{TEXTS_IN_TOPICS, words};
use crate::SqlError;
use crate::relations::declaration::{Declaration, Planning};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::options::{OptionDef, OptionKind};
use crate::relations::roles::{InputTypes, column, list_of};
use crate::relations::table::Table;

/// The option that names the column of times.
const TIME: &str = "time";
/// The option that says how wide bins are.
const BIN: &str = "bin";

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "topics_over_time",
    about: "How topics rise and fall over time: topic_id, bin (its start), size (rows of the topic in the bin), words (of those rows, by \
            c-TF-IDF). Topics are found over all rows, or given by topic => column. Rows without a time are left out.",
    example: "SELECT bin, topic_id, size FROM topics_over_time('tickets.parquet', time => created_at, bin => INTERVAL '1 day', k => 20)",
    inputs: &[TEXTS_IN_TOPICS],
    options: topic_options!(
        OptionDef {
            name: TIME,
            kind: OptionKind::Time { bin: BIN },
            about: "The column with the time of a row."
        },
        OptionDef {
            name: BIN,
            kind: OptionKind::Interval,
            about: "Width of a time bin; by default each distinct time is a bin.",
        },
        TOPIC
    ),
    carries: false,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct TopicsOverTime {
    source: TopicSource,
    options: TopicOptions,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let first = planning.inputs.first().and_then(Option::as_ref);
    if first.is_none_or(|input| input.extra(TIME).is_none()) {
        return Err(SqlError::Statement(
            "time is missing; name the column of times with time => …".into(),
        ));
    }
    let options = described(planning.options)?;
    Ok(Arc::new(TopicsOverTime { source: TopicSource::of(planning)?, options }))
}

impl Finding for TopicsOverTime {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(input)] = inputs else { return Vec::new() };
        let time = input.extra(TIME).cloned().unwrap_or(DataType::Null);
        vec![
            column("topic_id", self.source.data_type(input)),
            column("bin", time),
            column("size", DataType::Int64),
            column("words", list_of(DataType::Utf8)),
        ]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table)] = tables else { return Ok(()) };
        let topics = self.source.topics(table, host)?;
        let bins = Values::of(table, TIME)?;
        let numbers: Vec<Option<i64>> =
            bins.of_rows.iter().map(|number| number.map(i64::from)).collect();
        let found =
            topics::over_time(&table.texts(), &topics.of_rows, &numbers, &self.options, host)?;
        let column_of =
            |number: fn(&TopicInTime) -> u32| found.iter().map(number).collect::<Vec<_>>();
        let columns: Vec<ArrayRef> = vec![
            topics.column(&column_of(|found| found.topic))?,
            bins.column(&column_of(|found| found.bin as u32))?,
            Arc::new(Int64Array::from_iter_values(found.iter().map(|found| found.size as i64))),
            words(found.iter().map(|found| found.words.as_slice())),
        ];
        emit(Found { columns, rows: Vec::new() })
    }
}
