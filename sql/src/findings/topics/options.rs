//! What the findings about topics have in common: their options, and where the topics come from.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::row::{OwnedRow, RowConverter, SortField};
use sembla_operators::topics::{
    self, Likeness, MergeOptions, StopWords, TopicOptions, Weighting, WordOptions,
};
use sembla_operators::{Host, OperatorError};

use crate::SqlError;
use crate::error::arrow_error;
use crate::findings::groups::clustering::{self, Clustering};
use crate::relations::declaration::Planning;
use crate::relations::options::{OptionDef, OptionKind, OptionValue, OptionValues, cosine};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

pub(crate) const WORDS: OptionDef = OptionDef {
    name: "words",
    kind: OptionKind::Count { least: 1, default: Some(10) },
    about: "Words that describe a topic.",
};
pub(crate) const NGRAMS: OptionDef = OptionDef {
    name: "ngrams",
    kind: OptionKind::Count { least: 1, default: Some(1) },
    about: "Longest sequence of words that counts as one.",
};
pub(crate) const STOP_WORDS: OptionDef = OptionDef {
    name: "stop_words",
    kind: OptionKind::Texts { default: Some("auto") },
    about: "Words to ignore: 'auto' (those of the languages that the texts seem to be in), 'none', a language such as 'en', or a list.",
};
pub(crate) const REDUCE_FREQUENT_WORDS: OptionDef = OptionDef {
    name: "reduce_frequent_words",
    kind: OptionKind::Flag { default: false },
    about: "Give frequent words less weight: take the square root of a word's share of its topic.",
};
pub(crate) const REDUCE_TO: OptionDef = OptionDef {
    name: "reduce_to",
    kind: OptionKind::Count { least: 1, default: None },
    about: "Merge the most similar topics until at most this many are left.",
};
pub(crate) const MERGE_THRESHOLD: OptionDef = OptionDef {
    name: "merge_threshold",
    kind: cosine(None),
    about: "Merge topics whose centres are at least this similar.",
};
pub(crate) const TOPIC: OptionDef = OptionDef {
    name: "topic",
    kind: OptionKind::Column,
    about: "Column with known topics; nothing is clustered then.",
};

/// The options of a finding about topics: its own, those of clusters, and those of words.
macro_rules! topic_options {
    ($($own:expr),*) => {
        &[
            $($own,)*
            $crate::findings::groups::clustering::ALGORITHM,
            $crate::findings::groups::clustering::K,
            $crate::findings::groups::clustering::THRESHOLD,
            $crate::findings::groups::clustering::LINKAGE,
            $crate::findings::groups::clustering::MIN_SIZE,
            $crate::findings::groups::clustering::SEED,
            $crate::findings::topics::options::REDUCE_TO,
            $crate::findings::topics::options::MERGE_THRESHOLD,
            $crate::findings::topics::options::WORDS,
            $crate::findings::topics::options::NGRAMS,
            $crate::findings::topics::options::STOP_WORDS,
            $crate::findings::topics::options::REDUCE_FREQUENT_WORDS,
        ]
    };
}
pub(crate) use topic_options;

/// Where the topics of rows come from.
#[derive(Debug)]
pub(crate) enum TopicSource {
    /// A column.
    Given,
    /// Clusters, some of which may be merged.
    Found {
        /// How clusters are found.
        clustering: Clustering,
        /// Which of them are merged.
        merge: MergeOptions,
    },
}

/// The topics of the rows of a table.
pub(crate) struct RowTopics {
    /// Of each row its topic's number; `None` is none.
    pub(crate) of_rows: Vec<Option<u32>>,
    /// The values of given topics by number; found ones are their numbers.
    values: Option<Values>,
}

impl TopicSource {
    /// The source that options ask for.
    ///
    /// # Errors
    /// Options that the clusters reject.
    pub(crate) fn of(planning: &Planning<'_>) -> Result<Self, SqlError> {
        let first = planning.inputs.first().and_then(Option::as_ref);
        if first.is_some_and(|input| input.extra(TOPIC.name).is_some()) {
            return Ok(Self::Given);
        }
        let merge = MergeOptions {
            threshold: planning.options.number(MERGE_THRESHOLD.name),
            reduce_to: planning.options.count(REDUCE_TO.name),
        };
        Ok(Self::Found { clustering: clustering::algorithm(planning.options)?, merge })
    }

    /// The type of topics.
    pub(crate) fn data_type(&self, input: &InputTypes) -> DataType {
        input.extra(TOPIC.name).cloned().unwrap_or(DataType::Int64)
    }

    /// The topics of all rows.
    ///
    /// # Errors
    /// What the operators or the host say.
    pub(crate) fn topics(&self, table: &Table, host: &dyn Host) -> Result<RowTopics, SqlError> {
        match self {
            Self::Given => {
                let values = Values::of(table, TOPIC.name)?;
                Ok(RowTopics { of_rows: values.of_rows.clone(), values: Some(values) })
            }
            Self::Found { clustering, merge } => {
                let mut of_rows = clustering::cluster(table.vectors(), clustering, host)?;
                if merge.threshold.is_some() || merge.reduce_to.is_some() {
                    let likeness = Likeness::Vectors(table.vectors());
                    of_rows = topics::merge(&of_rows, &likeness, merge, host)?;
                }
                Ok(RowTopics { of_rows, values: None })
            }
        }
    }
}

impl RowTopics {
    /// Topics, by number, as a column.
    ///
    /// # Errors
    /// When arrow can't put the values together.
    pub(crate) fn column(&self, numbers: &[u32]) -> Result<ArrayRef, SqlError> {
        match &self.values {
            Some(values) => values.column(numbers),
            None => {
                let numbers: Vec<Option<u32>> = numbers.iter().copied().map(Some).collect();
                Ok(std::sync::Arc::new(clustering::numbers(&numbers)))
            }
        }
    }
}

/// The different values of a column, numbered from 0 in their order. NULL has no number.
pub(crate) struct Values {
    /// Of each row the number of its value.
    pub(crate) of_rows: Vec<Option<u32>>,
    array: ArrayRef,
    /// Of each value a row that has it.
    rows: Vec<u32>,
}

impl Values {
    /// The values of what an own option of the finding names.
    ///
    /// # Errors
    /// When values can't be compared.
    pub(crate) fn of(table: &Table, option: &str) -> Result<Self, SqlError> {
        let missing = || SqlError::Bug(format!("there is no column for {option}"));
        let array = table.extra(option, 0..table.rows() as u32)?.ok_or_else(missing)?;
        let field = SortField::new(array.data_type().clone());
        let converter = RowConverter::new(vec![field]).map_err(|error| arrow_error(&error))?;
        let keys = converter.convert_columns(std::slice::from_ref(&array));
        let keys = keys.map_err(|error| arrow_error(&error))?;
        let mut values: BTreeMap<OwnedRow, (u32, Vec<u32>)> = BTreeMap::new();
        for (row, key) in (0_u32..).zip(&keys) {
            if array.is_valid(row as usize) {
                values.entry(key.owned()).or_insert_with(|| (row, Vec::new())).1.push(row);
            }
        }
        let mut of_rows = vec![None; array.len()];
        let mut rows = Vec::with_capacity(values.len());
        for (number, (first, members)) in (0_u32..).zip(values.into_values()) {
            rows.push(first);
            for row in members {
                if let Some(of_row) = of_rows.get_mut(row as usize) {
                    *of_row = Some(number);
                }
            }
        }
        Ok(Self { of_rows, array, rows })
    }

    /// Values, by number, as a column.
    ///
    /// # Errors
    /// When arrow can't put them together.
    pub(crate) fn column(&self, numbers: &[u32]) -> Result<ArrayRef, SqlError> {
        let rows = numbers.iter().filter_map(|number| self.rows.get(*number as usize).copied());
        let rows = arrow::array::UInt32Array::from_iter_values(rows);
        arrow::compute::take(self.array.as_ref(), &rows, None).map_err(|error| arrow_error(&error))
    }
}

/// How topics are described.
///
/// # Errors
/// Stop words that are not known.
pub(crate) fn described(options: &OptionValues) -> Result<TopicOptions, SqlError> {
    let defaults = TopicOptions::default();
    Ok(TopicOptions {
        words: WordOptions {
            stop_words: stop_words(options)?,
            ngrams_max: options.count(NGRAMS.name).unwrap_or(1),
            ..WordOptions::default()
        },
        weighting: Weighting {
            reduce_frequent_words: options.flag(REDUCE_FREQUENT_WORDS.name),
            ..Weighting::default()
        },
        top_words: options.count(WORDS.name).unwrap_or(defaults.top_words),
        ..defaults
    })
}

fn stop_words(options: &OptionValues) -> Result<StopWords, OperatorError> {
    match options.get(STOP_WORDS.name) {
        Some(OptionValue::Texts(words)) => match words.as_slice() {
            [word] => StopWords::parse(word),
            words => Ok(StopWords::List(words.to_vec())),
        },
        _ => Ok(StopWords::Auto),
    }
}
